"""Ward's clustering of neighbouring cells, against scikit-learn's."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.cluster import ward_tree
from sklearn.feature_extraction.image import grid_to_graph

from specray.masks.ward import leaf_order, ward_merges

GRIDS = [(1, 2), (1, 9), (7, 1), (2, 2), (3, 5), (12, 16), (30, 40)]


def points(grid: tuple[int, int], dimensions: int = 8) -> NDArray[np.float32]:
    return np.random.default_rng(0).random((grid[0] * grid[1], dimensions), np.float32)


@pytest.mark.parametrize("grid", GRIDS)
def test_merges_are_those_of_scikit_learn(grid: tuple[int, int]) -> None:
    expected = ward_tree(points(grid), connectivity=grid_to_graph(*grid))[0]
    found = ward_merges(points(grid), grid)
    np.testing.assert_array_equal(np.sort(found), np.sort(expected))


def test_a_single_cell_is_a_whole_tree() -> None:
    merges = ward_merges(points((1, 1)), (1, 1))
    order, first, sizes = leaf_order(merges)
    assert merges.shape == (0, 2)
    assert [order.tolist(), first.tolist(), sizes.tolist()] == [[0], [0], [1]]


def test_of_equal_costs_the_lower_nodes_come_first() -> None:
    merges = ward_merges(np.zeros((4, 3), np.float32), (1, 4))
    np.testing.assert_array_equal(merges, [[0, 1], [2, 3], [4, 5]])


@pytest.mark.parametrize("grid", GRIDS)
def test_cells_of_a_node_follow_each_other(grid: tuple[int, int]) -> None:
    merges = ward_merges(points(grid), grid)
    order, first, sizes = leaf_order(merges)
    count = len(order)
    members = [{cell} for cell in range(count)]
    for a, b in merges:
        members.append(members[a] | members[b])
    for node, cells in enumerate(members):
        assert set(order[first[node] : first[node] + sizes[node]].tolist()) == cells
