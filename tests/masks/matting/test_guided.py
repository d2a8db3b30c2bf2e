"""The guided filter finds affine functions of colour, and applies them at any size."""

from __future__ import annotations

import numpy as np

from specray.masks.matting.guided import LinearModel, apply_guided, fit_guided, resized_rows

RNG = np.random.default_rng(0)


def test_an_affine_function_of_colour_is_recovered() -> None:
    guide = RNG.random((20, 30, 3))
    values = guide @ [0.5, -0.2, 0.3] + 0.1
    model = fit_guided(guide, values, radius=2)
    np.testing.assert_allclose(model.slope[10, 10], [0.5, -0.2, 0.3], atol=1e-3)
    found = np.einsum("hwc,hwc->hw", model.slope, guide) + model.offset
    np.testing.assert_allclose(found, values, atol=1e-3)


def test_where_the_guide_has_no_edge_values_are_averaged() -> None:
    values = RNG.random((15, 15))
    model = fit_guided(np.full((15, 15, 3), 0.5), values, radius=7)
    assert abs(model.offset[7, 7] - values.mean()) < 0.1
    assert np.abs(model.slope).max() < 1e-6


def test_rows_one_strip_after_the_other_are_those_of_the_whole() -> None:
    guide = RNG.integers(0, 256, (101, 67, 3), np.uint8)
    model = LinearModel(
        RNG.random((23, 15, 3)).astype(np.float32), RNG.random((23, 15)).astype(np.float32)
    )
    whole = apply_guided(model, guide, 0, 101)
    strips = [apply_guided(model, guide[top : top + 16], top, 101) for top in range(0, 101, 16)]
    np.testing.assert_allclose(np.concatenate(strips), whole, atol=1e-5)


def test_a_plane_of_its_own_size_stays_as_it_is() -> None:
    plane = RNG.random((9, 7)).astype(np.float32)
    np.testing.assert_array_equal(resized_rows(plane, (9, 7), 0, 9), plane)
