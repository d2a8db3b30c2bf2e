"""The instance stage as the SpecUnIIS reference runs it: one image, NumPy and SciPy.

The yardstick of the benchmark, written from the method's description: a histogram for each channel
on its own, all pairs of patches in float64, and an eigensolver that factorises the dense diagonal
matrix of degrees. The clean-up of the mask and the median filter, a thousandth of its time, are
ours.
"""

from __future__ import annotations

import warnings

import numpy as np
import scipy.sparse.linalg
import torch
from numpy.typing import NDArray
from scipy.spatial.distance import pdist, squareform
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning
from torch import Tensor

from specray.masks import clean_foreground, replicated_median
from specray.pipelines.benchmark.reference import reference_eigenpairs
from specray.spectral import orient

BINS = 30
EIGENVECTORS = 5
KEEP = 3
"""Noise channel reduction keeps one channel in so many."""
EMPTY_BIN = 5.0
"""The foreground stage's entropy of a channel with an empty bin: larger than any other."""


def reference_instances(
    features: Tensor, grid: tuple[int, int], clusters: int, deviation_channels: int
) -> NDArray[np.int64]:
    """The instances of an image.

    Parameters
    ----------
    features : Tensor
        ``(N, C)`` on the CPU, as the backbone gives them.
    grid : tuple of int
        ``(h, w)`` with ``h * w == N``.
    clusters : int
        Instances, which the reference takes from the ground truth.
    deviation_channels : int
        Channels that deviation-based channel reduction keeps.

    Returns
    -------
    ndarray
        ``(h, w)``: 0 background, 1.. the instances.
    """
    points = features.float().numpy()
    mask = _foreground(points, grid)
    low = np.argsort(_entropies(points, 1e-6), kind="stable")[: points.shape[1] // KEEP]
    kept = _unit(points[:, low])
    high = np.argsort(-kept.std(axis=0, ddof=1), kind="stable")[:deviation_channels]
    vectors = _instance_eigenvectors(reference_boc(kept[:, high] * mask.reshape(-1, 1)))
    embedding = replicated_median(vectors[1:].T.reshape(*grid, -1).astype(np.float32))
    labels = np.zeros(grid, np.int64)
    with warnings.catch_warnings():
        # eigenvectors of the background alone are 0 on the foreground: points coincide
        warnings.simplefilter("ignore", ConvergenceWarning)
        labels[mask] = KMeans(clusters, n_init=10, random_state=0).fit_predict(embedding[mask]) + 1
    return labels


def reference_boc(rows: NDArray[np.float32]) -> NDArray[np.float64]:
    """``(N, N)`` similarity after Bray-Curtis over that after Chebyshev, of ``(N, D)`` rows."""
    with np.errstate(invalid="ignore", divide="ignore"):
        similar, close = (
            1 / (1 + squareform(pdist(rows.astype(np.float64), metric)))
            for metric in ("braycurtis", "chebyshev")
        )
        affinity: NDArray[np.float64] = np.nan_to_num(similar, nan=0.0) / close
    return affinity


def _foreground(points: NDArray[np.float32], grid: tuple[int, int]) -> NDArray[np.bool_]:
    unit = _unit(points)
    low = np.argsort(_entropies(unit, 0), kind="stable")[: points.shape[1] // KEEP]
    affinity = unit[:, low] @ unit[:, low].T
    affinity = affinity * (affinity > 0)
    vectors = reference_eigenpairs(affinity / affinity.max(), EIGENVECTORS)[1]
    return clean_foreground(orient(torch.from_numpy(vectors))[1].numpy().reshape(grid) > 0)


def _entropies(points: NDArray[np.float32], floor: float) -> NDArray[np.float64]:
    """``(C,)`` entropy of every channel's histogram, to which `floor` is added."""
    entropies = np.empty(points.shape[1])
    for channel in range(points.shape[1]):
        share = (np.histogram(points[:, channel], BINS)[0] + floor) / points.size
        with np.errstate(divide="ignore", invalid="ignore"):
            entropies[channel] = -np.sum(share * np.log2(share))
    return np.nan_to_num(entropies, nan=EMPTY_BIN)


def _instance_eigenvectors(affinity: NDArray[np.float64]) -> NDArray[np.float64]:
    """``(K, N)`` of the smallest eigenvalues, ascending, by the mode that needs no shift."""
    affinity = affinity * (affinity > 0)
    affinity = affinity / affinity.max()
    degree = affinity.sum(axis=1)
    degree[degree < 1e-12] = 1.0
    diagonal = np.diag(degree)
    values, vectors = scipy.sparse.linalg.eigsh(
        diagonal - affinity, k=EIGENVECTORS, which="SM", M=diagonal
    )
    ascending: NDArray[np.float64] = vectors.T[np.argsort(values)]
    return ascending


def _unit(points: NDArray[np.float32]) -> NDArray[np.float32]:
    lengths = np.linalg.norm(points, axis=1, keepdims=True)
    unit: NDArray[np.float32] = points / np.maximum(lengths, 1e-12)
    return unit
