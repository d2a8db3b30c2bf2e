"""Eigenpairs of graphs in which everything is about equally similar to everything.

Bray-Curtis over Chebyshev makes such graphs: of the eigenvalues of ``S = D^-1/2 W D^-1/2`` the
trivial one is 1, those wanted are about 0.01 and lie 0.001 apart, and one is about -0.5 (the
foreground against a background that is not similar to itself). The block iteration, made for
eigenvalues that fill [0, 1], gives up on most of them and leaves them to the dense solver. Here it
gets another graph of the same degrees and eigenvectors, whose eigenvalues are further apart.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from specray.spectral.laplacian import ISOLATED_DEGREE
from specray.spectral.solver import Eigenpairs, laplacian_eigenpairs
from specray.spectral.subspace import block_size, start_block

_FLATTEST = 1e-6
"""A spectrum narrower than this is float32 rounding of the affinity, not to be blown up."""
_STEPS = 12
"""Power iterations, enough for an eigenvalue that is an outlier."""
_CONVERGED = 1e-8
"""Largest residual of an outlier that is moved: what it leaves behind disturbs the others."""


def flat_eigenpairs(affinity: Tensor, k: int) -> Eigenpairs:
    """As `specray.spectral.laplacian_eigenpairs`, quick and accurate on flat graphs too.

    Parameters
    ----------
    affinity : Tensor
        ``(B, N, N)`` float32, symmetric, non-negative.
    k : int
        Eigenpairs wanted, the trivial one included, at least 1.

    Returns
    -------
    Eigenpairs
        ``K = min(k, N)`` pairs.

    Raises
    ------
    ValueError
        If ``k`` is below 1 or an affinity is not finite.
    """
    patches = affinity.shape[-1]
    if patches <= 4 * block_size(max(k - 1, 1)):  # solved densely anyway
        return laplacian_eigenpairs(affinity, k)
    spread_out, spread = _spread_out(affinity, k)
    pairs = laplacian_eigenpairs(spread_out, k)
    values = pairs.values.clone()
    # only the trivial eigenvalue has stayed where it was
    values[:, 1:] = 1 - spread[:, None] * (1 - pairs.values[:, 1:].double())
    return replace(pairs, values=values, residuals=(spread * pairs.residuals).float())


def _spread_out(affinity: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Another graph of the same eigenvectors, ``(B, N, N)`` float32, and the factor ``(B,)`` from
    its eigenvalues of ``S``, without the trivial one, to those of ``affinity``."""
    rest = affinity.double()
    degree = rest.sum(dim=-1)
    root = torch.where(degree < ISOLATED_DEGREE, 0, degree).sqrt()
    trivial = root / torch.linalg.vector_norm(root, dim=-1, keepdim=True).clamp_min(_FLATTEST)
    inverse = torch.where(root > 0, 1 / root, 0)
    rest *= inverse[:, :, None]
    rest *= inverse[:, None]
    _add_pair(rest, trivial, -torch.ones_like(root[:, 0]))
    value, vector = _negative_outlier(rest)
    _add_pair(rest, vector, -value)
    size = torch.linalg.matrix_norm(rest).clamp_min(_FLATTEST)
    spread = size.clamp_max(1)
    # The squares of the others' eigenvalues add up to size² at most: k of them lie above this.
    place = -size / (affinity.shape[-1] - k - 1) ** 0.5
    _add_pair(rest, vector, torch.where(value < 0, place, 0))
    rest /= spread[:, None, None]
    _add_pair(rest, trivial, torch.ones_like(spread))
    rest *= root[:, :, None]
    rest *= root[:, None]
    return rest.float(), spread


def _negative_outlier(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """The eigenvalue of largest magnitude ``(B,)`` and its vector ``(B, N)``, if it is negative and
    stands out; else 0 and any vector."""
    batch, size, _ = matrix.shape
    vector = start_block(1, size, matrix.device).double().expand(batch, size)
    for _ in range(_STEPS):
        image = torch.bmm(matrix, vector[..., None])[..., 0]
        length = torch.linalg.vector_norm(image, dim=-1, keepdim=True)
        vector = image / length.clamp_min(torch.finfo(length.dtype).tiny)
    image = torch.bmm(matrix, vector[..., None])[..., 0]
    value = (image * vector).sum(dim=-1)
    residual = torch.linalg.vector_norm(image - value[:, None] * vector, dim=-1)
    return torch.where((value < 0) & (residual < _CONVERGED), value, 0), vector


def _add_pair(matrix: Tensor, vector: Tensor, value: Tensor) -> None:
    """Add ``value v v^T`` to ``(B, N, N)`` matrices, in place."""
    matrix.baddbmm_((value[:, None] * vector)[:, :, None], vector[:, None])
