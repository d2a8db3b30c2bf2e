"""Chebyshev-filtered block subspace iteration, for a batch of graphs at once.

Zhou et al., "Self-consistent-field calculations using Chebyshev-filtered subspace iteration", 2006,
applied to ``S = D^-1/2 W D^-1/2`` with the trivial vector projected out. One sweep amplifies the
wanted end of the spectrum with a low-degree polynomial in ``S``, makes the block orthonormal and
solves the small projected problem (Rayleigh-Ritz). The residual ``||S u - theta u||`` of every
image decides when that image is done.

Everything is a batched matrix product or an operation on ``b x b`` matrices, and no image looks at
its batch mates: each has its own filter interval and its own moment of stopping.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from specray.spectral.laplacian import NormalizedAffinity

TOLERANCE = 1e-5
"""Largest residual of a converged image: fine enough for masks and k-means, above float32 noise."""
MAX_SWEEPS = 40
"""Sweeps before an image is given up. Real images need 2 or 3."""
GUARD = 12
"""Vectors in the block beyond the wanted ones: with them the filter's gain depends on the distance
to the far end of the block, not on the gap right behind the last wanted vector."""
SEPARATION = 1e-6
"""Eigenvalues closer than this coincide in float32: their vectors would be a matter of rounding."""
DEGREE = 3
"""Products with ``S`` per sweep."""
GAIN_CAP = 1e5
"""Largest amplification per sweep: more would drown the weak wanted vectors in float32 noise."""


@dataclass
class RitzPairs:
    """Approximate eigenpairs of ``S`` after the trivial one, largest eigenvalue first."""

    values: Tensor
    """``(B, b)`` float32."""
    vectors: Tensor
    """``(B, b, N)`` float32, orthonormal rows."""
    images: Tensor
    """``(B, b, N)`` float32: ``S`` times the vectors."""

    def separated(self, wanted: int) -> Tensor:
        """``(B,)`` bool: none of the first ``wanted`` values coincides with the next one."""
        gaps = self.values[:, :wanted] - self.values[:, 1 : wanted + 1]
        return gaps.amin(dim=-1) > SEPARATION

    def residuals(self, wanted: int) -> Tensor:
        """``(B,)``: the largest ``||S u - theta u||`` of the first ``wanted`` pairs."""
        error = self.images[:, :wanted] - self.values[:, :wanted, None] * self.vectors[:, :wanted]
        norms: Tensor = torch.linalg.vector_norm(error, dim=-1)
        return norms.amax(dim=-1)


def block_size(wanted: int) -> int:
    """Vectors that the iteration carries to find ``wanted`` of them."""
    return wanted + GUARD


def leading_eigenpairs(
    operator: NormalizedAffinity, wanted: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The algebraically largest eigenpairs of the deflated ``S``.

    Parameters
    ----------
    operator : NormalizedAffinity
        ``B`` graphs of ``N`` patches, ``N`` at least `block_size`.
    wanted : int
        Pairs per graph.

    Returns
    -------
    values, vectors, residuals : Tensor
        ``(B, wanted)`` descending, ``(B, wanted, N)`` orthonormal rows, ``(B,)``: all float32.
    reliable : Tensor
        ``(B,)`` bool: false for a graph that did not reach `TOLERANCE` within `MAX_SWEEPS`, or
        whose eigenvalues coincide.
    """
    batch, patches = operator.inverse_sqrt_degree.shape
    device = operator.affinity.device
    values = torch.zeros(batch, wanted, device=device)
    vectors = torch.zeros(batch, wanted, patches, device=device)
    residuals = torch.full((batch,), torch.inf, device=device)
    separated = torch.zeros(batch, dtype=torch.bool, device=device)

    active = torch.arange(batch, device=device)  # the graphs that `operator` and `ritz` hold
    start = start_block(block_size(wanted), patches, device)
    ritz = _rayleigh_ritz(operator, start.expand(batch, -1, -1))
    for _ in range(MAX_SWEEPS):
        ritz = _rayleigh_ritz(operator, _filter(operator, ritz))
        # A graph that has converged is frozen, whatever its batch mates still need.
        fresh = residuals[active] > TOLERANCE
        index = active[fresh]
        values[index] = ritz.values[fresh, :wanted]
        vectors[index] = ritz.vectors[fresh, :wanted]
        residuals[index] = ritz.residuals(wanted)[fresh]
        separated[index] = ritz.separated(wanted)[fresh]
        open_ = residuals[active] > TOLERANCE
        remaining = int(open_.sum())
        if remaining == 0:
            break
        if 2 * remaining <= len(active):  # copying the affinities pays only for a smaller half
            active, operator = active[open_], operator.select(open_)
            ritz = RitzPairs(ritz.values[open_], ritz.vectors[open_], ritz.images[open_])
    return values, vectors, residuals, separated & (residuals <= TOLERANCE)


