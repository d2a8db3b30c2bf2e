"""Mean and spread of a figure over seeds."""

from __future__ import annotations

import math
import statistics

import pytest

from specray.evaluation.spread import Spread, spread


def test_spread_is_the_sample_standard_deviation() -> None:
    values = [0.12, 0.35, 0.24, 0.19, 0.31]
    found = spread(values)
    assert found.mean == pytest.approx(statistics.mean(values))
    assert found.sd == pytest.approx(statistics.stdev(values))
    assert found.n == 5


def test_a_single_run_has_no_spread_and_none_no_mean() -> None:
    assert spread([0.5]).mean == 0.5
    assert math.isnan(spread([0.5]).sd)
    nothing = spread([])
    assert math.isnan(nothing.mean) and math.isnan(nothing.sd)
    assert nothing.n == 0


def test_a_figure_that_is_not_a_number_is_not_hidden() -> None:
    assert math.isnan(spread([0.5, float("nan")]).mean)
    assert spread([1.0, 1.0]) == Spread(mean=1.0, sd=0.0, n=2)
