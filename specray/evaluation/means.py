"""Means over images, exact in whatever order they are added up, and how sure they are.

Figures are kept in fixed point: sums of integers do not depend on their order, those of floats do.
The error of a figure is below 2**-33, of a mean no more.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from specray.seeds import derive_seed, mixed

FIXED: Final = 2**32
"""What stands for 1."""
HEAVIEST: Final = 31
"""The largest weight; Poisson(1) draws a larger one in 1e-35 of the cases."""
_POISSON: Final = np.cumsum([math.exp(-1) / math.factorial(k) for k in range(20)])


def fixed(figures: NDArray[np.float64]) -> NDArray[np.int64]:
    """Figures in [0, 1] in fixed point: integers from 0 to `FIXED`, to the nearest.

    Raises
    ------
    ValueError
        If a figure is outside [0, 1] or not a number.
    """
    if figures.size and not (figures.min() >= 0 and figures.max() <= 1):
        raise ValueError(f"figures from {figures.min()} to {figures.max()} are not in [0, 1]")
    return np.rint(figures * FIXED).astype(np.int64)


def unfixed(sums: NDArray[np.int64], weights: ArrayLike) -> NDArray[np.float64]:
    """Means out of sums of `fixed` figures and of their weights, which broadcast; NaN without any.

    Examples
    --------
    >>> unfixed(fixed(np.array([0.5, 1.0])), 2)
    array([0.25, 0.5 ])
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        means: NDArray[np.float64] = sums / np.asarray(weights) / FIXED
    return means


def on_grid(figure: float) -> float:
    """Figure in [0, 1] to the nearest multiple of ``1 / FIXED``.

    Floats on this grid add up exactly, in any order, as long as their sum is below 2**21.

    Examples
    --------
    >>> on_grid(0.75), on_grid(0.1) == 0.1
    (0.75, False)
    """
    return round(figure * FIXED) / FIXED


def replicate_weights(seed: int, unit: str, replicates: int) -> NDArray[np.int64]:
    """How often a unit is drawn in each replicate: Poisson bootstrap.

    A unit's weights depend on nothing but its name, so that no worker has to know of the others'
    units. The weights of fewer replicates are the first of those of more.

    Parameters
    ----------
    seed
        Of the run.
    unit
        What is drawn as a whole: the key of an image, or the name of the video of a frame.
    replicates
        R.

    Returns
    -------
    (R,) int64, the first 1: the plain figure. The others are independent Poisson(1).

    References
    ----------
    J. Hanley and B. MacGibbon, Creating non-parametric bootstrap samples using Poisson frequencies,
    Computer Methods and Programs in Biomedicine 2006. N. Chamandy et al., Estimating uncertainty
    for massive data streams, Google 2012.

    Examples
    --------
    >>> replicate_weights(0, "cat.jpg", 6)
    array([1, 1, 1, 0, 1, 0])
    """
    # numpy's generators may draw other numbers in another version; these stay
    start = np.array([derive_seed(seed, unit)], dtype=np.uint64)
    uniform = (mixed(start, np.arange(replicates)) >> np.uint64(11)) * 2.0**-53
    weights = np.searchsorted(_POISSON, uniform, side="right").astype(np.int64)
    weights[:1] = 1
    return weights


def replicated(sums: NDArray[np.int64], weights: NDArray[np.int64]) -> NDArray[np.int64]:
    """Sums over images in every replicate, exact: whatever their order, the same integers.

    Parameters
    ----------
    sums
        (n, V) integers of n images: figures in `fixed` point, counts, confusions.
    weights
        (n, R), rows of `replicate_weights`.

    Returns
    -------
    (R, V) int64.

    Raises
    ------
    ValueError
        If there is not a row of weights per image.

    Examples
    --------
    >>> replicated(np.array([[1, 10], [2, 20]]), np.array([[1, 0], [1, 3]]))
    array([[ 3, 30],
           [ 6, 60]])
    """
    if len(sums) != len(weights):
        raise ValueError(f"{len(sums)} rows of sums, {len(weights)} of weights")
    # BLAS knows floats alone, but integers below 2**53 are exact there, sums of them too
    rows = 2**53 // (_largest(sums) * _largest(weights))
    if rows == 0:
        return weights.T @ sums  # slow, and exact at any size
    total = np.zeros((weights.shape[1], sums.shape[1]), dtype=np.int64)
    for start in range(0, len(sums), rows):
        these = slice(start, start + rows)
        part = weights[these].T.astype(np.float64) @ sums[these].astype(np.float64)
        total += part.astype(np.int64)
    return total


def _largest(values: NDArray[np.int64]) -> int:
    """The largest distance from 0, at least 1."""
    return max(int(values.max()), -int(values.min()), 1) if values.size else 1


@dataclass(frozen=True, eq=False)
class Means:
    """Weighted sums of F figures of images, in R replicates.

    States of disjoint sets of images add up to the state of their union, to the bit, up to a total
    weight of 2**31.
    """

    sums: NDArray[np.int64]
    """(R, F) of weight times figure, in fixed point."""
    weights: NDArray[np.int64]
    """(R, F) of the images that have the figure."""

    def __add__(self, other: Means) -> Means:
        if self.sums.shape != other.sums.shape:  # numpy would repeat the smaller one
            raise ValueError(f"replicates and figures: {self.sums.shape}, {other.sums.shape}")
        return Means(self.sums + other.sums, self.weights + other.weights)

    @staticmethod
    def of(figures: NDArray[np.float64], weights: NDArray[np.int64]) -> Means:
        """State of n images; n may be 0.

        Parameters
        ----------
        figures
            (n, F) in [0, 1]; NaN where an image lacks a figure.
        weights
            (n, R) in [0, `HEAVIEST`]; rows of `replicate_weights`, or ones.

        Raises
        ------
        ValueError
            If a figure or weight is out of range, or there is not a row of weights per image.
        """
        if len(figures) != len(weights):
            raise ValueError(f"{len(figures)} rows of figures, {len(weights)} of weights")
        if weights.size and not (weights.min() >= 0 and weights.max() <= HEAVIEST):
            raise ValueError(f"weights from {weights.min()} to {weights.max()}")
        present = ~np.isnan(figures)
        sums = replicated(fixed(np.where(present, figures, 0.0)), weights)
        return Means(sums, replicated(present.astype(np.int64), weights))

    def finish(self) -> NDArray[np.float64]:
        """(R, F) means; NaN where no image has the figure."""
        return unfixed(self.sums, self.weights)


def interval(replicates: NDArray[np.float64], level: float = 0.95) -> tuple[float, float]:
    """Percentile interval of a figure out of its replicates.

    Parameters
    ----------
    replicates
        (R,) of one figure. The first, the plain figure, is left out, and so are NaN.
    level
        Share of the replicates within, in (0, 1).

    Returns
    -------
    Its ends; NaN without replicates.

    Raises
    ------
    ValueError
        If `level` is out of range.

    Examples
    --------
    >>> interval(np.array([9.0, 0, 1, 2, 3, 4, np.nan]), level=0.5)
    (1.0, 3.0)
    """
    if not 0 < level < 1:
        raise ValueError(f"{level=} is not in (0, 1)")
    drawn = replicates[1:][~np.isnan(replicates[1:])]
    if drawn.size == 0:
        return float("nan"), float("nan")
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
