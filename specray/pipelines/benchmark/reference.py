"""The eigen-solve as the Deep Spectral Methods reference runs it: one image, SciPy's ARPACK.

The yardstick of the benchmark, written from the method's description: dense float32 matrices,
shift-invert around 0, and the slower mode when the factorisation meets an exact zero.
"""

from __future__ import annotations

import numpy as np
import scipy.linalg
import scipy.sparse.linalg
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor


def reference_affinity(features: Tensor) -> NDArray[np.float32]:
    """``(N, N)`` rectified cosine affinity of one image's ``(N, D)`` features."""
    unit = F.normalize(features.float(), dim=-1)
    affinity = unit @ unit.T
    affinity = affinity * (affinity > 0)
    result: NDArray[np.float32] = (affinity / affinity.max()).numpy()
    return result


def reference_eigenpairs(
    affinity: NDArray[np.float32], k: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The ``k`` smallest solutions of ``(D - W) x = lambda D x`` by `scipy.sparse.linalg.eigsh`.

    Parameters
    ----------
    affinity : ndarray
        ``(N, N)`` float32.
    k : int
        Eigenpairs, the trivial one included.

    Returns
    -------
    values, vectors : ndarray
        ``(k,)`` ascending and ``(k, N)``.
    """
    degree = affinity.sum(axis=1)
    degree[degree < 1e-12] = 1.0
    diagonal = np.diag(degree)
    laplacian = diagonal - affinity
    try:
        values, vectors = scipy.sparse.linalg.eigsh(laplacian, k=k, sigma=0, which="LM", M=diagonal)
    except (RuntimeError, ValueError):  # an exact zero pivot
        values, vectors = scipy.sparse.linalg.eigsh(laplacian, k=k, which="SM", M=diagonal)
    return values, vectors.T.astype(np.float32)


def exact_eigenpairs(
    affinity: NDArray[np.float32], k: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The same problem, solved densely in float64 by LAPACK: the truth to compare with.

    Returns
    -------
    values, vectors : ndarray
        ``(k,)`` ascending and ``(k, N)``, ``D``-normalised.
    """
    weights = affinity.astype(np.float64)
    degree = weights.sum(axis=1)
    degree[degree < 1e-12] = 1.0
    scale = 1 / np.sqrt(degree)
    values, vectors = scipy.linalg.eigh(
        np.eye(len(weights)) - scale[:, None] * weights * scale, subset_by_index=[0, k - 1]
    )
    return values, (scale[:, None] * vectors).T
