"""Semantic maps against ground truth: confusion of clusters with classes, matching and scores.

A confusion matrix is (K + 1, C) int64: pixels of each of K clusters, and in the last row those
without a prediction, by their true class. Matrices of disjoint sets of images add up to the matrix
of their union. A matching is (K,) int64: the class of each cluster, -1 for none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from specray.evaluation.sizes import check_shapes

Confusion = NDArray[np.int64]
Matching = NDArray[np.int64]


@dataclass(frozen=True)
class Scores:
    """How well matched clusters are classes, over all pixels of a set; shares are in [0, 1]."""

    miou: float
    """Mean of the classes' IoU, without those that the ground truth does not have."""
    accuracy: float
    """Pixels whose cluster is matched to their class, of all that are not ignored."""
    iou: Mapping[str, float]
    """Of each class by its name; NaN for one that the ground truth does not have."""
    matching: Mapping[int, str]
    """Cluster to class, without clusters that are matched to none."""

    @property
    def absent(self) -> tuple[str, ...]:
        """Classes that the ground truth does not have: `miou` is without them."""
        return tuple(name for name, iou in self.iou.items() if np.isnan(iou))


def confusion(
    predicted: NDArray[np.integer],
    truth: NDArray[np.integer],
    clusters: int,
    classes: int,
    ignore: int,
) -> Confusion:
    """Pixels of an image by cluster and class.

    Parameters
    ----------
    predicted
        (H, W) ids of clusters from 0 up to `clusters`; -1 where nothing is predicted. Such pixels
        are wrong, whatever the matching: they are the last row of the result.
    truth
        (H, W) classes from 0 up to `classes`, or `ignore`.
    clusters
        K, or more: an id that no pixel has changes no score.
    classes
        C.
    ignore
        The value of pixels that do not count.

    Returns
    -------
    (K + 1, C) int64.

    Raises
    ------
    ValueError
        If the sizes differ, or an id or class is out of range.

    Examples
    --------
    >>> confusion(np.array([[0, 1, 1, -1, 0]]), np.array([[1, 0, 0, 1, 255]]), 2, 2, ignore=255)
    array([[0, 1],
           [2, 0],
           [0, 1]])
    """
    check_shapes(predicted, truth)
    counted = truth != ignore
    cluster, true = (each[counted].astype(np.int64) for each in (predicted, truth))
    _check_range(cluster, -1, clusters, "clusters of the prediction")
    _check_range(true, 0, classes, "classes of the ground truth")
    row = np.where(cluster < 0, clusters, cluster)
    pairs = np.bincount(row * classes + true, minlength=(clusters + 1) * classes)
    return pairs.astype(np.int64).reshape(clusters + 1, classes)


def hungarian_by_iou(matrix: Confusion) -> Matching:
    """One-to-one matching of the largest sum of IoUs (DSM, with as many clusters as classes)."""
    return _one_to_one(matrix, _iou(matrix))


def hungarian_by_pixels(matrix: Confusion) -> Matching:
    """One-to-one matching of the most pixels (PriMaPs, STEGO, PiCIE)."""
    return _one_to_one(matrix, matrix[:-1])


def many_to_one_by_iou(matrix: Confusion) -> Matching:
    """Each cluster to the class of its largest IoU (DSM's majority, with other numbers of both)."""
    return _many_to_one(matrix, _iou(matrix))


def many_to_one_by_pixels(matrix: Confusion) -> Matching:
    """Each cluster to the class that most of its pixels have; no matching is more accurate."""
    return _many_to_one(matrix, matrix[:-1])


def score(matrix: Confusion, matching: Matching, names: Sequence[str]) -> Scores:
    """Scores of a set of images under a matching, which may come from another set.

    Parameters
    ----------
    matrix
        (K + 1, C) confusion of the set. Pixels of clusters without a class are wrong.
    matching
        (K,) classes of the clusters.
    names
        Of the C classes.
    """
    classes = matrix.shape[1]
    if len(names) != classes or len(matching) != len(matrix) - 1:
        raise ValueError(f"{len(matching)} clusters and {len(names)} names: {matrix.shape=}")
    pooled = np.zeros((classes + 1, classes), dtype=np.int64)  # the last row: of no class
    np.add.at(pooled, np.append(matching, -1), matrix)
    right, true = pooled.diagonal(), pooled.sum(axis=0)
    union = pooled[:-1].sum(axis=1) + true - right
    iou = np.where(true > 0, right / np.maximum(union, 1), np.nan)
    return Scores(
        miou=float(iou[true > 0].mean()) if true.any() else float("nan"),
        accuracy=float(right.sum() / true.sum()) if true.any() else float("nan"),
        iou=dict(zip(names, iou.tolist(), strict=True)),
        matching={cluster: names[c] for cluster, c in enumerate(matching.tolist()) if c >= 0},
    )


def _iou(matrix: Confusion) -> NDArray[np.float64]:
    """(K, C) of every cluster with every class; 0 for two that are empty."""
    both = matrix[:-1]
    union = both.sum(axis=1, keepdims=True) + matrix.sum(axis=0) - both
    iou: NDArray[np.float64] = both / np.maximum(union, 1)
    return iou


def _one_to_one(matrix: Confusion, gain: NDArray[np.generic]) -> Matching:
    found = np.full(len(matrix) - 1, -1, dtype=np.int64)
    clusters, classes = linear_sum_assignment(gain, maximize=True)
    found[clusters] = classes
    return _without_strangers(matrix, found)


def _many_to_one(matrix: Confusion, gain: NDArray[np.generic]) -> Matching:
    return _without_strangers(matrix, gain.argmax(axis=1).astype(np.int64))


def _without_strangers(matrix: Confusion, matching: Matching) -> Matching:
    """Part clusters and classes that share no pixel: an assignment pairs what is left over."""
    shared = matrix[np.arange(len(matching)), matching] > 0
    return np.where(shared, matching, -1)


def _check_range(values: NDArray[np.int64], low: int, stop: int, what: str) -> None:
    if values.size and (values.min() < low or values.max() >= stop):
        raise ValueError(f"{what}: {values.min()} to {values.max()} is not in [{low}, {stop})")
