"""Principal mask proposals: speed against the published loop, and what their fast CRF costs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from specray.backbones import Backbone
from specray.masks import (
    PRIMAPS_CRF,
    ImageGeometry,
    PrincipalConfig,
    RefineConfig,
    Refiner,
    majority_filter,
    principal_masks,
)
from specray.masks.config import Refine
from specray.masks.principal.energies import proposal_energies
from specray.pipelines.benchmark.images import pixels_of
from specray.pipelines.benchmark.timing import alternate

SIDE: Final = 320
"""Pixels of the short side, as published."""
PAPER: Final = PrincipalConfig()
_ITERATIONS: Final = 100
"""Of the decomposition of every mask, as published."""


@dataclass(frozen=True)
class _Case:
    """An image and what proposals are made of."""

    pixels: NDArray[np.uint8]
    """(H, W, 3) of whole patches."""
    features: Tensor
    """(1, N, C)."""
    geometry: ImageGeometry


def proposal_rows(
    paths: Sequence[Path], backbone: Backbone, repeats: int
) -> Iterator[dict[str, object]]:
    """Time all images after each other, each alone, both sides in turns.

    First `principal_masks` against the loop as it is published, from features to labels of cells;
    then the CRF of the proposals, fast and exact, from these labels to those of pixels, and how
    many pixels agree.

    Parameters
    ----------
    paths
        Of the images.
    backbone
        Of the features.
    repeats
        Timed calls of each side.
    """
    cases = [_case(path, backbone) for path in paths]
    found = [principal_masks(case.features, PAPER) for case in cases]
    compared = alternate(
        lambda: [principal_masks(case.features, PAPER) for case in cases],
        lambda: [published_loop(case.features[0], PAPER.primap_threshold) for case in cases],
        repeats,
        name="to the published loop",
    )
    yield asdict(compared) | {
        "images": len(cases),
        "patches": float(np.mean([case.features.shape[1] for case in cases])),
        "masks_per_image": float(np.mean([each.labels.max().item() + 1 for each in found])),
        "capped": sum(int(each.capped.sum()) for each in found),
        "dense_fallbacks": sum(int(each.dense_fallbacks.sum()) for each in found),
    }
    labels = [each.labels[0].numpy() for each in found]
    fast, exact = (
        [_refined(*pair, refine) for pair in zip(cases, labels, strict=True)]
        for refine in ("fast", "crf")
    )
    compared = alternate(
        lambda: [_refined(*pair, "fast") for pair in zip(cases, labels, strict=True)],
        lambda: [_refined(*pair, "crf") for pair in zip(cases, labels, strict=True)],
        repeats,
        name="CRF, fast to exact",
    )
    agreement = np.mean([(a == b).mean() for a, b in zip(fast, exact, strict=True)])
    yield asdict(compared) | {"images": len(cases), "pixel_agreement": float(agreement)}


def published_loop(features: Tensor, threshold: float) -> Tensor:
    """Labels (N,) of the cells of one image (N, C): a decomposition and all cosines per mask.

    As published, but for the sign of the component, which is that of the most similar cell.
    """
    free = torch.ones(len(features), dtype=torch.bool)
    labels = torch.full((len(features),), -1)
    count = 0
    while 1 - free.float().mean() < 0.95:
        component = torch.pca_lowrank(features[free], q=3, niter=_ITERATIONS)[2][:, 0]
        units = F.normalize(features, dim=1)
        alike = (units @ component).abs().masked_fill(~free, -1)
        cosines = (units @ units[alike.argmax()]).masked_fill(~free, 0)
        mask = cosines >= threshold * cosines.max()
        labels[mask] = count
        free &= ~mask
        count += 1
    return labels


def _case(path: Path, backbone: Backbone) -> _Case:
    patch = backbone.patch_size
    pixels = pixels_of(path, patch, SIDE)
    with torch.inference_mode():
        features = backbone(pixels)
    height, width = pixels.shape[2:]
    grid = height // patch, width // patch
    geometry = ImageGeometry(height, width, height, width, patch, *grid)
    return _Case(np.ascontiguousarray(pixels[0].permute(1, 2, 0).numpy()), features, geometry)


def _refined(case: _Case, labels: NDArray[np.int64], refine: Refine) -> NDArray[np.int32]:
    cells = majority_filter(labels.reshape(case.geometry.grid_h, case.geometry.grid_w))
    energies = proposal_energies(cells, int(labels.max()) + 1, case.geometry)
    return Refiner(case.pixels, RefineConfig(refine, crf=PRIMAPS_CRF)).best(energies)
