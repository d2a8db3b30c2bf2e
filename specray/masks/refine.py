"""From masks that end at patches to masks that end at the borders of the image."""

from __future__ import annotations

import math
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from specray.masks.config import RefineConfig
from specray.masks.crf import coarse, compiled
from specray.masks.crf.compiled_lattice import Pixels
from specray.masks.crf.parameters import CONFIDENCE

_ENERGIES = np.float32(-math.log(CONFIDENCE)), np.float32(-math.log(1 - CONFIDENCE))


class Refiner:
    """The CRF of one image. Its kernels are built once, for all label maps of the image.

    Parameters
    ----------
    image
        (h, w, 3) uint8, at the size at which to refine.
    config
        Method and parameters; not ``none``.
    """

    def __init__(self, image: Pixels, config: RefineConfig) -> None:
        self._image = np.array(image)  # numba compiles anew for arrays that may not be written
        self._config = config

    @property
    def size(self) -> tuple[int, int]:
        """(h, w) in pixels."""
        height, width, _ = self._image.shape
        return height, width

    def __call__(self, labels: NDArray[np.integer]) -> NDArray[np.int32]:
        """Move the borders of a label map to those of the image.

        Parameters
        ----------
        labels
            (h, w) small integers.

        Returns
        -------
        (h, w) int32 of the same labels; one that the others absorb does not occur any more.
        """
        given = labels.astype(np.int32)
        least = int(given.min())
        # not np.unique, which sorts the pixels
        present = np.flatnonzero(np.bincount((given - least).ravel())).astype(np.int32)
        if len(present) == 1:
            return given
        place = np.zeros(present[-1] + 1, np.int32)
        place[present] = np.arange(len(present))
        dense = place[given - least]
        iterations = self._config.crf.crf_iterations
        if self._config.refine == "fast":
            found = coarse.infer(self._image, self._kernels, dense, _ENERGIES, iterations)
        else:
            energies = compiled.one_hot_energies(dense, len(present), _ENERGIES)
            found = compiled.mean_field(self._kernels, energies, iterations).argmax(axis=0)
        return present[found.reshape(given.shape)] + np.int32(least)

    def best(self, energies: NDArray[np.float32]) -> NDArray[np.int32]:
        """Find the most probable labels where every pixel has an energy for each of them.

        Parameters
        ----------
        energies
            (L, h, w) float32, negative logarithms of probabilities up to a constant per pixel.

        Returns
        -------
        (h, w) int32 from 0 to L - 1.
        """
        unary = np.ascontiguousarray(energies)
        iterations = self._config.crf.crf_iterations
        if self._config.refine == "fast":
            return coarse.infer_soft(self._image, self._kernels, unary, iterations)
        flat = unary.reshape(len(unary), -1)
        marginals = compiled.mean_field(self._kernels, flat, iterations)
        labels: NDArray[np.int32] = marginals.argmax(axis=0).astype(np.int32)
        return labels.reshape(self.size)

    @cached_property
    def _kernels(self) -> compiled.Kernels:
        if self._config.refine == "fast":
            return coarse.pair_kernels(self._image, self._config.crf)
        return compiled.pair_kernels(self._image, self._config.crf)
