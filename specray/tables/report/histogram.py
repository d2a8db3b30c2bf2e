"""Histograms that add up: memory depends on the number of bins alone."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


class Histogram:
    """Counts of values between fixed edges.

    Counts are integers, so the result does not depend on the order in which values come.

    Parameters
    ----------
    edges
        (bins + 1,) rising. Values beyond the ends count in the first or last bin.

    Examples
    --------
    >>> histogram = Histogram(np.linspace(0, 1, 5))
    >>> histogram.add(np.array([0.1, 0.2, 0.9, 7.0]))
    >>> histogram.counts.tolist(), round(histogram.quantile(0.5), 3)
    ([2, 0, 0, 2], 0.25)
    """

    def __init__(self, edges: NDArray[np.float64]) -> None:
        self.edges = edges
        self.counts = np.zeros(len(edges) - 1, dtype=np.int64)

    @property
    def total(self) -> int:
        """Number of values."""
        return int(self.counts.sum())

    def add(self, values: NDArray[np.float64]) -> None:
        """Count values of any shape; those that are not finite are left out."""
        finite = np.asarray(values, dtype=np.float64)[np.isfinite(values)]
        inside = np.clip(finite, self.edges[0], self.edges[-1])
        self.counts += np.histogram(inside, self.edges)[0]

    def quantile(self, share: float) -> float:
        """The value that a share of the values stays below, to within a bin; NaN without values.

        Parameters
        ----------
        share
            In [0, 1].
        """
        if not self.total:
            return float("nan")
        below = np.concatenate([[0], np.cumsum(self.counts)])
        rank = share * self.total
        first, last = np.flatnonzero(self.counts)[[0, -1]]
        bin_ = int(np.clip(np.searchsorted(below, rank) - 1, first, last))
        left, right = self.edges[bin_ : bin_ + 2]
        return float(left + (rank - below[bin_]) / self.counts[bin_] * (right - left))

    def bars(self, most: int, whole: bool = False) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Edges and counts of at most `most` (or one more) wider bins.

        Parameters
        ----------
        most
            Number of bars to aim at.
        whole
            Keep the empty bins at both ends.
        """
        filled = np.flatnonzero(self.counts)
        first, last = (0, len(self.counts) - 1) if whole or not len(filled) else filled[[0, -1]]
        step = -(-(last + 1 - first) // most)
        first -= first % step  # the same edges for neighbouring ranges
        starts = np.arange(first, last + 1, step)
        stops = np.minimum(starts + step, len(self.counts))
        edges = np.append(self.edges[starts], self.edges[stops[-1]])
        return edges, np.add.reduceat(self.counts[: stops[-1]], starts)
