"""Medians over windows of the grid, against numpy."""

from __future__ import annotations

import numpy as np
import pytest

from specray.masks import masked_median, replicated_median

SHAPES = [(9, 12, 3), (1, 1, 2), (1, 7, 1), (6, 2, 4)]


@pytest.mark.parametrize("size", [3, 5])
@pytest.mark.parametrize("shape", SHAPES)
def test_replicated_median_repeats_the_nearest_cell(shape: tuple[int, int, int], size: int) -> None:
    grid = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    half = size // 2
    padded = np.pad(grid, ((half, half), (half, half), (0, 0)), mode="edge")
    smooth = replicated_median(grid, size)
    assert smooth.dtype == np.float32
    for y, x in np.ndindex(shape[:2]):
        window = padded[y : y + size, x : x + size]
        np.testing.assert_array_equal(smooth[y, x], np.median(window, axis=(0, 1)))


@pytest.mark.parametrize("density", [0.1, 0.5, 1.0])
@pytest.mark.parametrize("shape", SHAPES)
def test_masked_median_is_that_of_the_foreground_cells(
    shape: tuple[int, int, int], density: float
) -> None:
    generator = np.random.default_rng(1)
    grid = generator.standard_normal(shape)
    mask = generator.random(shape[:2]) < density
    smooth = masked_median(grid, mask)
    assert not smooth[~mask].any()
    for y, x in np.argwhere(mask):
        window = np.s_[max(y - 2, 0) : y + 3, max(x - 2, 0) : x + 3]
        np.testing.assert_array_equal(smooth[y, x], np.median(grid[window][mask[window]], axis=0))


def test_background_moves_the_published_median_and_not_the_masked_one() -> None:
    mask = np.zeros((9, 9), dtype=np.bool_)
    mask[3:6, 3:6] = True  # 9 of the 25 cells of a window
    grid = np.where(mask, 1.0, -5.0)[..., None]
    assert replicated_median(grid)[4, 4] == -5
    np.testing.assert_array_equal(masked_median(grid, mask)[..., 0], mask)


def test_nothing_has_no_median() -> None:
    grid = np.ones((3, 4, 2))
    assert not masked_median(grid, np.zeros((3, 4), dtype=np.bool_)).any()
