"""Nearest centroids, with how sure that is, whatever else is asked in the same call."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from specray.semantics.space import chunks, fixed_point


class Assigned(NamedTuple):
    """Class of every point.

    Parameters
    ----------
    classes
        (N,) int64 class ids.
    confidence
        (N,) float32 in [0, 1]: ``1 - d1 / d2`` of the distances to the nearest and second nearest
        centroid; 0 on the border between two classes, 1 at a centroid or where it is the only one.
    distance
        (N,) float32 Euclidean distance to the nearest centroid, in the projected space.
    """

    classes: NDArray[np.int64]
    confidence: NDArray[np.float32]
    distance: NDArray[np.float32]


def nearest(
    points: NDArray[np.float32], centroids: NDArray[np.float32], bound: float
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """Nearest centroid of every point, the first on ties, by exact sums.

    Parameters
    ----------
    points
        (N, d) projected points.
    centroids
        (K, d) centroids.
    bound
        Length that neither exceeds, which also sets the resolution, ``bound / 2**24``.

    Returns
    -------
    labels, first, second
        (N,) position of the nearest centroid; (N,) float64 squared distances to it and to the
        second nearest, infinite where K is 1. A row depends on its own point alone, bit for bit.
    """
    count, classes = len(points), len(centroids)
    labels = np.empty(count, np.int64)
    first, second = np.empty(count), np.full(count, np.inf)
    targets = fixed_point(centroids, bound)
    squares = np.square(targets).sum(axis=1)
    quantum = (bound / 2**24) ** 2
    for rows in chunks(count, max(classes, points.shape[1])):
        chunk = fixed_point(points[rows], bound)
        costs = chunk @ (-2 * targets.T)
        costs += squares
        own = np.square(chunk).sum(axis=1)
        labels[rows] = costs.argmin(axis=1)
        at = np.arange(len(chunk)), labels[rows]
        first[rows] = (costs[at] + own) * quantum
        if classes > 1:
            costs[at] = np.inf
            second[rows] = (costs.min(axis=1) + own) * quantum
    return labels, first, second


def confidence(first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.float32]:
    """``1 - d1 / d2`` of squared distances; 1 without a second centroid, 0 where both coincide."""
    ratio = np.divide(first, second, out=np.ones_like(first), where=second > 0)
    return (1 - np.sqrt(ratio)).astype(np.float32)
