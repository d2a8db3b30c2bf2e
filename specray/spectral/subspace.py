"""Chebyshev-filtered block subspace iteration, for a batch of graphs at once.

Zhou et al., "Self-consistent-field calculations using Chebyshev-filtered subspace iteration", 2006,
applied to ``S = D^-1/2 W D^-1/2`` with the trivial vector projected out. One sweep solves the small
problem projected onto a block of vectors (Rayleigh-Ritz), then amplifies the wanted end of the
spectrum with a low-degree polynomial in ``S``.

Products with ``S`` are nearly all of the time, and most of them run on a draft of ``W`` in half the
bytes: those of a first, rough round on more vectors than wanted, and those that filter what the
Ritz vectors still lack. One float32 product per sweep gives exact Ritz values and the exact
residual ``||S u - theta u||`` that decides when an image is done, so a poor draft costs sweeps,
never accuracy.

Everything is a batched matrix product or an operation on ``b x b`` matrices, and no image looks at
its batch mates: each has its own filter interval and its own moment of stopping.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import torch
from torch import Tensor

from specray.spectral.laplacian import NormalizedAffinity

TOLERANCE = 1e-5
"""Largest residual of a converged image: fine enough for masks and k-means, above float32 noise."""
MAX_SWEEPS = 40
"""Sweeps before an image is given up. Real images need 1, some 2."""
DRAFT_GUARD = 12
"""Vectors in the first block beyond the wanted ones: with them the filter's gain depends on the
distance to the far end of the block, not on the gap right behind the last wanted vector."""
GUARD = 6
"""The same for the sweeps, whose exact products are dearer and start from good vectors."""
SEPARATION = 1e-6
"""Eigenvalues closer than this coincide in float32: their vectors would be a matter of rounding."""
DRAFT_DEGREE = 2
"""Degree of the first round's filter: more would not show beside the error of the draft."""
DEGREE = 3
"""Degree of a sweep's filter."""
GAIN_CAP = 1e5
"""Largest amplification per sweep: more would drown the weak wanted vectors in float32 noise."""
RESOLUTION = 1e-5
"""Eigenvalues of a Gram matrix of unit vectors below this are float32 rounding."""


@dataclass
class RitzPairs:
    """Approximate eigenpairs of ``S`` after the trivial one, largest eigenvalue first."""

    values: Tensor
    """``(B, b)`` float32."""
    vectors: Tensor
    """``(B, b, N)`` float32, orthonormal rows (shorter ones where the block has lost its rank)."""
    images: Tensor
    """``(B, b, N)`` float32: ``S`` times the vectors."""

    def separated(self, wanted: int) -> Tensor:
        """``(B,)`` bool: none of the first ``wanted`` values coincides with the next one."""
        gaps = self.values[:, :wanted] - self.values[:, 1 : wanted + 1]
        return gaps.amin(dim=-1) > SEPARATION

    def residuals(self, wanted: int) -> Tensor:
        """``(B,)``: the largest ``||S u - theta u||`` of the first ``wanted`` pairs."""
        vectors = self.vectors[:, :wanted]
        error = self.images[:, :wanted] - self.values[:, :wanted, None] * vectors
        # A vector shorter than 1 lies where the block has lost its rank: it is no eigenvector yet.
        shortfall = (torch.linalg.vector_norm(vectors, dim=-1) - 1).abs()
        norms: Tensor = torch.linalg.vector_norm(error, dim=-1) + shortfall
        return norms.amax(dim=-1)


def block_size(wanted: int) -> int:
    """Vectors that the first round carries to find ``wanted`` of them."""
    return wanted + DRAFT_GUARD


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
    values = torch.empty(batch, wanted, device=device)
    vectors = torch.empty(batch, wanted, patches, device=device)
    residuals = torch.empty(batch, device=device)
    separated = torch.empty(batch, dtype=torch.bool, device=device)

    active = torch.arange(batch, device=device)  # the graphs that `operator` and `block` hold
    block = _draft_block(operator, wanted)
    for remaining in reversed(range(MAX_SWEEPS)):
        ritz = _rayleigh_ritz(block, operator.apply(block))
        errors = ritz.residuals(wanted)
        done = errors <= TOLERANCE if remaining else torch.ones_like(errors, dtype=torch.bool)
        if bool(done.any()):
            # A graph that has converged leaves, whatever its batch mates still need.
            index = active[done]
            values[index] = ritz.values[done, :wanted]
            vectors[index] = ritz.vectors[done, :wanted]
            residuals[index] = errors[done]
            separated[index] = ritz.separated(wanted)[done]
            if bool(done.all()):
                break
            active, operator = active[~done], operator.select(~done)
            ritz = RitzPairs(ritz.values[~done], ritz.vectors[~done], ritz.images[~done])
        block = _filter(operator, ritz, DEGREE)
    return values, vectors, residuals, separated & (residuals <= TOLERANCE)


