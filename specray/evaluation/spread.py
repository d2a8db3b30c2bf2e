"""What a figure is over seeds: its mean and how much it varies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Spread:
    """Mean and sample standard deviation of one figure over runs that differ in their seed."""

    mean: float
    sd: float
    """With n - 1 in the denominator; NaN for a single run."""
    n: int


def spread(values: Sequence[float]) -> Spread:
    """Mean and spread of a figure; NaN without values.

    Examples
    --------
    >>> spread([1.0, 2.0, 3.0])
    Spread(mean=2.0, sd=1.0, n=3)
    """
    n = len(values)
    mean = float(np.mean(values)) if n else float("nan")
    return Spread(mean, float(np.std(values, ddof=1)) if n > 1 else float("nan"), n)
