"""Eigenvectors of the foreground of one image (SpecUnIIS, instance stage).

The paper zeroes the features of the background and solves for all patches. The ``n`` background
patches are then the same to everything else, and any vector on them that adds up to 0 is an
eigenvector, of eigenvalue ``1 - 1 / d`` if they have degree ``d`` and are similar to themselves
alone: ``n - 1`` vectors without information, in the midst of those wanted. Merging the background
into one node, with the sums of its edges, leaves exactly the eigenvectors that are constant on it.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from specray.spectral.flat import flat_eigenpairs
from specray.spectral.pairwise import Metric, pairwise_affinity
from specray.spectral.signs import orient

Background = Literal["merged", "full", "dropped"]
"""What becomes of the background patches: see `foreground_eigenpairs`."""


def foreground_eigenpairs(
    features: Tensor, mask: Tensor, metric: Metric, k: int, background: Background = "merged"
) -> tuple[Tensor, Tensor]:
    """The smallest eigenpairs of the normalised Laplacian, background features set to zero.

    Parameters
    ----------
    features : Tensor
        ``(N, D)`` of one image.
    mask : Tensor
        ``(N,)`` bool, the foreground, ``F`` patches. It may hold none of them, one, or all.
    metric : Metric
        As of `pairwise_affinity`.
    k : int
        Eigenpairs wanted, the trivial one included, at least 1.
    background : {"merged", "full", "dropped"}
        "merged": one node of ``F + 1``, or of ``F`` if there is no background. "full": each patch
        is one of ``N`` nodes, as published; what the solver returns for a repeated eigenvalue is
        some basis of its space, and needs the dense solver. "dropped": ``F`` nodes, a different
        problem.

    Returns
    -------
    values : Tensor
        ``(K,)`` float32, ascending, ``K = min(k, nodes)``: none if there are no nodes.
    vectors : Tensor
        ``(K, N)`` float32, after the sign rule, D-orthonormal with the degrees of that problem. On
        the background the common value ("merged"), as solved ("full"), or 0 ("dropped").

    Raises
    ------
    ValueError
        If ``k`` is below 1, or a feature is NaN or infinite.
    """
    if background == "dropped" and not bool(mask.any()):
        empty = torch.empty(0, len(mask), device=features.device)
        return empty[:, 0], empty
    if background == "full":
        nodes = torch.arange(len(mask), device=mask.device)
        affinity = pairwise_affinity(torch.where(mask[:, None], features, 0)[None], metric)[0]
    elif background == "dropped" or bool(mask.all()):
        nodes = torch.where(mask, mask.cumsum(0) - 1, -1)
        affinity = pairwise_affinity(features[mask][None], metric)[0]
    else:
        nodes = torch.where(mask, mask.cumsum(0) - 1, mask.sum())
        affinity = merge_background(features[mask], int((~mask).sum()), metric)
    pairs = flat_eigenpairs(affinity[None], k)
    # One node more, of value 0, stands for patches that have none.
    vectors = F.pad(pairs.vectors[0], (0, 1))[:, nodes]
    return pairs.values[0], orient(vectors)


def merge_background(foreground: Tensor, patches: int, metric: Metric) -> Tensor:
    """Affinity of the foreground and of one node for all background patches.

    The node's edges are the sums of theirs, those among themselves included. If their features are
    zero, a vector that solves ``(D - W) y = lambda D y`` here is, repeated on every one of them, a
    solution for all patches, and as long in the norm of ``D``. For "boc" with rows ``v``, the edges
    are ``patches * (1 + max abs(v)) / 2`` and the node's own one is ``patches``.

    Parameters
    ----------
    foreground : Tensor
        ``(F, D)`` features.
    patches : int
        Background patches, at least 1.
    metric : Metric
        As of `pairwise_affinity`.

    Returns
    -------
    Tensor
        ``(F + 1, F + 1)`` float32, the background last.
    """
    # two patches of the background, for what it is to itself and to others of its kind
    zeros = foreground.new_zeros(2, foreground.shape[1])
    affinity = pairwise_affinity(torch.cat([foreground, zeros])[None], metric)[0]
    itself, another = affinity[-1, -1].clone(), affinity[-1, -2].clone()
    merged = affinity[:-1, :-1]
    merged[-1] *= patches
    merged[:, -1] *= patches
    merged[-1, -1] = patches * itself + patches * (patches - 1) * another
    return merged
