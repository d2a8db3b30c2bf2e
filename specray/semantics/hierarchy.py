"""Ward's hierarchy over weighted centroids, so that classes can be coarsened without a new fit."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def ward(centroids: NDArray[np.floating], sizes: NDArray[np.int64]) -> NDArray[np.float64]:
    """Merge the two groups whose union adds least to the inertia, until all are one.

    The tree is the top of the one that Ward's method makes of all points, were every point at its
    centroid. SciPy's `linkage` takes no weights.

    Parameters
    ----------
    centroids
        (K, d) centroids; takes 8 K^2 bytes.
    sizes
        (K,) points of each, at least 1.

    Returns
    -------
    (K - 1, 4) float64 as `scipy.cluster.hierarchy.linkage`: the two nodes merged, the lower first,
    their distance, which never falls, and the points of both. Nodes are classes 0..K-1, then K +
    row.

    References
    ----------
    J. H. Ward, Hierarchical grouping to optimize an objective function, JASA 1963.
    """
    count = len(centroids)
    weights = sizes.astype(np.float64)
    costs = _costs(centroids.astype(np.float64), weights)
    nodes = np.arange(count)
    merges = np.empty((max(count - 1, 0), 4))
    partner = costs.argmin(axis=1)
    for step in range(count - 1):
        lowest = costs[np.arange(count), partner]
        first = int(lowest.argmin())
        second = int(partner[first])
        distance, total = np.sqrt(lowest[first]), weights[first] + weights[second]
        merges[step] = *sorted((nodes[first], nodes[second])), distance, total
        _merge(costs, weights, first, second)
        nodes[first] = count + step
        # a union is no nearer to others than the nearer of its two, so other partners stay
        stale = np.flatnonzero((partner == first) | (partner == second))
        stale = np.union1d(stale, [first, second])
        partner[stale] = costs[stale].argmin(axis=1)
    return merges


def _costs(centroids: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """(K, K) squared Ward distances; infinite on the diagonal."""
    costs = np.empty((len(centroids), len(centroids)))
    for row, centroid in enumerate(centroids):  # by row: differences of all pairs would not fit
        squared = np.square(centroids - centroid).sum(axis=1)
        costs[row] = 2 * squared * weights * weights[row] / (weights + weights[row])
    np.fill_diagonal(costs, np.inf)
    return costs


def _merge(costs: NDArray[np.float64], weights: NDArray[np.float64], i: int, j: int) -> None:
    """Make i the union of i and j, by the formula of Lance and Williams, and j unreachable."""
    wi, wj, between = weights[i], weights[j], costs[i, j]
    union = (weights + wi) * costs[i] + (weights + wj) * costs[j] - weights * between
    union /= weights + wi + wj
    union[[i, j]] = np.inf
    costs[i], costs[:, i] = union, union
    costs[j], costs[:, j] = np.inf, np.inf
    weights[i] = wi + wj