@functools.lru_cache(maxsize=16)
def start_block(rows: int, patches: int, device: torch.device) -> Tensor:
    """``(rows, patches)`` float32 of fixed pseudo-random numbers, the same on every device."""
    return torch.randn(rows, patches, generator=torch.Generator().manual_seed(0)).to(device)


def _draft_block(operator: NormalizedAffinity, wanted: int) -> Tensor:
    """``(B, wanted + GUARD, N)``: roughly the leading eigenvectors, by draft products alone."""
    batch, patches = operator.inverse_sqrt_degree.shape
    start = start_block(block_size(wanted), patches, operator.affinity.device)
    block = operator.apply_draft(start.expand(batch, -1, -1))
    ritz = _rayleigh_ritz(block, operator.apply_draft(block))
    return _filter(operator, ritz, DRAFT_DEGREE)[:, : wanted + GUARD]


def _filter(operator: NormalizedAffinity, ritz: RitzPairs, degree: int) -> Tensor:
    """Apply the Chebyshev polynomial that is small on the unwanted part of the spectrum.

    The unwanted interval ends, above, at the last Ritz value of the block. Below, it starts a
    little under 0 (affinities of images are nearly positive semidefinite), or at the lowest Ritz
    value: an eigenvalue further down would be amplified, show in the block, and be covered in the
    next sweep. Moving the start further down caps the gain of the first Ritz value.

    Every iterate is kept as ``gain * vectors + change``. Since ``S v = theta v + residual`` is
    known, only the small change is multiplied, and there the error of a draft is smaller still.
    """
    highest, lowest = ritz.values[:, 0], ritz.values[:, -1]
    upper = lowest.clamp_min(1e-4)
    cap = math.cosh(math.acosh(GAIN_CAP) / degree)
    capped = (upper * (1 + cap) - 2 * highest) / (cap - 1)
    lower = torch.minimum(torch.minimum(-upper / 8, lowest), capped)
    center = ((upper + lower) / 2)[:, None, None]
    radius = ((upper - lower) / 2)[:, None, None]

    theta = ritz.values[..., None] - center
    residual = ritz.images - ritz.values[..., None] * ritz.vectors
    previous_gain, gain = torch.ones_like(theta), theta / radius
    previous, change = torch.zeros_like(residual), residual / radius
    for _ in range(degree - 1):
        product = operator.apply_draft(change) - center * change + gain * residual
        previous, change = change, product * (2 / radius) - previous
        previous_gain, gain = gain, theta * gain * (2 / radius) - previous_gain
    return gain * ritz.vectors + change


def _rayleigh_ritz(block: Tensor, images: Tensor) -> RitzPairs:
    """The best approximate eigenpairs in the span of ``block`` ``(B, b, N)``.

    The rows need not be orthogonal: the eigenvectors of their Gram matrix are, once scaled. Where
    rows depend on each other but for rounding, the scale stops at `RESOLUTION` and leaves a vector
    shorter than 1, which `RitzPairs.residuals` counts as an error.
    """
    tiny = torch.finfo(torch.float32).tiny
    norms = torch.linalg.vector_norm(block, dim=-1, keepdim=True).clamp_min(tiny)
    block, images = block / norms, images / norms
    gram, whiten = torch.linalg.eigh(torch.bmm(block, block.mT).double())
    whiten = whiten * gram.clamp_min(RESOLUTION).rsqrt()[:, None]
    projected = whiten.mT @ torch.bmm(block, images.mT).double() @ whiten
    values, rotation = torch.linalg.eigh((projected + projected.mT) / 2)
    rotation = (whiten @ rotation).flip(-1).mT.float()
    vectors = torch.bmm(rotation, block)
    return RitzPairs(values.flip(-1).float(), vectors, torch.bmm(rotation, images))
