"""Outlines run along the edges of pixels, and a polygon of them is the mask."""

from __future__ import annotations

import numpy as np
import pytest
import skimage.draw
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from specray.tables.exports.outlines import one_polygon, outlines
from tests.tables.exports.cases import MASKS, Mask, drawn

SMALL = arrays.arrays(np.bool_, st.tuples(st.integers(1, 9), st.integers(1, 9)))


def filled(polygon: NDArray[np.int64], shape: tuple[int, ...]) -> Mask:
    """The pixels whose centres lie in a polygon, after scikit-image."""
    found: Mask = skimage.draw.polygon2mask(shape, polygon[:, ::-1] - 0.5)
    return found


def area(loop: NDArray[np.int64]) -> float:
    """Positive if it turns clockwise on a screen."""
    (x, y), (next_x, next_y) = loop.T, np.roll(loop, -1, axis=0).T
    return float((x * next_y - next_x * y).sum() / 2)


@given(SMALL)
@settings(max_examples=300, deadline=None)
def test_one_polygon_fills_exactly_the_mask(mask: Mask) -> None:
    loops = outlines(mask)
    assert bool(loops) == mask.any()
    if loops:
        polygon = one_polygon(loops)
        assert np.array_equal(filled(polygon, mask.shape), mask)
        steps = np.roll(polygon, -1, axis=0) - polygon
        assert (steps == 0).any(axis=1).all()  # bridges along the edges of pixels, too


@given(SMALL)
@settings(max_examples=300, deadline=None)
def test_loops_are_closed_lines_along_pixels_that_enclose_the_area(mask: Mask) -> None:
    loops = outlines(mask)
    for loop in loops:
        steps = np.roll(loop, -1, axis=0) - loop
        assert ((steps == 0).sum(axis=1) == 1).all()  # along an axis, and never on the spot
        assert (
            np.sign(steps[:, 0]) != np.sign(np.roll(steps[:, 0], 1))
        ).all()  # every corner turns
    assert sum(map(area, loops)) == mask.sum()


@pytest.mark.parametrize("name", MASKS)
def test_one_polygon_fills_masks_of_every_shape(name: str) -> None:
    for mask in MASKS[name]:
        assert np.array_equal(filled(one_polygon(outlines(mask)), mask.shape), mask)


def test_parts_turn_clockwise_and_holes_against_it() -> None:
    ring = drawn("#####", "#...#", "#...#", "#####")
    assert [area(loop) for loop in outlines(ring)] == [20, -6]
    assert [area(loop) for loop in outlines(drawn("#.#"))] == [1, 1]


def test_pixels_that_touch_at_a_corner_are_apart() -> None:
    assert [loop.tolist() for loop in outlines(drawn("#.", ".#"))] == [
        [[0, 0], [1, 0], [1, 1], [0, 1]],
        [[1, 1], [2, 1], [2, 2], [1, 2]],
    ]
    assert len(outlines(drawn(".#", "#."))) == 2


def test_a_mask_of_many_holes_is_one_polygon_soon() -> None:
    mask = np.ones((201, 201), dtype=bool)
    mask[1::4, 1::4] = False  # 2,500 holes
    assert np.array_equal(filled(one_polygon(outlines(mask)), mask.shape), mask)
