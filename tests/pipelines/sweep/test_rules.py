"""Which side is the object, and what the corners are."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from specray.pipelines.sweep.combinations import Combination, grid_of, papers_choice
from specray.pipelines.sweep.rules import border_of, corners_of, turned
from specray.spectral import orient

GRID = (6, 8)
NONE = torch.zeros(48, dtype=torch.bool)


@given(st.integers(0, 2**32 - 1), st.floats(-1.5, 1.5))
def test_minority_without_corners_is_the_rule_of_the_spectral_room(seed: int, shift: float) -> None:
    vector = torch.from_numpy(np.random.default_rng(seed).normal(shift, 1, 48)).float()
    assert torch.equal(turned(vector, GRID, "minority", NONE), orient(vector))
    assert torch.equal(turned(orient(vector), GRID, "minority", NONE), orient(vector))


@given(st.integers(0, 2**32 - 1))
def test_border_rule_leaves_the_object_at_most_half_of_the_border(seed: int) -> None:
    vector = torch.from_numpy(np.random.default_rng(seed).normal(0.3, 1, 48)).float()
    border = border_of(GRID)
    found = turned(vector, GRID, "border", NONE) > 0
    assert int(border.sum()) == 24
    assert int(found[border].sum()) <= 12
    assert torch.equal(found, turned(-vector, GRID, "border", NONE) > 0) or (
        int(found[border].sum()) == 12
    )


def test_a_large_object_in_the_middle_is_the_smaller_side_of_the_border() -> None:
    vector = torch.full(GRID, -1.0)
    vector[1:-1] = 1.0  # 32 of 48 patches
    by_border = turned(-vector.flatten(), GRID, "border", NONE) > 0
    by_minority = turned(vector.flatten(), GRID, "minority", NONE) > 0
    assert torch.equal(by_border, vector.flatten() > 0)
    assert torch.equal(by_minority, vector.flatten() < 0)


@pytest.mark.parametrize("sign", ["minority", "border"])
def test_corners_are_background_and_do_not_count(sign: str) -> None:
    corners = corners_of(GRID, (6, 8))
    vector = torch.full(GRID, -1.0)
    vector[corners.reshape(GRID)] = 1.0
    vector[2:4, 2:5] = 1.0
    found = turned(vector.flatten(), GRID, sign, corners)  # type: ignore[arg-type]
    assert found[corners].abs().sum() == 0
    assert int((found > 0).sum()) == 6


def test_corners_grow_with_the_grid() -> None:
    found = corners_of((30, 53), (14, 14)).reshape(30, 53)
    assert found[:2, :4].all() and found[-2:, -4:].all()
    assert int(found.sum()) == 4 * 2 * 4
    assert int(corners_of((1, 1), (14, 14)).sum()) == 1


def test_the_grid_always_has_the_choice_of_the_papers() -> None:
    found = grid_of([2, -10], ["v"], [0.0], ["border"], ["kept"], depth=12)
    assert found == [Combination(2, "v", 0.0, "border"), papers_choice(12)]
    whole = grid_of([], ["k", "q", "v", "token"], [0.0], ["minority", "border"], ["kept"], 12)
    assert len(whole) == len(set(whole)) == 96
    assert papers_choice(12) == Combination(11, "k", 0.0, "minority", "kept")
