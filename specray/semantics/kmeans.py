"""K-means over a dataset by FAISS: seeded, without silent sampling, whatever the threads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import combinations

import faiss
import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import kmeans_plusplus
from sklearn.metrics import adjusted_rand_score
from threadpoolctl import threadpool_limits

from specray.errors import UserError
from specray.seeds import derive_seed
from specray.semantics.nearest import nearest
from specray.semantics.space import chunks

SEEDING_POINTS = 3_000
"""Points among which starting centroids are drawn, or 50 per class where that is more."""

SEEDING_TRIALS = 10
"""Candidates for every starting centroid, of which the most useful is kept.

On 20 clear clusters 56 % of runs end in the best minimum, with scikit-learn's own number, 4, 12 %.
"""

AGREEMENT_POINTS = 20_000
"""Points on which the restarts are compared."""


_Run = tuple[float, NDArray[np.float32], NDArray[np.int64]]
"""Inertia, centroids (K, d) and sizes (K,) of one run."""


@dataclass(frozen=True, eq=False)
class Clustering:
    """The best of several runs of k-means.

    Parameters
    ----------
    centroids
        (K, d) float32, classes by falling size.
    sizes
        (K,) int64 points of each class, at least 1.
    inertia
        Mean squared distance of the points to their centroid.
    restarts
        Inertia of every run.
    stability
        Mean pairwise adjusted Rand index of the runs on a sample, None for a single run.
    """

    centroids: NDArray[np.float32]
    sizes: NDArray[np.int64]
    inertia: float
    restarts: tuple[float, ...]
    stability: float | None


def cluster(
    points: NDArray[np.float32],
    classes: int,
    *,
    seed: int,
    restarts: int,
    iterations: int,
    spherical: bool,
    bound: float = 1.0,
) -> Clustering:
    """Cluster points: greedy k-means++ on a sample, Lloyd's algorithm on all of them.

    The result depends on the points, their order and the seed alone, not on the number of threads.
    No copy of the points is made.

    Parameters
    ----------
    points
        (N, d) float32, contiguous; of unit length if `spherical`.
    classes
        Number of classes K.
    seed, restarts, iterations, spherical
        As in `ClusterConfig`.
    bound
        Length that no point exceeds, `Space.bound`.

    Raises
    ------
    UserError
        A point is not finite, or fewer points than classes are distinct.

    References
    ----------
    D. Arthur and S. Vassilvitskii, k-means++: The Advantages of Careful Seeding, SODA 2007.
    J. Johnson, M. Douze and H. Jegou, Billion-scale similarity search with GPUs, 2017.
    """
    _refuse_infinite(points)
    found = distinct(points, classes)
    if found < classes:
        raise UserError(
            f"{classes} classes of {found} distinct points; ask for at most --classes {found}"
        )
    rng = np.random.default_rng(derive_seed(seed, "agreement"))
    compared = rng.permutation(len(points))[:AGREEMENT_POINTS]
    starts = _starts(points, classes, seed, restarts)
    lloyd = partial(_lloyd, points, iterations=iterations, spherical=spherical, bound=bound)
    runs = _each_with_one_thread(lloyd, starts)
    labels = [nearest(points[compared], centroids, bound)[0] for _, centroids, _ in runs]
    inertia, centroids, sizes = min(runs, key=lambda run: run[0])
    agreement = [adjusted_rand_score(one, other) for one, other in combinations(labels, 2)]
    order = np.lexsort((*centroids.T[::-1], -sizes))
    return Clustering(
        centroids[order],
        sizes[order],
        inertia,
        tuple(run[0] for run in runs),
        float(np.mean(agreement)) if agreement else None,
    )


def distinct(points: NDArray[np.float32], enough: int) -> int:
    """How many points differ from each other, counted up to `enough`."""
    seen: set[bytes] = set()
    for point in points:
        if len(seen) == enough:
            break
        seen.add(point.tobytes())
    return len(seen)


def _refuse_infinite(points: NDArray[np.float32]) -> None:
    for rows in chunks(len(points), points.shape[1]):  # at once it would take a byte for each value
        if not np.isfinite(points[rows]).all():
            raise UserError("points hold NaN or infinite values and cannot be clustered")


def _starts(
    points: NDArray[np.float32], classes: int, seed: int, restarts: int
) -> list[NDArray[np.float32]]:
    """(K, d) starting centroids of every run, by greedy k-means++.

    FAISS has plain k-means++ only, which more often ends in a worse minimum.
    """
    starts = []
    # One thread: with more, the order of sums, so their last bits, would depend on their number.
    with threadpool_limits(1):
        for restart in range(restarts):
            own = derive_seed(seed, f"k-means {restart}")
            drawn = np.random.default_rng(own).permutation(len(points))
            sample = points[np.sort(drawn[: max(SEEDING_POINTS, 50 * classes)])]
            if distinct(sample, classes) < classes:
                sample = points
            start, _ = kmeans_plusplus(
                sample, classes, random_state=own % 2**32, n_local_trials=SEEDING_TRIALS
            )
            starts.append(np.ascontiguousarray(start, np.float32))
    return starts


def _each_with_one_thread(
    lloyd: Callable[[NDArray[np.float32]], _Run], starts: Sequence[NDArray[np.float32]]
) -> list[_Run]:
    """Runs of Lloyd's algorithm beside each other, as many as there are threads.

    A run with several threads waits for the slowest of them in each iteration: where others want
    the cores, too, two took six times as long as one.
    """
    together = 1 if faiss.get_num_gpus() > 0 else min(len(starts), faiss.omp_get_max_threads())
    with (
        threadpool_limits(1),
        ThreadPoolExecutor(together, initializer=faiss.omp_set_num_threads, initargs=(1,)) as pool,
    ):
        return list(pool.map(lloyd, starts))


def _lloyd(
    points: NDArray[np.float32],
    start: NDArray[np.float32],
    *,
    iterations: int,
    spherical: bool,
    bound: float,
) -> _Run:
    """Inertia, centroids and sizes at the end of one run."""
    classes, dimensions = start.shape
    kmeans = faiss.Kmeans(
        dimensions,
        classes,
        niter=iterations,
        spherical=spherical,
        # FAISS samples, or warns, outside of these two
        max_points_per_centroid=len(points),
        min_points_per_centroid=1,
        gpu=faiss.get_num_gpus() > 0,
    )
    kmeans.train(points, init_centroids=start)
    return _without_empty(points, np.asarray(kmeans.centroids, np.float32), bound)


def _without_empty(
    points: NDArray[np.float32], centroids: NDArray[np.float32], bound: float
) -> _Run:
    """Inertia, centroids and sizes, after empty classes were given the farthest points."""
    for _ in range(2 * len(centroids)):
        labels, squared, _ = nearest(points, centroids, bound)
        sizes = np.bincount(labels, minlength=len(centroids))
        if sizes.all():
            return float(squared.mean()), centroids, sizes
        centroids = centroids.copy()
        centroids[sizes.argmin()] = points[squared.argmax()]
    raise UserError(
        f"{len(centroids)} classes of points that hardly differ; ask for fewer with --classes"
    )
