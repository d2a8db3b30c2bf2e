"""Outlines of a mask along the edges of its pixels, and all of them as one polygon."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Loop = NDArray[np.int64]
"""(V, 2) corners x, y of a closed line; the last is not the first again."""


def outlines(mask: NDArray[np.bool_]) -> list[Loop]:
    """Every border of a mask, exactly: parts clockwise as one sees it, holes the other way.

    Pixels that touch at a corner alone are not connected.

    Parameters
    ----------
    mask
        (H, W).

    Returns
    -------
    Loops of corners in pixels, pixel (0, 0) reaches from 0 to 1; by their topmost, leftmost corner.

    Examples
    --------
    >>> outlines(np.ones((2, 3), dtype=bool))[0].tolist()
    [[0, 0], [3, 0], [3, 2], [0, 2]]
    """
    if not mask.any():
        return []
    rows, columns = ndimage.find_objects(mask.view(np.uint8))[0]
    inside = np.pad(mask[rows, columns], 1)
    x, y, right, down = _corners(inside)
    # Along a line of the grid edges begin and end in turns, so that neighbours belong together.
    by_row, by_column = np.lexsort((right, x, y)), np.lexsort((down, y, x))
    across, along = _partners(by_row), _partners(by_column)
    filled_below = inside[y + 1, x + 1].tolist()
    points = np.stack([x + columns.start, y + rows.start], axis=1)
    loops = []
    seen = [False] * len(x)
    for corner in by_row[::2].tolist():
        if not seen[corner]:
            start = corner if filled_below[corner] else across[corner]
            loops.append(points[_walk(start, across, along, seen)])
    return loops


def one_polygon(loops: list[Loop]) -> Loop:
    """Join loops into one by bridges of no width, there and back.

    Bridges run along the edges of pixels, so that whoever asks for the centre of a pixel, by the
    even-odd rule or by the winding number, gets the mask that the loops came from.

    Parameters
    ----------
    loops
        As from `outlines`, at least one.
    """
    bridges: list[list[tuple[int, int]]] = [[] for _ in loops]  # of a loop: (its corner, loop)
    corners = np.concatenate(loops)
    starts = np.cumsum([0, *map(len, loops)])
    for child in range(1, len(loops)):
        distances = np.abs(corners[: starts[child]] - loops[child][0]).sum(axis=1)
        nearest = int(distances.argmin())
        parent = int(np.searchsorted(starts, nearest, side="right")) - 1
        bridges[parent].append((nearest - int(starts[parent]), child))
    joined: list[Loop] = list(loops)
    for parent in reversed(range(len(loops))):  # a child comes after its parent
        joined[parent] = _spliced(
            loops[parent], [(at, joined[child]) for at, child in bridges[parent]]
        )
    return joined[0]


def _corners(inside: NDArray[np.bool_]) -> tuple[NDArray[np.int64], ...]:
    """Where the border of a padded mask turns: x, y, and whether it leaves right and down.

    A crossing, two pixels that touch at a corner, is two corners, one of each pixel.
    """
    above, below = inside[:-1], inside[1:]
    turns = above[:, :-1] ^ above[:, 1:] ^ below[:, :-1] ^ below[:, 1:]
    crossings = (above[:, :-1] == below[:, 1:]) & (above[:, 1:] == below[:, :-1])
    crossings &= above[:, :-1] != above[:, 1:]
    y, x = np.nonzero(turns)
    cross_y, cross_x = np.nonzero(crossings)
    falling = above[cross_y, cross_x]  # the pixels lie top left and bottom right
    right = above[y, x] == below[y, x]
    down = above[y, x] == above[y, x + 1]
    left_one, right_one = np.zeros_like(falling), np.ones_like(falling)
    return (
        np.concatenate([x, cross_x, cross_x]),
        np.concatenate([y, cross_y, cross_y]),
        np.concatenate([right, left_one, right_one]),
        np.concatenate([down, ~falling, falling]),
    )


def _partners(order: NDArray[Any]) -> list[int]:
    """The other end of the edge of each corner."""
    partners = np.empty_like(order)
    partners[order[0::2]], partners[order[1::2]] = order[1::2], order[0::2]
    found: list[int] = partners.tolist()
    return found


def _walk(start: int, across: list[int], along: list[int], seen: list[bool]) -> list[int]:
    """Follow a border from a corner, first across; marks what it passes."""
    loop: list[int] = []
    corner = start
    while not loop or corner != start:
        turn = across[corner]
        loop += [corner, turn]
        seen[corner] = seen[turn] = True
        corner = along[turn]
    return loop


def _spliced(loop: Loop, children: list[tuple[int, Loop]]) -> Loop:
    """A loop with detours: at a corner, over the bridge, around the child, and back."""
    pieces, done = [], 0
    for at, child in sorted(children, key=lambda item: item[0]):
        here = loop[at : at + 1]
        bend = np.array([[child[0, 0], here[0, 1]]])
        pieces += [loop[done : at + 1], bend, child, child[:1], bend, here]
        done = at + 1
    return np.concatenate([*pieces, loop[done:]])
