"""The majority filter."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from specray.masks import majority_filter
from tests.masks.principal.cases import published_median


@given(
    shape=st.tuples(st.integers(2, 12), st.integers(2, 12)),
    count=st.integers(0, 5),
    seed=st.integers(0, 999),
)
def test_it_is_the_median_of_every_mask(shape: tuple[int, int], count: int, seed: int) -> None:
    labels = np.random.default_rng(seed).integers(-1, count, shape)
    np.testing.assert_array_equal(majority_filter(labels), published_median(labels))


def test_small_squares_vanish_and_larger_ones_lose_their_corners() -> None:
    labels = np.full((12, 12), -1)
    labels[2:4, 2:4] = 0
    labels[6:9, 6:9] = 1
    found = majority_filter(labels)
    assert (found != 0).all()
    assert (found == 1).sum() == 5
    assert (found[7, 6:9] == 1).all()
    assert (found[6:9, 7] == 1).all()


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (7, 1)])
def test_lines_of_cells_keep_what_is_even(shape: tuple[int, int]) -> None:
    np.testing.assert_array_equal(majority_filter(np.full(shape, 3)), np.full(shape, 3))
