"""The space in which features are clustered: unit length, principal components, unit length again.

Products are taken of numbers rounded to 24 bits below a known bound, so that float64 holds every
sum exactly: a point is projected to the same bits alone, in any batch and with any number of
threads.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from specray.errors import UserError

Floats = NDArray[np.floating]

_QUANTA = 2.0**24
_ELEMENTS = 2**22  # of a chunk: 32 MB of float64


@dataclass(frozen=True, eq=False)
class Space:
    """From features (N, D) to the points (N, d) that are clustered.

    Parameters
    ----------
    dimensions
        D of the features.
    spherical
        Whether projected points are brought to length 1 again.
    mean
        (D,) mean of the unit features, None without PCA.
    components
        (d, D) orthonormal principal directions, None without PCA.
    scale
        (d,) factor of each component, None unless whitened.
    """

    dimensions: int
    spherical: bool = True
    mean: NDArray[np.float32] | None = None
    components: NDArray[np.float32] | None = None
    scale: NDArray[np.float32] | None = None

    @property
    def projected(self) -> int:
        """Dimensions d of projected points."""
        return self.dimensions if self.components is None else len(self.components)

    @property
    def bound(self) -> float:
        """Length that no projected point exceeds."""
        if self.components is None or self.spherical:
            return 1.0
        return 2.0 if self.scale is None else 2.0 * float(self.scale.max())

    def project(
        self, points: Floats, out: NDArray[np.float32] | None = None
    ) -> NDArray[np.float32]:
        """Points of the space; rows of zeros stay zero where there is no PCA.

        Parameters
        ----------
        points
            (N, D) features of any floating type.
        out
            (N, d) where they go; it may be `points` itself. Absent = a new array.

        Returns
        -------
        (N, d) float32, contiguous. A row depends on its own feature alone, bit for bit.

        Raises
        ------
        UserError
            A feature is not finite or has another dimension.
        """
        if points.ndim != 2 or points.shape[1] != self.dimensions:
            raise UserError(
                f"features of shape {points.shape} do not fit {self.dimensions} dimensions"
            )
        if out is None:
            out = np.empty((len(points), self.projected), np.float32)
        for rows in chunks(len(points), self.dimensions):
            out[rows] = self._project(unit_rows(points[rows]))
        return out

    def _project(self, unit: NDArray[np.float64]) -> NDArray[np.float64]:
        if self.components is None or self.mean is None:
            return unit
        directions = fixed_point(self.components, 1.0).T
        centre = fixed_point(self.mean[None], 1.0) @ directions
        projected = (fixed_point(unit, 1.0) @ directions - centre) / _QUANTA**2
        if self.scale is not None:
            projected *= self.scale
        return _normalised(projected) if self.spherical else projected


def fit_space(
    points: Floats, *, spherical: bool = True, pca: int | None = None, whiten: bool = False
) -> Space:
    """The space for these features: exact principal components where they are asked for.

    Parameters
    ----------
    points
        (N, D) features of any floating type.
    spherical, pca, whiten
        As in `ClusterConfig`.

    Raises
    ------
    UserError
        More components than the features have, or with `whiten` than they vary in.
    """
    count, dimensions = points.shape
    if pca is None:
        return Space(dimensions, spherical)
    if pca > min(count - 1, dimensions):
        raise UserError(
            f"--pca {pca} asks for more than {count:,} points of {dimensions} dimensions have; "
            f"give at most {min(count - 1, dimensions)}"
        )
    # One thread: with more, the order of sums, so their last bits, would depend on their number.
    with threadpool_limits(1):
        mean, covariance = _moments(points)
        variances, vectors = np.linalg.eigh(covariance)
    variances, vectors = variances[::-1][:pca], vectors[:, ::-1][:, :pca].T
    largest = np.abs(vectors).argmax(axis=1)
    vectors *= np.where(vectors[np.arange(pca), largest] < 0, -1, 1)[:, None]
    scale = None
    if whiten:
        varied = int((variances > 1e-9 * max(variances[0], 1e-9)).sum())
        if varied < pca:
            raise UserError(f"--whiten: the features vary in {varied} directions; lower --pca")
        scale = (1 / np.sqrt(variances)).astype(np.float32)
    components = np.ascontiguousarray(vectors, np.float32)
    return Space(dimensions, spherical, mean.astype(np.float32), components, scale)


def unit_rows(points: Floats) -> NDArray[np.float64]:
    """Rows at length 1; zero rows stay zero.

    Raises
    ------
    UserError
        A value is NaN or infinite.
    """
    rows = np.ascontiguousarray(points, np.float64)
    if not np.isfinite(rows).all():
        raise UserError("features hold NaN or infinite values; find out which images they are from")
    return _normalised(rows)


def chunks(count: int, width: int) -> Iterator[slice]:
    """Slices of `count` rows whose temporary arrays of `width` columns stay small."""
    step = max(1, _ELEMENTS // max(width, 1))
    return (slice(start, min(start + step, count)) for start in range(0, count, step))


def fixed_point(values: Floats, bound: float) -> NDArray[np.float64]:
    """Values as whole multiples of ``bound / 2**24``.

    Inner products of rows no longer than `bound` are then exact in float64 in whatever order
    they are summed, for their partial sums stay below 2**50.
    """
    return np.rint(values * np.float64(_QUANTA / bound))


def _normalised(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    lengths = np.sqrt(np.square(rows).sum(axis=1, keepdims=True))
    return rows / np.where(lengths > 0, lengths, 1)


def _moments(points: Floats) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    count, dimensions = points.shape
    mean, scatter = np.zeros(dimensions), np.zeros((dimensions, dimensions))
    for rows in chunks(count, dimensions):
        mean += unit_rows(points[rows]).sum(axis=0) / count
    for rows in chunks(count, dimensions):
        centred = unit_rows(points[rows]) - mean
        scatter += centred.T @ centred
    return mean, scatter / (count - 1)
