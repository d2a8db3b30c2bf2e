"""The published cleaning of a foreground mask (golden checks of SpecUnIIS)."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray

from specray.masks import clean_foreground

Mask = NDArray[np.bool_]


def blocks(*extents: tuple[slice, slice]) -> Mask:
    """A grid of 40 x 40 patches with rectangles in it."""
    mask = np.zeros((40, 40), dtype=np.bool_)
    for extent in extents:
        mask[extent] = True
    return mask


def without_corners(mask: Mask, *corners: tuple[int, int]) -> Mask:
    """What the median leaves of rectangles."""
    mask = mask.copy()
    mask[tuple(zip(*corners, strict=True))] = False
    return mask


LARGE = np.s_[10:20, 10:20]
LARGE_CORNERS = (10, 10), (10, 19), (19, 10), (19, 19)


def test_part_whose_outline_is_under_a_tenth_of_the_largest_goes() -> None:
    mask = blocks(LARGE, np.s_[25:28, 25:28])  # outlines 81 and 4, though 100 and 9 patches
    expected = without_corners(blocks(LARGE), *LARGE_CORNERS)
    np.testing.assert_array_equal(clean_foreground(mask), expected)


def test_part_whose_outline_is_over_a_tenth_of_the_largest_stays() -> None:
    mask = blocks(LARGE, np.s_[25:30, 25:30])  # outlines 81 and 16
    corners = (25, 25), (25, 29), (29, 25), (29, 29)
    expected = without_corners(mask, *LARGE_CORNERS, *corners)
    np.testing.assert_array_equal(clean_foreground(mask), expected)


def test_part_of_exactly_a_tenth_stays() -> None:
    tenth = np.s_[30:32, 6:13]  # outline 6
    sixty, more = np.s_[10:15, 6:22], np.s_[10:15, 6:23]  # outlines 60 and 64
    assert clean_foreground(blocks(sixty, tenth))[tenth].any()
    assert not clean_foreground(blocks(more, tenth))[tenth].any()


def test_hole_is_filled() -> None:
    ring = blocks(np.s_[10:30, 10:30])
    ring[15:25, 15:25] = False
    filled = clean_foreground(ring)
    corners = (10, 10), (10, 29), (29, 10), (29, 29)
    np.testing.assert_array_equal(filled, without_corners(blocks(np.s_[10:30, 10:30]), *corners))
    assert filled.sum() == 396


def test_parts_that_enclose_nothing_all_remain_if_there_are_no_others() -> None:
    lines = blocks(np.s_[:1, :], np.s_[-1:, :])  # the median spares lines along the border
    np.testing.assert_array_equal(clean_foreground(lines), lines)
    assert not clean_foreground(lines | blocks(LARGE))[[0, -1]].any()


@pytest.mark.parametrize(("strips", "turned"), [(1, False), (2, True), (4, True)])
def test_mask_of_two_borders_is_the_background(strips: int, turned: bool) -> None:
    sides = [np.s_[:5, :], np.s_[-5:, :], np.s_[:, :5], np.s_[:, -5:]]
    mask = blocks(*sides[:strips])
    assert clean_foreground(mask)[20, 20] == turned


def test_strip_votes_if_more_than_nine_tenths_of_it_are_foreground() -> None:
    mask = blocks(np.s_[:5, :36], np.s_[-5:, :36])  # 90 % of both
    assert not clean_foreground(mask)[20, 20]
    mask[:1, 36:37] = mask[-1:, 36:37] = True
    assert clean_foreground(mask)[20, 20]


def test_whole_grid_is_turned_into_nothing() -> None:
    assert not clean_foreground(np.ones((30, 40), dtype=np.bool_)).any()


@given(arrays(np.bool_, array_shapes(min_dims=2, max_dims=2, max_side=9), elements=st.booleans()))
def test_any_mask_has_a_result_of_its_size(mask: Mask) -> None:
    before = mask.copy()
    assert clean_foreground(mask).shape == mask.shape
    np.testing.assert_array_equal(mask, before)


def test_blobs_agree_with_opencv() -> None:
    rows = [row.split() for row in BEFORE_AND_AFTER.strip().splitlines()]
    before, after = (np.array([list(r[side]) for r in rows]) == "#" for side in (0, 1))
    np.testing.assert_array_equal(clean_foreground(before), after)


BEFORE_AND_AFTER = """
#.....##.##.........  ......##............
#.....##............  ......##............
#....####...........  .....####...........
#....######.........  .....#####..........
##...##..##.........  ......#.###.........
#........##.........  ..........#.........
...........#....#..#  ...................#
....##......########  ....##......########
...####....#########  ...####....#########
...####...#####....#  ...####...##########
#...###...####....##  ....###...##########
#...###..###########  .....#...###########
.........###########  .........###########
#.........#######..#  ..........##########
"""
"""Made with findContours, contourArea, drawContours and medianBlur of OpenCV 5.0."""