def start_block(rows: int, patches: int, device: torch.device) -> Tensor:
    """``(rows, patches)`` float32 of fixed pseudo-random numbers, the same on every device."""
    return torch.randn(rows, patches, generator=torch.Generator().manual_seed(0)).to(device)


def _filter(operator: NormalizedAffinity, ritz: RitzPairs) -> Tensor:
    """Apply the Chebyshev polynomial that is small on the unwanted part of the spectrum.

    The unwanted interval ends, above, at the last Ritz value of the block. Below, it starts at
    minus half of that (affinities of images are nearly positive semidefinite), or at the lowest
    Ritz value: an eigenvalue further down would be amplified, show in the block, and be covered in
    the next sweep. Moving the start further down caps the gain of the first Ritz value.
    """
    highest, lowest = ritz.values[:, 0], ritz.values[:, -1]
    upper = lowest.clamp_min(1e-4)
    cap = math.cosh(math.acosh(GAIN_CAP) / DEGREE)
    capped = (upper * (1 + cap) - 2 * highest) / (cap - 1)
    lower = torch.minimum(torch.minimum(-upper / 2, lowest), capped)
    center = ((upper + lower) / 2)[:, None, None]
    radius = ((upper - lower) / 2)[:, None, None]

    previous, current = ritz.vectors, (ritz.images - center * ritz.vectors) / radius
    for _ in range(DEGREE - 1):
        following = (operator.apply(current) - center * current) * (2 / radius) - previous
        previous, current = current, following
    return current


def _rayleigh_ritz(operator: NormalizedAffinity, block: Tensor) -> RitzPairs:
    """The best approximate eigenpairs in the span of ``block`` ``(B, b, N)``."""
    basis = orthonormalize(operator, block)
    images = operator.apply(basis)
    projected = basis.double() @ images.double().mT
    values, rotation = torch.linalg.eigh((projected + projected.mT) / 2)
    rotation = rotation.flip(-1).mT.float()
    return RitzPairs(values.flip(-1).float(), rotation @ basis, rotation @ images)


def orthonormalize(operator: NormalizedAffinity, block: Tensor) -> Tensor:
    """Orthonormal rows with the span of ``block``, orthogonal to the trivial vector.

    Cholesky-QR, twice, in float64: a few products and a ``b x b`` factorisation, where a batched
    Householder QR is slow on a GPU. The shift keeps the factorisation defined for a block without
    full rank (Fukaya et al., "Shifted Cholesky QR", 2020).
    """
    tiny = torch.finfo(torch.float32).tiny
    rows = block.double()
    shift = 1e-12 * torch.eye(block.shape[1], dtype=rows.dtype, device=rows.device)
    for _ in range(2):
        rows = operator.deflate(rows)
        rows = rows / rows.norm(dim=-1, keepdim=True).clamp_min(tiny)
        factor = torch.linalg.cholesky(rows @ rows.mT + shift)
        rows = torch.linalg.solve_triangular(factor, rows, upper=False)
    return rows.float()
