"""Features of a dataset to its codebook."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

import faiss
import numpy as np
import sklearn
from numpy.typing import NDArray
from scipy.sparse import csr_array

from specray.errors import UserError
from specray.semantics.choosing import CurvePoint, choose, sampled_silhouette, stability_curve
from specray.semantics.codebook import Codebook, Medoid, Quality
from specray.semantics.config import ClusterConfig
from specray.semantics.hierarchy import ward
from specray.semantics.kmeans import cluster
from specray.semantics.nearest import nearest
from specray.semantics.space import Floats, chunks, fit_space, unit_rows


def fit(
    points: Floats,
    *,
    config: ClusterConfig,
    seed: int,
    features: Mapping[str, Any],
    total: int | None = None,
    in_place: bool = False,
    medoid: Callable[[int], Medoid | None] = lambda position: None,
    progress: Callable[[str], None] = lambda line: None,
) -> Codebook:
    """Cluster features; the points, their order, the configuration and the seed decide the result.

    Memory: the points, and their projection in float32 unless it may take their place.

    Parameters
    ----------
    points
        (N, D) features of any floating type, all or a uniform sample.
    config
        How to cluster; drawing the sample of `fit_points` is up to who calls.
    seed
        Of everything random.
    features
        JSON of whatever decides the feature space (backbone, weights, source, ...). Codebooks and
        features go together only where it is equal.
    total
        Number of all points if `points` is a sample.
    in_place
        Whether `points`, if they are float32, may be changed: without PCA no copy is made then.
    medoid
        Says what the point at a position is.
    progress
        Is told lines for a person who waits.

    Raises
    ------
    UserError
        A feature is not finite, or there are fewer distinct ones than classes.
    """
    if len(points) == 0:
        raise UserError("there is no feature to cluster; were segments made with --describe?")
    space = fit_space(points, spherical=config.spherical, pca=config.pca, whiten=config.whiten)
    takes_place = in_place and config.pca is None and points.dtype == np.float32
    projected = space.project(points, points if takes_place else None)
    classes, curve, choice = _classes(projected, config, seed, space.bound, progress)
    progress(f"clustering {len(points):,} points into {classes} classes")
    clustering = cluster(
        projected,
        classes,
        seed=seed,
        restarts=config.restarts,
        iterations=config.iterations,
        spherical=config.spherical,
        bound=space.bound,
    )
    labels, squared, _ = nearest(projected, clustering.centroids, space.bound)
    quality = Quality(
        clustering.inertia,
        sampled_silhouette(projected, clustering.centroids, seed=seed, bound=space.bound),
        clustering.stability,
        clustering.restarts,
    )
    return Codebook(
        ids=np.arange(classes),
        centroids=clustering.centroids,
        means=_means(points, labels, clustering.sizes),
        sizes=clustering.sizes,
        radii=np.bincount(labels, np.sqrt(squared), classes) / clustering.sizes,
        merges=ward(clustering.centroids, clustering.sizes),
        space=space,
        medoids=tuple(medoid(position) for position in _medoids(labels, squared, classes)),
        names={},
        next_id=classes,
        points=len(points) if total is None else total,
        quality=quality,
        curve=curve,
        choice=choice,
        provenance={
            "features": json.loads(json.dumps(dict(features))),  # as read from a file
            "seed": seed,
            "config": asdict(config),
            "versions": {module.__name__: module.__version__ for module in (faiss, np, sklearn)},
        },
    )


def _classes(
    projected: NDArray[np.float32],
    config: ClusterConfig,
    seed: int,
    bound: float,
    progress: Callable[[str], None],
) -> tuple[int, tuple[CurvePoint, ...], str | None]:
    """Number of classes; the curve and the reason if it was to be chosen."""
    if config.classes != "auto":
        return config.classes, (), None
    tried = range(config.min_classes, config.max_classes + 1)
    curve = stability_curve(
        projected, tried, seed=seed, spherical=config.spherical, bound=bound, progress=progress
    )
    classes, choice = choose(curve)
    progress(choice)
    return classes, tuple(curve), choice


def _means(
    points: Floats, labels: NDArray[np.int64], sizes: NDArray[np.int64]
) -> NDArray[np.float32]:
    """(K, D) mean unit feature of each class."""
    sums = np.zeros((len(sizes), points.shape[1]))
    for rows in chunks(len(points), points.shape[1]):
        own = labels[rows]
        members = csr_array(
            (np.ones(len(own)), (own, np.arange(len(own)))), shape=(len(sizes), len(own))
        )
        sums += members @ unit_rows(points[rows])
    return (sums / sizes[:, None]).astype(np.float32)


def _medoids(labels: NDArray[np.int64], squared: NDArray[np.float64], classes: int) -> list[int]:
    """Position of the point nearest to each centroid, the first on ties."""
    order = np.lexsort((squared, labels))
    return [int(at) for at in order[np.searchsorted(labels[order], np.arange(classes))]]
