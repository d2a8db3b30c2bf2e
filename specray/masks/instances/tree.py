"""Segments at every scale: a tree of patches that merges the neighbours most alike first."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import ward_tree
from sklearn.feature_extraction.image import grid_to_graph

MERGES: Final = 100
"""Last merges of the tree whose segments are candidates: earlier ones are mere texture."""

SMALLEST: Final = 3
"""Patches of the smallest candidate."""

SIDES: Final = 2
"""Sides of the image that a candidate may touch: what touches more of them is the scene."""


def segment_tree(points: NDArray[np.float32], grid: tuple[int, int]) -> NDArray[np.bool_]:
    """Candidates for objects: the larger segments of a hierarchical clustering of the patches.

    Each step merges the two segments, neighbours on the grid (of 4), whose union adds least to the
    variance within segments. So touching objects stay apart until they are the most alike.

    Parameters
    ----------
    points
        (N, D) features of the patches.
    grid
        (h, w) with ``h * w == N``.

    Returns
    -------
    (S, h, w) bool, of at most `MERGES` merges, the last one first, those left out that are smaller
    than `SMALLEST` or touch more than `SIDES` of the image. Any two are disjoint, or one holds the
    other.

    References
    ----------
    J. H. Ward, Hierarchical grouping to optimize an objective function, JASA 1963.
    """
    count = len(points)
    if count < SMALLEST:
        return np.zeros((0, *grid), np.bool_)
    children = ward_tree(points, connectivity=grid_to_graph(*grid))[0]
    sizes = np.ones(2 * count - 1, np.int64)
    for node, pair in enumerate(children, start=count):
        sizes[node] = sizes[pair].sum()
    # the patches in an order in which those of any node follow each other
    first = np.zeros_like(sizes)
    for node in range(2 * count - 2, count - 1, -1):
        left, right = children[node - count]
        first[left], first[right] = first[node], first[node] + sizes[left]
    order = np.argsort(first[:count])
    nodes = np.arange(2 * count - 2, count - 1, -1)[:MERGES]
    nodes = nodes[sizes[nodes] >= SMALLEST]
    flat = np.zeros((len(nodes), count), np.bool_)
    for segment, node in zip(flat, nodes, strict=True):
        segment[order[first[node] : first[node] + sizes[node]]] = True
    segments = flat.reshape(-1, *grid)
    kept: NDArray[np.bool_] = segments[_sides_touched(segments) <= SIDES]
    return kept


def _sides_touched(segments: NDArray[np.bool_]) -> NDArray[np.int64]:
    """(S,) number of sides of the image that every segment touches."""
    ends = (segments[:, 0], segments[:, -1], segments[:, :, 0], segments[:, :, -1])
    touched: NDArray[np.int64] = np.sum([end.any(axis=1) for end in ends], axis=0)
    return touched
