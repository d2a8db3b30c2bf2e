"""The leading eigenvector of covariances, by block subspace iteration with a residual test."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor

BLOCK: Final = 8
"""Vectors that are iterated together: the gain per product is the first eigenvalue over that of
the first vector left out, not over the second one, which may be close."""
PRODUCTS: Final = 4
"""Products with the covariance per round: more would drown the weak vectors in float32 noise."""
ROUNDS: Final = 16
"""Rounds before a covariance goes to LAPACK. Those of images need 2 or 3."""
TOLERANCE: Final = 3e-6
"""Largest residual, as a share of the eigenvalue: a little above float32 noise."""
ANGLE: Final = 1e-4
"""Largest sine of the angle to the eigenvector, which is at most the residual over the distance to
the second eigenvalue (Davis and Kahan)."""
_RESOLUTION: Final = 1e-5
"""Eigenvalues of a Gram matrix of unit vectors below this are rounding."""
_TINY: Final = torch.finfo(torch.float32).tiny


def principal_directions(covariances: Tensor) -> tuple[Tensor, Tensor]:
    """Directions of the largest variance, of either sign.

    Parameters
    ----------
    covariances
        (B, C, C) float32, symmetric and positive semidefinite.

    Returns
    -------
    directions : Tensor
        (B, C) of unit length.
    dense_fallback : Tensor
        (B,) bool: the iteration did not converge, as it cannot where the two largest eigenvalues
        coincide, and LAPACK took over, in float64.
    """
    batch, channels, _ = covariances.shape
    directions = covariances.new_empty(batch, channels)
    fallback = torch.zeros(batch, dtype=torch.bool, device=covariances.device)
    active = torch.arange(batch, device=covariances.device)
    norms = torch.linalg.matrix_norm(covariances, keepdim=True)
    covariances = covariances / norms.clamp_min(_TINY)  # or their powers overflow
    start = _start(min(BLOCK, channels), channels, covariances.device)
    block = torch.bmm(start.expand(batch, -1, -1), covariances)
    for _ in range(ROUNDS):
        for _ in range(PRODUCTS - 1):
            block = torch.bmm(block, covariances)
        images = torch.bmm(block, covariances)
        values, rotation = _rayleigh_ritz(block, images)
        first = torch.bmm(rotation[:, -1:], block)[:, 0]
        error = torch.bmm(rotation[:, -1:], images)[:, 0] - values[:, -1:] * first
        second = values[:, -2] if values.shape[1] > 1 else 0
        allowed = torch.minimum(values[:, -1] * TOLERANCE, (values[:, -1] - second) * ANGLE)
        done = torch.linalg.vector_norm(error, dim=1) < allowed  # not where all are 0
        directions[active] = F.normalize(first, dim=1)
        if bool(done.all()):
            return directions, fallback
        block = torch.bmm(rotation, images)
        if bool(done.any()):
            active, covariances, block = active[~done], covariances[~done], block[~done]
    fallback[active] = True
    directions[active] = torch.linalg.eigh(covariances.double())[1][..., -1].float()
    return directions, fallback


@lru_cache(maxsize=8)
def _start(rows: int, channels: int, device: torch.device) -> Tensor:
    """(b, C) fixed pseudo-random numbers, the same on every device."""
    generator = torch.Generator().manual_seed(0)
    return torch.randn(rows, channels, generator=generator).to(device)


def _rayleigh_ritz(block: Tensor, images: Tensor) -> tuple[Tensor, Tensor]:
    """The best approximate eigenpairs in the span of the rows of a block (B, b, C).

    Returns their values (B, b), the largest last, and what makes the vectors of the block
    (B, b, b).
    """
    gram = torch.bmm(block, block.mT).double()
    scale = gram.diagonal(dim1=1, dim2=2).clamp_min(_TINY).rsqrt()
    gram, whiten = torch.linalg.eigh(gram * scale[:, None] * scale[..., None])
    whiten = scale[..., None] * whiten * gram.clamp_min(_RESOLUTION).rsqrt()[:, None]
    projected = torch.bmm(whiten.mT, torch.bmm(torch.bmm(block, images.mT).double(), whiten))
    values, rotation = torch.linalg.eigh(projected)
    return values.float(), torch.bmm(whiten, rotation).mT.float()
