"""The number of classes: most stable of those at the elbow of the inertia.

On data with clear clusters every mark agrees. On features of natural images they do not: stability
and silhouette are highest for two or three classes, prediction strength is above 0.8 for those
alone, and the gap to a reference without clusters widens for as long as K grows. The elbow, where
more classes cease to explain much more, is broad there, but at a useful size; stability decides
within it. An elbow depends on the range that is tried, which is why the choice names it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import adjusted_rand_score, silhouette_score

from specray.errors import UserError
from specray.seeds import derive_seed
from specray.semantics.kmeans import Clustering, cluster, distinct
from specray.semantics.nearest import nearest

CURVE_POINTS = 20_000
"""Points of which the curve is made, a seeded sample where there are more."""

SILHOUETTE_POINTS = 5_000
"""Points of which a silhouette is taken; its time grows with their square."""

SPLITS = 3
"""Random halvings by which stability is measured."""

NEAR_ELBOW = 0.95
"""Share of the elbow's height that counts as being at the elbow."""


@dataclass(frozen=True)
class CurvePoint:
    """How well a number of classes fits.

    Parameters
    ----------
    classes
        Number of classes K.
    inertia
        Mean squared distance of the points to their centroid.
    silhouette
        Mean silhouette of a sample, None with one class.
    stability, stability_sd
        Mean and standard deviation of the adjusted Rand index between the classes that the two
        halves of the points give to the same points.
    """

    classes: int
    inertia: float
    silhouette: float | None
    stability: float
    stability_sd: float


def stability_curve(
    points: NDArray[np.float32],
    classes: Iterable[int],
    *,
    seed: int,
    spherical: bool,
    bound: float = 1.0,
    progress: Callable[[str], None] = lambda line: None,
) -> list[CurvePoint]:
    """Fit every number of classes on a sample and on its halves.

    Numbers of classes that either half has too few distinct points for are left out.

    Parameters
    ----------
    points
        (N, d) float32 projected points; at most `CURVE_POINTS` of them are used.
    classes
        Numbers of classes to try, ascending.
    seed, spherical, bound
        As in `cluster`.
    progress
        Is told one line per number of classes.

    Raises
    ------
    UserError
        There are too few distinct points for any of the numbers.

    References
    ----------
    A. Ben-Hur, A. Elisseeff and I. Guyon, A stability based method for discovering structure in
    clustered data, PSB 2002. T. Lange, V. Roth, M. Braun and J. Buhmann, Stability-based validation
    of clustering solutions, Neural Computation 2004.
    """
    rng = np.random.default_rng(derive_seed(seed, "curve"))
    if len(points) > CURVE_POINTS:
        points = points[np.sort(rng.choice(len(points), CURVE_POINTS, replace=False))]
    orders = [rng.permutation(len(points)) for _ in range(SPLITS)]
    middle = len(points) // 2
    halves = [(points[order[:middle]], points[order[middle:]]) for order in orders]
    curve: list[CurvePoint] = []
    for count in classes:
        if min(distinct(half, count) for pair in halves for half in pair) < count:
            break
        whole = _fit(points, count, seed, spherical, bound)
        agreement = [
            _agreement(points, pair, count, derive_seed(seed, f"split {split}"), spherical, bound)
            for split, pair in enumerate(halves)
        ]
        curve.append(
            CurvePoint(
                count,
                whole.inertia,
                sampled_silhouette(points, whole.centroids, seed=seed, bound=bound),
                float(np.mean(agreement)),
                float(np.std(agreement, ddof=1)),
            )
        )
        progress(
            f"{count} classes: inertia {whole.inertia:.4f}, stability {curve[-1].stability:.2f}"
        )
    if not curve:
        raise UserError("too few different points to choose the number of classes; give --classes")
    return curve


FLAT = 1e-6
"""Share of the fall of the inertia that is no elbow yet, but rounding."""


def choose(curve: Sequence[CurvePoint]) -> tuple[int, str]:
    """The number of classes, and why, in one sentence.

    The elbow is where the inertia lies farthest below the line between the ends of the curve; near
    it, within `NEAR_ELBOW` of that depth, the most stable K is taken, the larger on ties.

    References
    ----------
    V. Satopaa, J. Albrecht, D. Irwin and B. Raghavan, Finding a "kneedle" in a haystack, 2011.
    """
    counts = np.array([point.classes for point in curve])
    inertia = np.array([point.inertia for point in curve])
    line = np.interp(counts, counts[[0, -1]], inertia[[0, -1]])
    depth = line - inertia
    tried = f"{counts[0]} to {counts[-1]} classes were tried"
    if depth.max() <= FLAT * np.ptp(inertia):
        best = max(curve, key=lambda point: (point.stability, point.classes))
        return best.classes, (
            f"{tried}; the inertia has no elbow; {best.classes} is found again best in halves of "
            f"the data (adjusted Rand index {best.stability:.2f})."
        )
    near = [curve[at] for at in np.flatnonzero(depth >= NEAR_ELBOW * depth.max()).tolist()]
    best = max(near, key=lambda point: (point.stability, point.classes))
    where = ", ".join(str(point.classes) for point in near)
    if len(near) == 1:
        return best.classes, f"{tried}; the inertia has its elbow at {best.classes}."
    return best.classes, (
        f"{tried}; the inertia has its elbow at {where}, of which {best.classes} is found again "
        f"best in halves of the data (adjusted Rand index {best.stability:.2f})."
    )


def sampled_silhouette(
    points: NDArray[np.float32], centroids: NDArray[np.float32], *, seed: int, bound: float = 1.0
) -> float | None:
    """Silhouette of at most `SILHOUETTE_POINTS` points, None where they are all of one class."""
    rng = np.random.default_rng(derive_seed(seed, "silhouette"))
    sample = points
    if len(points) > SILHOUETTE_POINTS:
        sample = points[np.sort(rng.choice(len(points), SILHOUETTE_POINTS, replace=False))]
    labels = nearest(sample, centroids, bound)[0]
    if not 2 <= len(np.unique(labels)) < len(sample):
        return None
    return float(silhouette_score(sample, labels))


def _fit(
    points: NDArray[np.float32], classes: int, seed: int, spherical: bool, bound: float
) -> Clustering:
    return cluster(
        points, classes, seed=seed, restarts=3, iterations=25, spherical=spherical, bound=bound
    )


def _agreement(
    points: NDArray[np.float32],
    halves: tuple[NDArray[np.float32], NDArray[np.float32]],
    classes: int,
    seed: int,
    spherical: bool,
    bound: float,
) -> float:
    fits = [
        _fit(half, classes, derive_seed(seed, str(side)), spherical, bound)
        for side, half in enumerate(halves)
    ]
    one, other = (nearest(points, half.centroids, bound)[0] for half in fits)
    return float(adjusted_rand_score(one, other))
