"""Superpixels: small parts of an image, each of one kind, that follow its features."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from specray.masks.config import SuperpixelConfig
from specray.masks.geometry import ImageGeometry
from specray.masks.segments import Segment, segments_from_labels
from specray.masks.ward import leaf_order, ward_merges


def superpixel_segments(
    features: Tensor,
    grid: tuple[int, int],
    geometries: Sequence[ImageGeometry],
    config: SuperpixelConfig,
) -> list[list[Segment]]:
    """Superpixels of every image of a batch, in the order in which a reader meets them.

    The masks are disjoint and cover the image. The score is how alike the patches are: the length
    of the mean of their unit features, 1 if all of them point the same way.

    Parameters
    ----------
    features
        (B, N, C) of the cells; their scale does not matter.
    grid
        (h, w) with ``h * w == N``.
    geometries
        (B,) sizes of the images.
    config
        How many.

    Returns
    -------
    (B,) lists of segments of method ``superpixel``.
    """
    units: NDArray[np.float32] = F.normalize(features.float(), dim=-1).cpu().numpy()
    found = []
    for unit, geometry in zip(units, geometries, strict=True):
        labels = superpixel_labels(unit, grid, config.superpixels)
        scores = _likeness(unit, labels.ravel())
        found.append(segments_from_labels(labels, geometry, "superpixel", scores))
    return found


def superpixel_labels(
    points: NDArray[np.float32], grid: tuple[int, int], count: int
) -> NDArray[np.int64]:
    """Cut Ward's tree of the cells of an image where it has `count` segments.

    Parameters
    ----------
    points
        (N, C) features of the cells.
    grid
        (h, w) with ``h * w == N``.
    count
        Superpixels; at most N are made.

    Returns
    -------
    (h, w) int64: connected segments, numbered by their first cell, row by row.
    """
    cells = len(points)
    merges = ward_merges(points, grid)
    order, first, sizes = leaf_order(merges)
    kept = max(cells - count, 0)  # merges that are made; the nodes of the others are split
    split = np.arange(cells + kept, 2 * cells - 1)
    nodes = np.setdiff1d(merges[kept:], split) if len(split) else np.array([2 * cells - 2])
    labels = np.empty(cells, np.int64)
    for node in nodes:
        members = order[first[node] : first[node] + sizes[node]]
        labels[members] = members.min()
    return np.unique(labels, return_inverse=True)[1].reshape(grid)


def _likeness(units: NDArray[np.float32], labels: NDArray[np.int64]) -> NDArray[np.float64]:
    """(S,) length of the mean of the units of every label."""
    sums = np.zeros((labels.max() + 1, units.shape[1]))
    np.add.at(sums, labels, units)
    lengths: NDArray[np.float64] = np.linalg.norm(sums, axis=1) / np.bincount(labels)
    return lengths.clip(0, 1)
