"""Affinity of every pair of patches, after Bray-Curtis over Chebyshev and its rivals (SpecUnIIS).

The released code turns a distance ``d`` into a similarity ``1 / (1 + d)``, or 0 where that is not
finite, with distances of 0 on the diagonal whatever the rows are. Nothing here holds ``N x N x D``
numbers: a CPU runs `specray.spectral.pairwise_compiled`, anything else computes rows in tiles.
"""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor

from specray.spectral.affinity import cosine_affinity, rectified_gram
from specray.spectral.pairwise_compiled import CompiledMetric, compiled_affinity

DistanceMetric = Literal[CompiledMetric, "l2"]
"""Affinities made of distances."""

Metric = Literal[DistanceMetric, "cosine", "dot"]
"""How `pairwise_affinity` compares two patches."""

WORKSPACE_BYTES = 256 * 2**20
"""What the distances of one tile of rows may take, beside the affinity itself."""

_ORDER = {"chebyshev": float("inf"), "l1": 1.0, "l2": 2.0}


def pairwise_affinity(features: Tensor, metric: Metric) -> Tensor:
    """Affinity of every pair of patches.

    =========== ===================================================================== ==========
    metric      affinity of rows u and v                                              diagonal
    =========== ===================================================================== ==========
    boc         (1 + Chebyshev) / (1 + Bray-Curtis)                                   1
    braycurtis  1 / (1 + sum abs(u - v) / sum abs(u + v))                             1
    chebyshev   1 / (1 + max abs(u - v))                                              1
    l1, l2      1 / (1 + sum abs(u - v)), 1 / (1 + Euclidean distance)                1
    cosine, dot cosine similarity (a zero row's is 0), dot product; 0 where negative  the same
    =========== ===================================================================== ==========

    Bray-Curtis divides by ``sum abs(u + v)``, not by ``sum abs(u) + abs(v)``: rows of mixed signs
    can be further apart than 1. For ``u = -v``, and for two different rows of zeros, the affinities
    "boc" and "braycurtis" are 0. "boc" is at most 1 + Chebyshev and may exceed the diagonal.

    Parameters
    ----------
    features : Tensor
        ``(B, N, D)``, finite; taken as they are and compared in float32.
    metric : {"boc", "braycurtis", "chebyshev", "l1", "l2", "cosine", "dot"}
        See above.

    Returns
    -------
    Tensor
        ``(B, N, N)`` float32, symmetric to the last bit, not negative.

    Raises
    ------
    ValueError
        If the metric is unknown, or a feature is NaN or infinite.

    References
    ----------
    Arefi et al., "Deep Spectral Improvement for Unsupervised Image Instance Segmentation", 2024.

    Examples
    --------
    >>> pairwise_affinity(torch.tensor([[[3.0, 4.0], [4.0, 3.0], [0.0, 0.0]]]), "boc")
    tensor([[[1.0000, 1.7500, 2.5000],
             [1.7500, 1.0000, 2.5000],
             [2.5000, 2.5000, 1.0000]]])
    """
    if metric not in get_args(Metric):
        raise ValueError(f"no metric is called {metric!r}")
    features = features.float()
    if not bool(features.isfinite().all()):
        raise ValueError("the features must be finite: some are NaN or infinite")
    if metric == "cosine":
        return cosine_affinity(features)
    if metric == "dot":
        longest = features.square().sum(dim=-1).amax(dim=-1)
        return rectified_gram(features).mul_(longest[:, None, None])
    if metric == "l2" or features.device.type != "cpu":
        return tiled_affinity(features, metric)
    return compiled_affinity(features, metric)


def tiled_affinity(
    features: Tensor, metric: DistanceMetric, workspace: int = WORKSPACE_BYTES
) -> Tensor:
    """`pairwise_affinity` on any device, rows in tiles.

    Parameters
    ----------
    features : Tensor
        ``(B, N, D)`` float32, finite.
    metric : {"boc", "braycurtis", "chebyshev", "l1", "l2"}
        As of `pairwise_affinity`.
    workspace : int
        Bytes that the distances of a tile may take; a tile has at least one row.

    Returns
    -------
    Tensor
        ``(B, N, N)`` float32.
    """
    batch, patches, _ = features.shape
    affinity = features.new_empty(batch, patches, patches)
    # at most three distances of a row to each of the others
    rows = max(workspace // max(3 * features.element_size() * batch * patches, 1), 1)
    for start in range(0, patches, rows):
        tile = features[:, start : start + rows]
        affinity[:, start : start + rows] = _similarity(tile, features, metric)
    affinity.diagonal(dim1=1, dim2=2).fill_(1)
    return affinity


def _similarity(rows: Tensor, others: Tensor, metric: DistanceMetric) -> Tensor:
    """``(B, R, N)`` affinities of ``(B, R, D)`` and ``(B, N, D)``, but for the diagonal."""
    if metric in _ORDER:
        return _distance(rows, others, _ORDER[metric]).add_(1).reciprocal_()
    difference, total = _distance(rows, others, 1), _distance(rows, -others, 1)
    either = difference.add_(total)  # 0 between rows of zeros alone
    similarity = total.div_(either.clamp_min_(torch.finfo(either.dtype).tiny))
    if metric == "braycurtis":
        return similarity
    return similarity.mul_(_distance(rows, others, _ORDER["chebyshev"]).add_(1))


def _distance(rows: Tensor, others: Tensor, order: float) -> Tensor:
    # Exact differences: through a matrix product equal rows would be a little apart.
    return torch.cdist(rows, others, order, compute_mode="donot_use_mm_for_euclid_dist")
