"""Cost of the CRF: against pydensecrf, and beside the backbone's forward pass."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from specray.backbones import Backbone
from specray.errors import UserError
from specray.masks import (
    DSM_CRF,
    PRIMAPS_CRF,
    CRFParameters,
    RefineConfig,
    Refiner,
    dense_crf,
    label_energies,
)
from specray.masks.crf.compiled import spatial_lattice
from specray.pipelines.benchmark.images import BUDGET
from specray.pipelines.benchmark.timing import alternate
from specray.sources import decode

CASES = {
    "DSM, 2 labels": (DSM_CRF, 2),
    "DSM, 12 labels": (DSM_CRF, 12),
    "PriMaPs, 8 labels": (PRIMAPS_CRF, 8),
}
SIDE = 480
"""Pixels of the short side of the photograph."""
BLOCK = 16
"""Pixels of a side of the blocks that the labels come in, as from a grid of patches."""


def refinement_rows(path: Path, backbone: Backbone, repeats: int) -> Iterator[dict[str, object]]:
    """Time the CRF on one photograph.

    Both sides run in this process, in turns. First `dense_crf`, one image, against pydensecrf;
    then the backbone's forward pass of the image against a refinement of one map of two labels,
    and of four: the ratio says how often the refinement fits into the forward pass. There, as in a
    job, images of one size share the lattice of distances.
    """
    image = np.array(decode(path.read_bytes(), max_pixels=BUDGET, short_side=SIDE).pixels)
    size = f"{image.shape[1]} x {image.shape[0]}"
    setting = {"image": size, "threads": torch.get_num_threads()}
    for name, (parameters, count) in CASES.items():
        labels = _blocks(image.shape[0], image.shape[1], count)
        energies = label_energies(torch.from_numpy(labels)[None], count)
        compared = alternate(
            lambda p=parameters, e=energies: _anew(image, e, p),  # type: ignore[misc]
            lambda p=parameters, e=energies: pydensecrf_marginals(image, e[0], p),  # type: ignore[misc]
            repeats,
            name=f"{name}, to pydensecrf",
        )
        yield asdict(compared) | setting
    patch = backbone.patch_size
    cropped = image[: image.shape[0] // patch * patch, : image.shape[1] // patch * patch]
    pixels = torch.from_numpy(cropped.copy()).permute(2, 0, 1)[None]
    for refine in ("fast", "crf"):
        for count in (2, 4):
            labels = _blocks(image.shape[0], image.shape[1], count)
            compared = alternate(
                lambda r=refine, n=labels: Refiner(image, RefineConfig(r))(n),  # type: ignore[misc]
                lambda: backbone(pixels),
                repeats,
                name=f"{refine}, {count} labels, to forward",
            )
            yield asdict(compared) | setting


def _anew(image: NDArray[np.uint8], energies: Tensor, parameters: CRFParameters) -> Tensor:
    """The CRF of an image of a size that was not seen before, as pydensecrf takes all."""
    spatial_lattice.cache_clear()
    return dense_crf(torch.from_numpy(image)[None], energies, parameters)


def _blocks(height: int, width: int, count: int) -> NDArray[np.int64]:
    """(H, W) labels: shapes of a few hundred pixels that end at blocks."""
    y, x = (np.arange(side) // BLOCK * BLOCK for side in (height, width))
    wave = np.sin(y[:, None] / 60) + np.cos(x[None] / 80)
    labels: NDArray[np.int64] = np.clip((wave + 2) / 4 * count, 0, count - 1).astype(np.int64)
    return labels


def pydensecrf_marginals(
    image: NDArray[np.uint8], energies: Tensor, parameters: CRFParameters
) -> NDArray[np.float32]:
    """What pydensecrf makes of the same problem.

    Parameters
    ----------
    image
        (H, W, 3) uint8, writable.
    energies
        (L, H, W).
    parameters
        Of the CRF.

    Returns
    -------
    (L, H, W) marginals.

    Raises
    ------
    UserError
        It is not installed.
    """
    try:
        from pydensecrf.densecrf import DenseCRF2D
    except ImportError:
        raise UserError(
            "the CRF is compared with pydensecrf2, which is not here: pip install pydensecrf2, or "
            "leave out the part `refinement`"
        ) from None
    p = parameters
    labels, height, width = energies.shape
    crf = DenseCRF2D(width, height, labels)
    crf.setUnaryEnergy(np.ascontiguousarray(energies.numpy().reshape(labels, -1)))
    crf.addPairwiseGaussian(sxy=p.gaussian_xy, compat=p.gaussian_weight)
    crf.addPairwiseBilateral(
        sxy=p.bilateral_xy, srgb=p.bilateral_rgb, rgbim=image, compat=p.bilateral_weight
    )
    return np.array(crf.inference(p.crf_iterations), np.float32).reshape(labels, height, width)
