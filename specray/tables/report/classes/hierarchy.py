"""The tree in which the classes of a run merge, as lines to draw."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from scipy.cluster.hierarchy import dendrogram

LEAVES: Final = 64
"""Of a tree; what lies below is drawn as one leaf."""

_ROW: Final = 22
"""Pixels from leaf to leaf."""

_PER_LEAF: Final = 10
"""From leaf to leaf, as scipy has it."""

_WIDTH: Final = 560
"""Pixels from the leaves to the root."""


@dataclass(frozen=True)
class Leaf:
    """An end of the tree."""

    y: float
    position: int
    """Of its class; of a merged one, that of the class with the most points in it."""
    merged: int
    """Classes in it."""


@dataclass(frozen=True)
class Tree:
    """A dendrogram: its root at the left, a leaf below the other at the right."""

    width: int
    height: int
    paths: list[str]
    """SVG paths, one per merge."""
    leaves: list[Leaf]


def draw_tree(merges: Sequence[Sequence[float]], points: Sequence[int]) -> Tree | None:
    """The tree of the merges; None where there is but one class.

    Parameters
    ----------
    merges
        Of the run record, rows as of `scipy.cluster.hierarchy.linkage`.
    points
        Of every class, by its position in the run record.
    """
    if not merges:
        return None
    linkage = np.array(merges, dtype=np.float64)
    members = [[i] for i in range(len(points))]
    for row in linkage:
        members.append(members[int(row[0])] + members[int(row[1])])
        row[3] = len(members[-1])  # what scipy counts are leaves
    drawn = dendrogram(linkage, p=LEAVES, truncate_mode="lastp", no_plot=True)
    far = max(float(linkage[:, 2].max()), 1e-12)
    paths = [
        _path(_WIDTH * (1 - np.array(distances) / far), np.array(places) * _ROW / _PER_LEAF)
        for places, distances in zip(drawn["icoord"], drawn["dcoord"], strict=True)
    ]
    leaves = []
    for i, node in enumerate(drawn["leaves"]):
        largest = max(members[node], key=lambda position: (points[position], -position))
        leaves.append(Leaf((i + 0.5) * _ROW, largest, len(members[node])))
    return Tree(_WIDTH, _ROW * len(leaves), paths, leaves)


def _path(x: Any, y: Any) -> str:
    return "M" + "L".join(f"{right:.1f} {down:.1f}" for right, down in zip(x, y, strict=True))
