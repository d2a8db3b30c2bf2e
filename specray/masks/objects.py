"""Objects: the foreground of the Fiedler vector (DSM, section 3.2)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import repeat

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from specray.masks.components import component_labels
from specray.masks.config import Connectivity, ObjectConfig
from specray.masks.geometry import ImageGeometry, to_image
from specray.masks.refine import Refiner
from specray.masks.segments import Segment, segments_from_labels, segments_from_pixels


def object_segments(
    vectors: Tensor,
    grid: tuple[int, int],
    geometries: Sequence[ImageGeometry],
    config: ObjectConfig,
    refiners: Sequence[Refiner | None] | None = None,
) -> list[list[Segment]]:
    """Objects of every image of a batch, the largest first.

    The union of an image's objects is DSM's single-region mask; the box of object 0 is its
    localisation (LOST's box rule with ``connectivity=4``). If there is no foreground, the only
    object is the whole image, with score 0. The score is the mean strength of the Fiedler
    vector over the object, as a fraction of its largest magnitude in the image.

    With refiners the objects are the connected components of the refined foreground (DSM, CRF
    stage), those left out that are smaller than a cell of the grid. Where nothing is left the
    foreground is taken as it was.

    Parameters
    ----------
    vectors
        (B, K, N) eigenvectors after the sign rule: the foreground is the positive side.
    grid
        (h, w) with ``h * w == N``.
    geometries
        (B,) sizes of the images.
    config
        Connectivity.
    refiners
        (B,) of the images; None where masks stay whole cells.

    Returns
    -------
    (B,) lists of segments of method ``object``.
    """
    labels = object_labels(vectors, grid, config.connectivity)
    strengths = _strengths(vectors, grid)
    return [
        _refined_objects(label_map > 0, strength, geometry, config.connectivity, refiner)
        or segments_from_labels(label_map - 1, geometry, "object", _means(strength, label_map))
        for label_map, strength, geometry, refiner in zip(
            labels, strengths, geometries, refiners or repeat(None, len(labels)), strict=True
        )
    ]


def _refined_objects(
    foreground: NDArray[np.bool_],
    strength: NDArray[np.float64],
    geometry: ImageGeometry,
    connectivity: Connectivity,
    refiner: Refiner | None,
) -> list[Segment]:
    """Objects of the refined foreground; none if nothing is left of it, or nobody refines."""
    if refiner is None:
        return []
    at = geometry.at_size(*refiner.size)
    cells = to_image(np.arange(foreground.size).reshape(foreground.shape), at)
    refined = refiner(foreground.ravel()[cells].astype(np.int32)) > 0
    labels = component_labels(refined, connectivity)
    kept = np.count_nonzero(np.bincount(labels.ravel())[1:] >= at.cell_area)
    labels[labels > kept] = 0
    scores = _means(strength.ravel()[cells], labels)
    return segments_from_pixels(labels.astype(np.int32) - 1, geometry, "object", scores)


def object_labels(
    vectors: Tensor, grid: tuple[int, int], connectivity: Connectivity = 8
) -> list[NDArray[np.int64]]:
    """Connected components of the Fiedler foreground ``x_1 > 0``.

    Parameters
    ----------
    vectors
        (B, K, N) eigenvectors after the sign rule.
    grid
        (h, w) with ``h * w == N``.
    connectivity
        8 or 4 neighbours.

    Returns
    -------
    (B,) maps (h, w) int64: 0 background, 1 the largest component, 2 the next, ...; all 1 where
    the foreground is empty or there is no second eigenvector.
    """
    foreground = _strengths(vectors, grid) > 0
    foreground[~foreground.any(axis=(1, 2))] = True
    return [component_labels(mask, connectivity) for mask in foreground]


def _strengths(vectors: Tensor, grid: tuple[int, int]) -> NDArray[np.float64]:
    """(B, h, w) positive part of the Fiedler vector as a fraction of its largest magnitude."""
    if vectors.shape[1] < 2:
        return np.zeros((len(vectors), *grid))
    fiedler = vectors[:, 1].double().cpu().numpy().reshape(-1, *grid)
    largest = np.abs(fiedler).max(axis=(1, 2), keepdims=True)
    strengths: NDArray[np.float64] = np.maximum(fiedler, 0) / np.where(largest > 0, largest, 1)
    return strengths


def _means(strength: NDArray[np.float64], labels: NDArray[np.int64]) -> NDArray[np.float64]:
    """Mean strength of every component, the background left out."""
    total = np.bincount(labels.ravel(), weights=strength.ravel())
    return total[1:] / np.bincount(labels.ravel())[1:]
