"""Ward's hierarchical clustering of the cells of a grid, neighbours only, as compiled code.

`sklearn.cluster.ward_tree` makes the same trees, ties apart, and takes 15 to 30 times as long.
"""

from __future__ import annotations

import heapq

import numpy as np
from numpy.typing import NDArray

from specray.kernels import compiled


def ward_merges(points: NDArray[np.float32], grid: tuple[int, int]) -> NDArray[np.int64]:
    """Merge the two neighbours whose union adds least to the variance within, until all are one.

    Parameters
    ----------
    points
        (N, D) features of the cells.
    grid
        (h, w) with ``h * w == N``; a cell has up to 4 neighbours.

    Returns
    -------
    (N - 1, 2) int64 nodes that each step merges into node ``N``, ``N + 1``, ...; cells are nodes
    0 to ``N - 1``. Of equal costs the pair of lower nodes comes first.

    References
    ----------
    J. H. Ward, Hierarchical grouping to optimize an objective function, JASA 1963.
    """
    merges: NDArray[np.int64] = _merges(np.ascontiguousarray(points, np.float32), *grid)
    return merges


def leaf_order(merges: NDArray[np.int64]) -> tuple[NDArray[np.int64], ...]:
    """The cells in an order in which those of any node of the tree follow each other.

    Parameters
    ----------
    merges
        (N - 1, 2) from `ward_merges`.

    Returns
    -------
    order
        (N,) cells.
    first, sizes
        (2 N - 1,) place of the first cell of every node in the order, and number of its cells.
    """
    order, first, sizes = _leaf_order(merges)
    return order, first, sizes


@compiled
def _leaf_order(merges):  # type: ignore[no-untyped-def]
    count = len(merges) + 1
    sizes = np.ones(2 * count - 1, np.int64)
    for node in range(count, 2 * count - 1):
        sizes[node] = sizes[merges[node - count, 0]] + sizes[merges[node - count, 1]]
    first = np.zeros(2 * count - 1, np.int64)
    for node in range(2 * count - 2, count - 1, -1):
        left, right = merges[node - count]
        first[left], first[right] = first[node], first[node] + sizes[left]
    order = np.empty(count, np.int64)
    for cell in range(count):
        order[first[cell]] = cell
    return order, first, sizes


@compiled
def _cost(sums, sizes, a, b):  # type: ignore[no-untyped-def]
    """What the sum of squared distances to the means grows by."""
    total = np.float32(0)
    one, other = np.float32(1 / sizes[a]), np.float32(1 / sizes[b])
    for d in range(sums.shape[1]):
        difference = sums[a, d] * one - sums[b, d] * other
        total += difference * difference
    return total * sizes[a] * sizes[b] / (sizes[a] + sizes[b])


@compiled
def _merges(points, height, width):  # type: ignore[no-untyped-def]
    count, dimensions = points.shape
    nodes = 2 * count - 1
    sums = np.empty((nodes, dimensions), np.float32)
    sums[:count] = points
    sizes = np.ones(nodes, np.int64)
    into = np.arange(nodes)  # the node that holds a node now, if the path is followed
    # neighbours of a node: a list through `following`, which may name nodes merged since
    neighbour = np.empty(4 * count, np.int64)
    following = np.full(4 * count, -1)
    first, last = np.full(nodes, -1), np.full(nodes, -1)
    heap = [(np.float32(0), 0, 0) for _ in range(0)]
    used = 0
    for y in range(height):
        for x in range(width):
            cell = y * width + x
            for other, there in (
                (cell - width, y > 0),
                (cell - 1, x > 0),
                (cell + 1, x + 1 < width),
                (cell + width, y + 1 < height),
            ):
                if there:
                    neighbour[used] = other
                    if last[cell] < 0:
                        first[cell] = used
                    else:
                        following[last[cell]] = used
                    last[cell] = used
                    used += 1
                    if other > cell:
                        heap.append((_cost(sums, sizes, cell, other), cell, other))
    heapq.heapify(heap)
    merges = np.empty((count - 1, 2), np.int64)
    seen = np.full(nodes, -1)
    for node in range(count, nodes):
        while True:
            _, a, b = heapq.heappop(heap)
            if into[a] == a and into[b] == b:
                break
        merges[node - count, 0], merges[node - count, 1] = a, b
        into[a] = into[b] = node
        sums[node] = sums[a] + sums[b]
        sizes[node] = sizes[a] + sizes[b]
        # its neighbours are those of both, each once, under their present names
        following[last[a]] = first[b]
        first[node], entry, kept = first[a], first[a], -1
        while entry >= 0:
            other = neighbour[entry]
            while into[other] != other:
                into[other] = into[into[other]]
                other = into[other]
            if other != node and seen[other] != node:
                seen[other] = node
                neighbour[entry] = other
                if kept < 0:
                    first[node] = entry
                else:
                    following[kept] = entry
                kept = entry
                heapq.heappush(heap, (_cost(sums, sizes, other, node), other, node))
            entry = following[entry]
        if kept >= 0:
            following[kept] = -1
        last[node] = kept
    return merges
