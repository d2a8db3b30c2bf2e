"""A trimap keeps something sure of everything, and leaves the border open."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from specray.masks import trimap
from specray.masks.matting.trimap import band_radius

MASKS = hnp.arrays(bool, hnp.array_shapes(min_dims=2, max_dims=2, max_side=24))


@given(mask=MASKS, radius=st.floats(1, 30))
def test_what_is_sure_agrees_with_the_mask_and_there_is_some_of_each_kind(
    mask: np.ndarray, radius: float
) -> None:
    found = trimap(mask, radius)
    assert set(np.unique(found.values)) <= {0, 0.5, 1}
    assert mask[found.values == 1].all()
    assert not mask[found.values == 0].any()
    assert (found.values == 1).any() == mask.any()
    assert (found.values == 0).any() == (~mask).any()
    assert (found.trust >= 0).all()


@pytest.mark.parametrize("value", [False, True])
def test_of_one_kind_alone_nothing_is_unknown(value: bool) -> None:
    found = trimap(np.full((9, 9), value), 3)
    assert (found.values == value).all()
    assert not found.unknown.any()


def test_the_band_is_as_wide_as_asked_for_and_the_border_of_the_image_is_none_of_the_mask() -> None:
    mask = np.zeros((40, 100), bool)
    mask[:, :50] = True
    values = trimap(mask, 10).values
    np.testing.assert_array_equal(np.flatnonzero(values[0] == 0.5), np.arange(40, 60))
    assert (values[:, :40] == 1).all()
    assert (values[:, 60:] == 0).all()


def test_a_part_thinner_than_the_band_keeps_sure_foreground_along_all_of_it() -> None:
    mask = np.zeros((120, 120), bool)
    mask[:60] = True
    mask[60:110, 50:58] = True  # a leg, 8 wide
    leg = trimap(mask, 15).values[80:105]
    assert (leg == 1).any(axis=1).all()
    assert (leg == 0.5).any(axis=1).all()


def test_a_hole_narrower_than_the_band_keeps_sure_background() -> None:
    mask = np.ones((100, 100), bool)
    mask[45:53, 45:53] = False
    assert (trimap(mask, 20).values[45:53, 45:53] == 0).any()


def test_the_mask_is_trusted_not_at_all_on_its_border_and_more_away_from_it() -> None:
    mask = np.arange(100)[None].repeat(3, axis=0) < 50
    trust = trimap(mask, 20).trust[1]
    assert trust[[49, 50]].max() < 1e-5
    assert (np.diff(trust[50:70]) > 0).all()
    assert (np.diff(trust[30:50]) < 0).all()


def test_the_band_follows_the_image_or_the_cells_and_is_never_nothing() -> None:
    assert band_radius((480, 640), 0.015) == pytest.approx(7.2)
    assert band_radius((480, 640), 0.015, cell=16) == 20
    assert band_radius((8, 8), 0.015) == 1
