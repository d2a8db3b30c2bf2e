"""Smallest eigenpairs of the normalised Laplacian, for a batch of images at once.

The trivial pair is known; the others are the largest of ``S = D^-1/2 W D^-1/2``, found by the block
iteration of `specray.spectral.subspace` or, where that fails, exactly by `specray.spectral.dense`.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from specray.spectral.dense import dense_eigenpairs
from specray.spectral.laplacian import normalized_affinity
from specray.spectral.precision import draft_space
from specray.spectral.signs import orient
from specray.spectral.subspace import block_size, leading_eigenpairs, start_block

CACHE_BYTES = 8 * 2**20
"""Affinities worked on at once on a CPU: what stays in a last-level cache from one product to the
next. A larger one goes through on its own."""


@dataclass(frozen=True)
class Eigenpairs:
    """Smallest eigenpairs of ``(D - W) x = lambda D x``, one set per image."""

    values: Tensor
    """``(B, K)`` float32, ascending, in [0, 2]; the first is 0."""
    vectors: Tensor
    """``(B, K, N)`` float32, ``x_i^T D x_j = delta_ij``, after the sign rule; the first is constant
    on all patches that have a neighbour."""
    residuals: Tensor
    """``(B,)`` float32: largest ``||S u - (1 - lambda) u||`` of the image, with ``u = D^1/2 x``."""
    dense_fallback: Tensor
    """``(B,)`` bool: the dense solver took over, because the iteration missed its tolerance or the
    eigenvalues coincide, so that only exact arithmetic singles out the same vectors every time."""

    @classmethod
    def cat(cls, parts: Sequence[Eigenpairs]) -> Eigenpairs:
        """One batch of several, which all have the same ``K`` and ``N``."""
        return cls(
            values=torch.cat([part.values for part in parts]),
            vectors=torch.cat([part.vectors for part in parts]),
            residuals=torch.cat([part.residuals for part in parts]),
            dense_fallback=torch.cat([part.dense_fallback for part in parts]),
        )


def laplacian_eigenpairs(affinity: Tensor, k: int) -> Eigenpairs:
    """The ``k`` smallest eigenpairs of the normalised graph Laplacian of every image.

    Deterministic: the start block is fixed, and an image's result does not depend on the batch it
    is in (up to float32 rounding). Products must run in full float32, torch's default; with TF32
    allowed on a GPU the residuals miss the tolerance and every image would be solved densely.

    Parameters
    ----------
    affinity : Tensor
        ``(B, N, N)`` float32, symmetric, non-negative. Disconnected graphs, isolated patches and
        identical patches are all allowed: the eigenvectors of a repeated eigenvalue are then some
        basis of its space. A patch without any affinity gets degree 1 and eigenvalue 1.
    k : int
        Eigenpairs wanted, the trivial one included, at least 1. No more than ``N`` come back.

    Returns
    -------
    Eigenpairs
        ``K = min(k, N)`` pairs on the device of ``affinity``.

    Raises
    ------
    ValueError
        If ``k`` is below 1 or an affinity is not finite.

    References
    ----------
    Melas-Kyriazi et al., "Deep Spectral Methods", CVPR 2022, section 3.1.

    Examples
    --------
    Two tight pairs of patches, loosely tied:

    >>> affinity = torch.tensor([[[1., 1., .1], [1., 1., .1], [.1, .1, 1.]]])
    >>> pairs = laplacian_eigenpairs(affinity, k=2)
    >>> pairs.vectors[0, 1] > 0  # the smaller side
    tensor([False, False,  True])
    """
    if k < 1:
        raise ValueError(f"k must be at least 1, not {k}")
    batch, patches, _ = affinity.shape
    step = min(images_at_once(patches, affinity.device), max(batch, 1))
    draft = draft_space(step, patches, affinity.device)
    return Eigenpairs.cat([solve_at_once(part, k, draft) for part in affinity.split(step)])


def images_at_once(patches: int, device: torch.device) -> int:
    """Images to work on together: on a CPU as many as `CACHE_BYTES` hold, elsewhere any number.

    Parameters
    ----------
    patches : int
        ``N``, patches per image.
    device : torch.device
        Where they are worked on.
    """
    if device.type != "cpu":
        return sys.maxsize
    return max(CACHE_BYTES // max(4 * patches**2, 1), 1)


def solve_at_once(affinity: Tensor, k: int, draft: Tensor | None) -> Eigenpairs:
    """`laplacian_eigenpairs` of images that are worked on together.

    ``draft`` is `specray.spectral.precision.draft_space` for at least as many images: taken from
    the caller because fresh memory costs a CPU several times what filling it does.
    """
    operator = normalized_affinity(affinity, None if draft is None else draft[: len(affinity)])
    batch, patches, _ = affinity.shape
    wanted = max(k - 1, 1)
    fallback = torch.zeros(batch, dtype=torch.bool, device=affinity.device)
    if patches <= 4 * block_size(wanted):  # the block would be a good part of the whole space
        values, vectors, residuals = dense_eigenpairs(operator, wanted)
    else:
        values, vectors, residuals, reliable = leading_eigenpairs(operator, wanted)
        fallback = ~reliable
        if bool(fallback.any()):
            exact = dense_eigenpairs(operator.select(fallback), wanted)
            values[fallback], vectors[fallback], residuals[fallback] = exact
    values = torch.cat([operator.trivial_value[:, None], 1 - values], dim=1)[:, :k]
    vectors = torch.cat([operator.trivial, vectors], dim=1)[:, :k]
    return Eigenpairs(
        values=values.clamp(0, 2),
        vectors=orient(_fix_signs(vectors) * operator.inverse_sqrt_degree[:, None]),
        residuals=residuals,
        dense_fallback=fallback,
    )


def _fix_signs(vectors: Tensor) -> Tensor:
    """Give every vector ``(B, K, N)`` the same sign whichever solver found it.

    The sign rule leaves a vector alone whose sides are equally large. What decides then is the side
    of a fixed random hyperplane. The trivial vector is positive and stays so.
    """
    reference = start_block(1, vectors.shape[-1], vectors.device)[0]
    negative = (vectors[:, 1:] @ reference)[..., None] < 0
    return torch.cat([vectors[:, :1], torch.where(negative, -vectors[:, 1:], vectors[:, 1:])], 1)
