"""Linear probe in closed form: ridge regression of one-hot classes on features, out of sums.

Features are rounded to integers of 17 bits with sign, about the precision of float16, so that the
sums of their products are integers: exact, whatever the order of the rows or how they are divided.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve as solve_symmetric

ONE: Final = 2**16
"""What stands for the bound of the features, and for 1."""
_ROWS: Final = 2**14
"""Of one product: few enough to lie in memory twice, and for ONE**2 * _ROWS < 2**53, so that
float64 holds each of its sums."""


@dataclass(frozen=True, eq=False)
class ProbeSums:
    """Products of features with themselves and with classes, in fixed point; 1 is the last feature.

    States of disjoint sets of rows add up to the state of their union, to the bit, up to 2**30
    rows.
    """

    gram: NDArray[np.int64]
    """(D + 1, D + 1)"""
    moment: NDArray[np.int64]
    """(D + 1, C)"""
    bound: float
    """Of the features, the same in every state."""

    def __add__(self, other: ProbeSums) -> ProbeSums:
        if (self.moment.shape, self.bound) != (other.moment.shape, other.bound):
            raise ValueError(
                f"features and classes: {self.moment.shape}, {other.moment.shape}; "
                f"bounds: {self.bound}, {other.bound}"
            )
        return ProbeSums(self.gram + other.gram, self.moment + other.moment, self.bound)

    def solve(self, ridge: float) -> NDArray[np.float64]:
        """Weights of least squares against one-hot classes.

        Parameters
        ----------
        ridge
            Factor of the squared weights, above 0; the intercept is free.

        Returns
        -------
        (D + 1, C) float64; the last row is the intercept.

        Raises
        ------
        ValueError
            If `ridge` is not above 0, or there are no rows.
        """
        if not ridge > 0 or self.gram[-1, -1] == 0:
            raise ValueError(f"{ridge=} of {self.gram[-1, -1] // ONE**2} rows has no solution")
        gram, moment = self.gram / ONE**2, self.moment / ONE
        # around the mean the intercept drops out, and with it the worst of the condition
        rows, sums = gram[-1, -1], gram[-1, :-1]
        centred = gram[:-1, :-1] - np.outer(sums, sums) / rows
        target = moment[:-1] - np.outer(sums, moment[-1]) / rows
        centred[np.diag_indices_from(centred)] += ridge / self.bound**2
        weights = solve_symmetric(centred, target, assume_a="pos")
        intercept = (moment[-1] - sums @ weights) / rows
        return np.vstack([weights / self.bound, intercept])


def probe_sums(
    features: NDArray[np.floating], labels: NDArray[np.integer], classes: int, bound: float = 1.0
) -> ProbeSums:
    """State of n rows: patches or images.

    Parameters
    ----------
    features
        (n, D), in [-bound, bound].
    labels
        (n,) classes from 0 up to `classes`. Leave out rows that do not count.
    classes
        C.
    bound
        1 for rows of length 1. A step is ``bound / 65536``: choose it no larger than needed.

    Raises
    ------
    ValueError
        If a feature is out of bounds or not a number, a label is out of range, or there is not one
        per row.

    References
    ----------
    A. Hoerl and R. Kennard, Ridge regression: biased estimation for nonorthogonal problems,
    Technometrics 1970.

    Examples
    --------
    >>> features, labels = np.array([[0.9], [1.0], [-1.0]]), np.array([1, 1, 0])
    >>> weights = probe_sums(features, labels, classes=2).solve(ridge=1e-3)
    >>> classify(features, weights)
    array([1, 1, 0])
    """
    if len(features) != len(labels):
        raise ValueError(f"{len(features)} rows of features, {len(labels)} labels")
    if labels.size and not (labels.min() >= 0 and labels.max() < classes):
        raise ValueError(f"labels {labels.min()} to {labels.max()} are not in [0, {classes})")
    if features.size and not (-bound <= features.min() and features.max() <= bound):
        raise ValueError(f"features {features.min()} to {features.max()} exceed {bound}")
    size = features.shape[1] + 1
    gram = np.zeros((size, size), dtype=np.int64)
    moment = np.zeros((size, classes), dtype=np.int64)
    for start in range(0, len(features), _ROWS):
        part, true = features[start : start + _ROWS], labels[start : start + _ROWS]
        fixed = np.full((len(part), size), ONE, dtype=np.float64)
        fixed[:, :-1] = np.rint(part.astype(np.float64) * (ONE / bound))
        gram += (fixed.T @ fixed).astype(np.int64)
        moment += (fixed.T @ np.eye(classes)[true]).astype(np.int64)
    return ProbeSums(gram, moment, bound)


def classify(features: NDArray[np.floating], weights: NDArray[np.float64]) -> NDArray[np.int64]:
    """Classes by a linear probe; the answer of a row does not depend on the rows beside it.

    Features are rounded against the largest of their row, weights against the largest of all, to
    at least 16 and 24 bits.

    Parameters
    ----------
    features
        (n, D), D up to 4095.
    weights
        (D + 1, C) of `ProbeSums.solve`.

    Returns
    -------
    (n,) int64; the first of equal ones.
    """
    # BLAS adds up floats in another order for another number of rows; integers do not mind
    channels = features.shape[1]
    bits = 28 - channels.bit_length()  # the sum of D products of bits + 24 stays below 2**53
    rows, row_scale = _rounded(features, bits, axis=1)
    columns, column_scale = _rounded(weights[:-1], 24, axis=None)
    scores = rows @ columns * (row_scale * column_scale) + weights[-1]
    best: NDArray[np.int64] = scores.argmax(axis=1)
    return best


def _rounded(
    values: NDArray[np.floating], bits: int, axis: int | None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Integers up to ``2**bits``, as floats, and what a step of theirs is worth."""
    exact = values.astype(np.float64)
    largest = np.abs(exact).max(axis=axis, keepdims=True, initial=0.0)
    scale = np.where(largest > 0, largest, 1.0) / 2**bits
    return np.rint(exact / scale), scale
