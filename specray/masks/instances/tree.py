"""Segments at every scale: a tree of patches that merges the neighbours most alike first."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from specray.masks.instances.border import ends
from specray.masks.ward import leaf_order, ward_merges

MERGES: Final = 100
"""Last merges of the tree whose segments are candidates: earlier ones are mere texture."""

SMALLEST: Final = 3
"""Patches of the smallest candidate."""

EVEN: Final = 0.02
"""Share of the image from which on a segment is a candidate, too, that was complete before those
merges: an object that is the same all over."""

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
    (S, h, w) bool: what the last `MERGES` merges made, the last one first; then the larger of what
    they began with, see `EVEN`. Left out is what is smaller than `SMALLEST` or touches more than
    `SIDES` of the image. Any two are disjoint, or one holds the other.
    """
    count = len(points)
    if count < SMALLEST:
        return np.zeros((0, *grid), np.bool_)
    merges = ward_merges(points, grid)
    order, first, sizes = leaf_order(merges)
    late = np.arange(2 * count - 2, count - 1, -1)[:MERGES]
    early = np.setdiff1d(merges[late - count], late)[::-1]
    early = early[sizes[early] >= max(EVEN * count, SMALLEST)]
    nodes = np.concatenate([late[sizes[late] >= SMALLEST], early])
    flat = np.zeros((len(nodes), count), np.bool_)
    for segment, node in zip(flat, nodes, strict=True):
        segment[order[first[node] : first[node] + sizes[node]]] = True
    segments = flat.reshape(-1, *grid)
    kept: NDArray[np.bool_] = segments[_sides_touched(segments) <= SIDES]
    return kept


def _sides_touched(segments: NDArray[np.bool_]) -> NDArray[np.int64]:
    """(S,) number of sides of the image that every segment touches."""
    touched: NDArray[np.int64] = np.sum([end.any(axis=1) for end in ends(segments)], axis=0)
    return touched
