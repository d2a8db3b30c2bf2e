"""The background rule (golden check 14)."""

from __future__ import annotations

import numpy as np
import pytest

from specray.masks import background_first


def test_label_with_most_border_cells_swaps_with_zero() -> None:
    labels = np.array([[2, 2, 2, 2], [2, 0, 1, 2], [2, 0, 1, 0], [2, 2, 1, 0]])
    expected = np.array([[0, 0, 0, 0], [0, 2, 1, 0], [0, 2, 1, 2], [0, 0, 1, 2]])
    np.testing.assert_array_equal(background_first(labels), expected)


def test_corners_count_twice_and_the_lowest_label_wins_ties() -> None:
    corners = np.array([[1, 0, 0, 1], [0, 2, 2, 0], [1, 0, 0, 1]])  # 8 of 1, 6 of 0
    np.testing.assert_array_equal(background_first(corners)[0], [0, 1, 1, 0])
    tie = np.array([[0, 1], [0, 1]])
    np.testing.assert_array_equal(background_first(tie), tie)


@pytest.mark.parametrize("seed", range(10))
def test_background_rule_only_swaps_two_labels(seed: int) -> None:
    labels = np.random.default_rng(seed).integers(0, 5, (6, 7))
    swapped = background_first(labels)
    border = np.concatenate([swapped[0], swapped[-1], swapped[:, 0], swapped[:, -1]])
    winner = labels[swapped == 0][0]
    assert set(np.unique(swapped)) == set(np.unique(labels))
    assert np.bincount(border).argmax() == 0
    unmoved = ~np.isin(labels, [0, winner])
    np.testing.assert_array_equal(swapped[unmoved], labels[unmoved])
    np.testing.assert_array_equal(swapped == winner, labels == 0) if winner else None
