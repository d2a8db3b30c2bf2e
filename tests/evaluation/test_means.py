"""Exact means and the Poisson bootstrap, against NumPy and sums of fractions."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import poisson

from specray.evaluation import (
    FIXED,
    Means,
    fixed,
    interval,
    replicate_weights,
    replicated,
    unfixed,
)
from specray.evaluation.means import HEAVIEST, on_grid
from tests.evaluation.shards import sums_in_any_order

IMAGES, FIGURES, REPLICATES = 60, 3, 7


def sample() -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Figures, some of which are missing, and weights."""
    random = np.random.default_rng(0)
    figures = random.random((IMAGES, FIGURES))
    figures[random.random(figures.shape) < 0.2] = np.nan
    figures[:4] = [[0, 1, np.nan]]
    weights = [replicate_weights(0, f"{image}.jpg", REPLICATES) for image in range(IMAGES)]
    return figures, np.stack(weights)


def test_means_agree_with_numpy() -> None:
    figures, weights = sample()
    present = ~np.isnan(figures)
    found = Means.of(figures, weights).finish()
    for replicate, column in enumerate(weights.T):
        for figure in range(FIGURES):
            there = present[:, figure]
            expected = np.average(figures[there, figure], weights=column[there])
            assert found[replicate, figure] == pytest.approx(expected, abs=1 / FIXED)


def test_sums_are_those_of_integers_at_the_largest_weights() -> None:
    random = np.random.default_rng(1)
    figures = np.append(random.random((70_000, 1)), np.ones((70_000, 1)), axis=0)
    weights = np.full((len(figures), 1), HEAVIEST)
    exact = sum(round(Fraction(each) * FIXED) for each in figures.ravel().tolist()) * HEAVIEST
    assert Means.of(figures, weights).sums.item() == exact > 2**53


@pytest.mark.parametrize("largest", [1, 2**32, 2**44, 2**50])
def test_replicated_sums_are_exact_at_any_size(largest: int) -> None:
    random = np.random.default_rng(2)
    sums = random.integers(-largest, largest + 1, (900, 4))
    weights = random.integers(0, 9, (900, 3))
    expected = weights.astype(object).T @ sums.astype(object)
    np.testing.assert_array_equal(replicated(sums, weights).astype(object), expected)


def test_replicated_sums_need_a_row_of_weights_per_image() -> None:
    nothing = replicated(np.empty((0, 4), np.int64), np.empty((0, 3), np.int64))
    np.testing.assert_array_equal(nothing, np.zeros((3, 4)))
    with pytest.raises(ValueError, match="2 rows of sums, 1"):
        replicated(np.ones((2, 4), np.int64), np.ones((1, 3), np.int64))


def test_fixed_point_is_there_and_back() -> None:
    figures = np.random.default_rng(0).random(1000)
    np.testing.assert_allclose(unfixed(fixed(figures), 1), figures, rtol=0, atol=0.5 / FIXED)
    np.testing.assert_array_equal(unfixed(fixed(np.array([0.0, 1.0])), [0, 4]), [np.nan, 0.25])


def test_means_are_the_same_however_images_are_divided() -> None:
    figures, weights = sample()
    states = [Means.of(figures[i : i + 1], weights[i : i + 1]) for i in range(IMAGES)]
    whole = Means.of(figures, weights)
    for total in sums_in_any_order(states):
        np.testing.assert_array_equal(total.sums, whole.sums)
        np.testing.assert_array_equal(total.weights, whole.weights)


def test_a_figure_that_no_image_has_is_not_a_number() -> None:
    found = Means.of(np.array([[np.nan, 0.5]]), np.array([[1, 0]])).finish()
    np.testing.assert_array_equal(found, [[np.nan, 0.5], [np.nan, np.nan]])
    nothing = Means.of(np.empty((0, 2)), np.empty((0, 3), dtype=np.int64))
    assert nothing.finish().shape == (3, 2) and np.isnan(nothing.finish()).all()


def test_what_is_out_of_range_is_refused() -> None:
    one, once = np.ones((1, 1)), np.ones((1, 1), dtype=np.int64)
    for wrong in (one + 1e-9, -one, one * np.inf):
        with pytest.raises(ValueError, match=r"not in \[0, 1\]"):
            Means.of(wrong, once)
    for heavy in (-once, once * (HEAVIEST + 1)):
        with pytest.raises(ValueError, match="weights"):
            Means.of(one, heavy)
    with pytest.raises(ValueError, match="2 rows of figures, 1"):
        Means.of(np.ones((2, 1)), once)
    with pytest.raises(ValueError, match=r"\(1, 1\), \(2, 1\)"):
        Means.of(one, once) + Means.of(one, np.ones((1, 2), dtype=np.int64))


def test_weights_are_poisson_of_mean_one() -> None:
    drawn = np.stack([replicate_weights(3, f"{i}", 201)[1:] for i in range(500)])
    share = np.bincount(drawn.ravel(), minlength=8)[:8] / drawn.size
    np.testing.assert_allclose(share, poisson.pmf(np.arange(8), 1), atol=0.005)
    # neither units nor replicates know of each other
    for table in (drawn[:100], drawn.T[:100]):
        correlation = np.asarray(np.corrcoef(table))
        assert np.abs(correlation[np.triu_indices(100, 1)]).mean() < 0.07


def test_weights_depend_on_seed_and_unit_alone() -> None:
    weights = replicate_weights(0, "a", 50)
    assert weights.dtype == np.int64 and weights[0] == 1
    np.testing.assert_array_equal(replicate_weights(0, "a", 20), weights[:20])
    assert (replicate_weights(1, "a", 50) != weights).any()
    assert (replicate_weights(0, "b", 50) != weights).any()


def test_interval_covers_the_mean_as_often_as_it_says() -> None:
    random, covered = np.random.default_rng(0), 0
    for trial in range(200):
        figures = random.random((80, 1))
        weights = np.stack([replicate_weights(trial, f"{i}", 200) for i in range(80)])
        low, high = interval(Means.of(figures, weights).finish()[:, 0], level=0.9)
        covered += low <= 0.5 <= high
    assert covered / 200 == pytest.approx(0.9, abs=0.06)


def test_interval_is_that_of_the_replicates_without_the_plain_figure() -> None:
    replicates = np.append(99.0, np.random.default_rng(0).permutation(101))
    assert interval(replicates) == pytest.approx((2.5, 97.5))
    assert interval(np.append(replicates, np.nan)) == interval(replicates)
    assert all(math.isnan(end) for end in interval(np.array([1.0, np.nan])))
    assert all(math.isnan(end) for end in interval(np.array([])))
    with pytest.raises(ValueError, match="level=95"):
        interval(replicates, level=95)


def test_floats_on_the_grid_add_up_exactly() -> None:
    values = [on_grid(each) for each in np.random.default_rng(0).random(2000).tolist()]
    exact = float(sum(map(Fraction, values)))
    for total in sums_in_any_order(values):
        assert total == exact
