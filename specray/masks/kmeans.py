"""Batched, seeded k-means whose result does not depend on batch, device or summation order.

Points and centroids are rounded to integers (`fixed_point`) small enough for float64 to hold every
sum of their products exactly. Whatever order a matrix product adds in, all its bits are the same,
so an image is labelled alike alone, in a batch, on a CPU or on a GPU.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import numpy as np
import torch
from torch import Tensor

SCALE: Final[int] = 2**16
"""Largest magnitude of a coordinate after rounding: a resolution of 1.5e-5 of the largest one."""

RESTARTS: Final[int] = 8
"""Independent seedings per image; the one of least inertia is kept."""

MAX_SWEEPS: Final[int] = 100
"""Bound on the sweeps of Lloyd's algorithm, which has usually converged after a third of it."""


def kmeans(points: Tensor, clusters: int, seeds: Sequence[int]) -> Tensor:
    """Cluster the points of every image by k-means (greedy k-means++, Lloyd's algorithm).

    Parameters
    ----------
    points
        (B, N, D) points, finite.
    clusters
        Number of clusters C. An image of fewer distinct points has fewer labels.
    seeds
        (B,) one seed per image, not negative.

    Returns
    -------
    (B, N) int64 labels in 0..C-1.

    Raises
    ------
    ValueError
        If ``D * max(N, 2 * C)`` is 2**19 or more: sums would no longer be exact.

    References
    ----------
    D. Arthur and S. Vassilvitskii, k-means++: The Advantages of Careful Seeding, SODA 2007.
    """
    batch, count, dimensions = points.shape
    # inertia: N points at squared distances up to 4 D SCALE^2, against 2^53
    if dimensions * max(count, 2 * clusters) >= 2**19:
        raise ValueError(f"{clusters} clusters of {count} points in {dimensions} dimensions")
    points = fixed_point(points).repeat_interleave(RESTARTS, dim=0)
    uniforms = _uniforms(seeds, clusters).to(points.device)
    labels, inertia = _lloyd(points, _seed_centroids(points, clusters, uniforms))
    best = inertia.view(batch, RESTARTS).argmin(dim=1)
    return labels.view(batch, RESTARTS, count)[torch.arange(batch, device=best.device), best]


def fixed_point(points: Tensor) -> Tensor:
    """Round the points of every image to integers, relative to its largest coordinate.

    Parameters
    ----------
    points
        (B, N, D) of any scale.

    Returns
    -------
    (B, N, D) float64 integers; the largest magnitude of every image is `SCALE`.
    """
    points = points.double()
    largest = points.abs().amax(dim=(1, 2), keepdim=True)
    return (points / largest.where(largest > 0, 1) * SCALE).round()


def centroids_of(points: Tensor, labels: Tensor, clusters: int) -> tuple[Tensor, Tensor]:
    """Means, rounded to integers, and sizes of the clusters.

    Parameters
    ----------
    points
        (B, N, D) from `fixed_point`.
    labels
        (B, N) int64.
    clusters
        Number of clusters C.

    Returns
    -------
    (B, C, D) float64 integers, 0 for an empty cluster; (B, C) int64 numbers of points.
    """
    batch, _, dimensions = points.shape
    rows = (labels + clusters * torch.arange(batch, device=labels.device)[:, None]).flatten()
    sums = points.new_zeros(batch * clusters, dimensions).index_add_(0, rows, points.flatten(0, 1))
    sizes = torch.bincount(rows, minlength=batch * clusters)
    means = (sums / sizes.clamp(min=1)[:, None]).round()
    return means.view(batch, clusters, dimensions), sizes.view(batch, clusters)


def squared_distances(points: Tensor, centroids: Tensor) -> Tensor:
    """Exact squared distances of fixed-point points and centroids.

    Parameters
    ----------
    points
        (B, N, D) float64 integers.
    centroids
        (B, C, D) float64 integers.

    Returns
    -------
    (B, N, C) float64 integers.
    """
    squares = points.square().sum(dim=2)[:, :, None] + centroids.square().sum(dim=2)[:, None]
    return torch.baddbmm(squares, points, centroids.mT, alpha=-2)


def _uniforms(seeds: Sequence[int], clusters: int) -> Tensor:
    """(B * RESTARTS, C, L) random numbers in [0, 1): L candidates for every centroid."""
    candidates = 2 + int(math.log(clusters))  # scikit-learn's number
    shape = (RESTARTS, clusters, candidates)
    draws = [np.random.default_rng(seed).random(shape) for seed in seeds]
    return torch.from_numpy(np.concatenate(draws))


def _seed_centroids(points: Tensor, clusters: int, uniforms: Tensor) -> Tensor:
    """Greedy k-means++: of a few points drawn by squared distance, take the most useful one.

    Returns
    -------
    (B, C, D) centroids, which are points.
    """
    batch, count, dimensions = points.shape
    image = torch.arange(batch, device=points.device)
    centroids = points.new_empty(batch, clusters, dimensions)
    centroids[:, 0] = points[image, (uniforms[:, 0, 0] * count).long()]
    nearest = squared_distances(points, centroids[:, :1])[..., 0]
    for c in range(1, clusters):
        cumulative = nearest.cumsum(dim=1)
        thresholds = uniforms[:, c] * cumulative[:, -1:]
        # where every point is a centroid already, the search runs off the end
        drawn = torch.searchsorted(cumulative, thresholds, right=True).clamp(max=count - 1)
        candidates = points[image[:, None], drawn]
        distances = squared_distances(candidates, points).minimum(nearest[:, None])
        chosen = distances.sum(dim=2).argmin(dim=1)
        centroids[:, c] = candidates[image, chosen]
        nearest = distances[image, chosen]
    return centroids


def _lloyd(points: Tensor, centroids: Tensor) -> tuple[Tensor, Tensor]:
    """Alternate assignment and means until no centroid moves.

    Problems that have converged leave the batch. A cluster that loses all its points keeps its
    centroid.

    Returns
    -------
    (B, N) int64 labels; (B,) float64 inertia less the points' own squares, which is the same for
    all clusterings of an image.
    """
    labels = torch.zeros(points.shape[:2], dtype=torch.int64, device=points.device)
    inertia = points.new_zeros(len(points))
    active = torch.arange(len(points), device=points.device)
    for _ in range(MAX_SWEEPS):
        nearest, costs = _assign(points, centroids)
        labels[active], inertia[active] = nearest, costs.sum(dim=1)
        means, sizes = centroids_of(points, nearest, centroids.shape[1])
        means = means.where(sizes[..., None] > 0, centroids)
        moving = (means != centroids).flatten(1).any(dim=1)
        if not moving.any():
            break
        points, centroids, active = points[moving], means[moving], active[moving]
    return labels, inertia


def _assign(points: Tensor, centroids: Tensor) -> tuple[Tensor, Tensor]:
    """Nearest centroid of every point, the first on ties, and ``|c|^2 - 2 c.x`` for it.

    The number of the centroid rides in the low bits of the cost, so that a plain minimum, several
    times faster than an argmin, finds both.

    Returns
    -------
    (B, N) int64 labels and (B, N) float64 costs.
    """
    clusters = centroids.shape[1]
    room = 2 ** math.ceil(math.log2(clusters))
    number = torch.arange(clusters, dtype=points.dtype, device=points.device)
    squares = centroids.square().sum(dim=2) * room + number
    packed = torch.baddbmm(squares[..., None], centroids * (-2 * room), points.mT).amin(dim=1)
    labels = packed.long() & (room - 1)
    return labels, (packed - labels) / room
