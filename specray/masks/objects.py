"""Objects: the foreground of the Fiedler vector (DSM, section 3.2)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from specray.masks.components import component_labels
from specray.masks.config import Connectivity, ObjectConfig
from specray.masks.geometry import ImageGeometry
from specray.masks.segments import Segment, segments_from_labels


def object_segments(
    vectors: Tensor,
    grid: tuple[int, int],
    geometries: Sequence[ImageGeometry],
    config: ObjectConfig,
) -> list[list[Segment]]:
    """Objects of every image of a batch, the largest first.

    The union of an image's objects is DSM's single-region mask; the box of object 0 is its
    localisation (LOST's box rule with ``connectivity=4``). If there is no foreground, the only
    object is the whole image, with score 0. The score is the mean strength of the Fiedler
    vector over the object, as a fraction of its largest magnitude in the image.

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

    Returns
    -------
    (B,) lists of segments of method ``object``.
    """
    labels = object_labels(vectors, grid, config.connectivity)
    strengths = _strengths(vectors, grid)
    return [
        segments_from_labels(label_map - 1, geometry, "object", _means(strength, label_map))
        for label_map, strength, geometry in zip(labels, strengths, geometries, strict=True)
    ]


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
