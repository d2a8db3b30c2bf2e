"""Principal directions of the features of a whole dataset, from sums that add up over shards."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Moments:
    """Count, sum and sum of outer products of rows: all that a covariance needs.

    Examples
    --------
    >>> rows = np.arange(6.0).reshape(3, 2)
    >>> (Moments.of(rows[:1]) + Moments.of(rows[1:])).total
    array([6., 9.])
    """

    count: int
    total: NDArray[np.float64]
    """(C,)."""
    outer: NDArray[np.float64]
    """(C, C)."""

    @classmethod
    def of(cls, rows: NDArray[np.floating]) -> Moments:
        """Those of (N, C) rows."""
        wide = rows.astype(np.float64)
        return cls(len(wide), wide.sum(axis=0), wide.T @ wide)

    def __add__(self, other: Moments) -> Moments:
        return Moments(self.count + other.count, self.total + other.total, self.outer + other.outer)


def principal_directions(moments: Moments, count: int) -> NDArray[np.float64]:
    """Directions of largest variance (PriMaPs section 3.1).

    The signs that the published code leaves to chance are set: the component of largest magnitude
    is positive, the first of equal ones.

    Parameters
    ----------
    moments
        Of the features, un-normalised.
    count
        How many.

    Returns
    -------
    (count, C) float64 of unit length, by falling variance.

    Raises
    ------
    ValueError
        There are fewer channels than directions.
    """
    channels = len(moments.total)
    if count > channels:
        raise ValueError(f"{count} classes need as many channels; these features have {channels}")
    mean = moments.total / moments.count
    covariance = moments.outer / moments.count - np.outer(mean, mean)
    directions = np.linalg.eigh(covariance)[1].T[::-1][:count]
    largest = np.abs(directions).argmax(axis=1)
    signs = np.sign(directions[np.arange(count), largest])
    oriented: NDArray[np.float64] = directions * signs[:, None]
    return oriented
