"""The same CRF at a fraction of its cost: inference at half the size, one update at the full one.

All mean-field iterations run on an image of half the sides. Its lattice, whose points lie at
colours and places, not at pixels, then tells any pixel of the full image what its neighbours say:
one exact mean-field update of the pixels beside a border of the coarse labels gives the border its
place (joint bilateral upsampling, Kopf et al. 2007, with the CRF's own kernels).
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from specray.kernels import compiled, inlined
from specray.masks.crf import compiled as exact
from specray.masks.crf.compiled import Energies, Kernels, Labels, mean_field, one_hot_energies
from specray.masks.crf.compiled_filter import LANES, filtered
from specray.masks.crf.compiled_lattice import (
    Floats,
    Lattice,
    Pixels,
    find,
    locate,
    ones_key,
    root_of_norm,
    scratch,
)
from specray.masks.crf.parameters import CRFParameters

FACTOR: Final = 2
"""Sides of the image over those of the coarse one."""

_NONE: Final[Energies] = np.float32(0), np.float32(0)
"""Energies of labels where those of every pixel are given."""


def pair_kernels(image: Pixels, parameters: CRFParameters) -> Kernels:
    """Both lattices of an image (H, W, 3), made of its coarse pixels."""
    small = np.array(Image.fromarray(image).reduce(FACTOR))
    return exact.pair_kernels(small, parameters, FACTOR)


def infer(
    image: Pixels, kernels: Kernels, labels: Labels, energies: Energies, iterations: int
) -> Labels:
    """Most probable labels, nearly those of the full CRF.

    Parameters
    ----------
    image
        (H, W, 3) uint8.
    kernels
        Of `pair_kernels`.
    labels
        (H, W) int32 from 0 up, each of which occurs.
    energies
        See `one_hot_energies`.
    iterations
        Updates at the small size, before the one at the full size.

    Returns
    -------
    (H, W) int32 labels.
    """
    rows, columns = (_middles(side) for side in labels.shape)
    unary = one_hot_energies(labels[rows][:, columns], int(labels.max()) + 1, energies)
    return _finished(image, kernels, mean_field(kernels, unary, iterations), labels, energies)


def infer_soft(image: Pixels, kernels: Kernels, unary: Floats, iterations: int) -> Labels:
    """As `infer`, of unary energies (L, H, W) float32 of every label at every pixel.

    Labels that are the best of no pixel are left out: they would hardly ever win.
    """
    rows, columns = (_middles(side) for side in unary.shape[1:])
    small = unary[:, rows][..., columns].reshape(len(unary), -1)
    present = np.flatnonzero(np.bincount(small.argmin(axis=0))).astype(np.int32)
    marginals = mean_field(kernels, small[present], iterations)
    return present[_finished(image, kernels, marginals, unary[present], _NONE)]


def _finished(
    image: Pixels, kernels: Kernels, marginals: Floats, given: Labels | Floats, energies: Energies
) -> Labels:
    """The update at the full size of the marginals (L, N) of the small one."""
    coarse = marginals.argmax(axis=0).astype(np.int32)
    coarse = coarse.reshape([-(-side // FACTOR) for side in image.shape[:2]])
    bilateral = _tables(kernels.bilateral, marginals)
    gaussian = _tables(kernels.gaussian, marginals)
    refined: Labels = _updated(image, given, coarse, kernels, bilateral, gaussian, energies)
    return refined


def _middles(side: int) -> NDArray[np.intp]:
    """The pixel that stands for each of the coarse ones along a side."""
    return np.minimum(np.arange(0, side, FACTOR) + FACTOR // 2, side - 1)


def _tables(lattice: Lattice, marginals: Floats) -> Floats:
    """(M + 1, 2 + L - 1): what pixels slice from the lattice to update themselves.

    Its sums, which normalise a pixel, what K(1) is, and K(Q) for all labels but the last.
    """
    free, pixels = len(marginals) - 1, marginals.shape[1]
    columns = [lattice.sums, filtered(lattice, np.ones((1, pixels), np.float32))]
    lanes = 1 if free == 1 else LANES
    for group in range(0, free, lanes):
        rows = marginals[group : min(group + lanes, free)]
        padded = np.zeros((lanes, pixels), np.float32)
        padded[: len(rows)] = rows
        columns.append(filtered(lattice, padded)[:, : len(rows)])
    return np.concatenate(columns, axis=1)


@compiled
def _updated(image, given, coarse, kernels, bilateral, gaussian, energies):  # type: ignore[no-untyped-def]
    """Labels (H, W): those of the coarse map, updated beside its borders."""
    height, width = image.shape[:2]
    refined = np.empty((height, width), np.int32)
    free = bilateral.shape[1] - 2
    logits = np.empty(free + 1, np.float32)
    sliced = np.empty(free + 2, np.float32)
    space_b, space_g = scratch(kernels.bilateral.deviations), scratch(kernels.gaussian.deviations)
    for y in range(height):
        for x in range(width):
            at_y, at_x = y // FACTOR, x // FACTOR
            refined[y, x] = coarse[at_y, at_x]
            if not _beside_border(coarse, at_y, at_x):
                continue
            for label in range(free + 1):
                logits[label] = -_energy(given, energies, label, y, x)
            _slice_at(kernels.bilateral, bilateral, image, y, x, space_b, sliced)
            _add(logits, sliced, kernels.bilateral_weight)
            _slice_at(kernels.gaussian, gaussian, image, y, x, space_g, sliced)
            _add(logits, sliced, kernels.gaussian_weight)
            refined[y, x] = np.argmax(logits)
    return refined


@inlined
def _energy(given, energies, label, y, x):  # type: ignore[no-untyped-def]
    """That of a label at a pixel: `given` are labels (H, W), or energies (L, H, W)."""
    if given.ndim == 3:  # numba knows it when it compiles
        return given[label, y, x]
    return energies[0] if given[y, x] == label else energies[1]


@inlined
def _beside_border(coarse, y, x):  # type: ignore[no-untyped-def]
    """Tell whether one of the eight neighbours has another label."""
    label = coarse[y, x]
    for j in range(max(y - 1, 0), min(y + 2, coarse.shape[0])):
        for i in range(max(x - 1, 0), min(x + 2, coarse.shape[1])):
            if coarse[j, i] != label:
                return True
    return False


@compiled
def _slice_at(lattice, table, image, y, x, space, sliced):  # type: ignore[no-untyped-def]
    """Slice the columns of a table at any pixel, normalised by the first of them."""
    dimensions = len(lattice.deviations)
    elevated, remainder, rank, bary, units = space
    key = locate(image, y, x, 1, lattice.deviations, elevated, remainder, rank, bary, units)
    sliced[:] = 0
    for k in range(dimensions + 1):
        point = lattice.slots[find(lattice.slots, lattice.slot_keys, key)]
        for c in range(table.shape[1]):
            sliced[c] += bary[k] * table[point, c]
        key += ones_key(dimensions) - (dimensions + 1) * units[dimensions - k]
    factor = root_of_norm(sliced[0], dimensions)
    for c in range(table.shape[1]):
        sliced[c] *= factor


@inlined
def _add(logits, sliced, weight):  # type: ignore[no-untyped-def]
    """Add a kernel's messages; the last label's is what K(1) leaves of the others'."""
    free = len(logits) - 1
    rest = sliced[1]
    for label in range(free):
        logits[label] += weight * sliced[2 + label]
        rest -= sliced[2 + label]
    logits[free] += weight * rest
