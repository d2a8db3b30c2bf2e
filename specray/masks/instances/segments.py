"""Instances as segments of the output table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import repeat

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from specray.masks.components import component_labels
from specray.masks.config import InstanceConfig
from specray.masks.geometry import ImageGeometry, to_image
from specray.masks.instances.separate import Instances, separate
from specray.masks.refine import Refiner
from specray.masks.segments import Segment, segments_from_labels, segments_from_pixels


def instance_segments(
    features: Tensor,
    grid: tuple[int, int],
    geometries: Sequence[ImageGeometry],
    config: InstanceConfig,
    seeds: Sequence[int],
    refiners: Sequence[Refiner | None] | None = None,
) -> list[list[Segment]]:
    """Instances of every image of a batch, the surest first; an image may have none.

    The masks are disjoint. The score is `objectness`. With refiners instances and background
    divide the image anew along its borders, all at once; parts smaller than a cell of the grid are
    left out, and an instance of which nothing else is left.

    Parameters
    ----------
    features
        (B, N, C) of the cells; their scale does not matter.
    grid
        (h, w) with ``h * w == N``.
    geometries
        (B,) sizes of the images.
    config
        How to tell instances apart.
    seeds
        (B,) one seed per image, not negative.
    refiners
        (B,) of the images; None where masks stay whole cells.

    Returns
    -------
    (B,) lists of segments of method ``instance``.
    """
    return [
        _segments(separate(image, grid, config, seed), geometry, refiner)
        for image, geometry, seed, refiner in zip(
            features, geometries, seeds, refiners or repeat(None, len(seeds)), strict=True
        )
    ]


def _segments(found: Instances, geometry: ImageGeometry, refiner: Refiner | None) -> list[Segment]:
    if refiner is None:
        segments = segments_from_labels(found.labels - 1, geometry, "instance", found.scores)
    else:
        at = geometry.at_size(*refiner.size)
        refined = _without_specks(refiner(to_image(found.labels, at)), at.cell_area)
        segments = segments_from_pixels(refined - 1, geometry, "instance", found.scores)
    return [replace(segment, index=rank) for rank, segment in enumerate(segments)]


def _without_specks(labels: NDArray[np.int32], least: float) -> NDArray[np.int32]:
    """Parts of instances of fewer pixels go to the background."""
    kept = labels.copy()
    for label, extent in enumerate(ndimage.find_objects(labels), start=1):
        if extent is not None:
            parts = component_labels(labels[extent] == label)
            large = np.count_nonzero(np.bincount(parts.ravel())[1:] >= least)
            kept[extent][parts > large] = 0
    return kept
