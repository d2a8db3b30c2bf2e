"""The normalised affinity operator that the solver works on.

The generalised problem ``(D - W) x = lambda D x`` (DSM equation 2) has the same eigenvectors, up to
``x = D^-1/2 u``, as ``S = D^-1/2 W D^-1/2`` with eigenvalues ``1 - lambda``. Its trivial solution
``lambda = 0, x = constant`` is known in closed form, so it is projected out of everything.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

ISOLATED_DEGREE = 1e-12
"""Below this degree a patch counts as isolated and gets degree 1, hence eigenvalue 1."""


@dataclass(frozen=True)
class NormalizedAffinity:
    """``S = D^-1/2 W D^-1/2`` without its trivial eigenvector, for a batch of graphs.

    ``S`` is never formed: scaling the few vectors of a block is far cheaper than an ``N x N`` copy.
    """

    affinity: Tensor
    """``(B, N, N)`` float32, symmetric, non-negative: ``W``."""
    inverse_sqrt_degree: Tensor
    """``(B, N)`` float32: the diagonal of ``D^-1/2``."""
    trivial: Tensor
    """``(B, 1, N)`` float32, unit length: ``D^1/2 1``, zero on isolated patches (see below)."""
    trivial_value: Tensor
    """``(B,)`` float32: Laplacian eigenvalue of `trivial`, 0 unless every patch is isolated."""
    draft: Tensor
    """``(B, N, N)``: ``W`` in a type of fewer bytes, or ``W`` itself."""

    def apply(self, block: Tensor) -> Tensor:
        """``S`` times every row of ``block`` ``(B, b, N)``, the trivial vector removed."""
        scale = self.inverse_sqrt_degree[:, None]
        return self.deflate(torch.bmm(block * scale, self.affinity).mul_(scale))

    def apply_draft(self, block: Tensor) -> Tensor:
        """`apply` with the draft of ``W``: up to 1 % off, at a fraction of the time."""
        if self.draft is self.affinity:
            return self.apply(block)
        scale = self.inverse_sqrt_degree[:, None]
        # In this order a narrow block is quick: W is streamed as it lies in memory.
        columns = torch.bmm(self.draft, (block * scale).to(self.draft.dtype).mT)
        return self.deflate(columns.mT.contiguous() * scale)

    def deflate(self, block: Tensor) -> Tensor:
        """Remove the trivial vector from every row of ``block`` ``(B, b, N)``."""
        return torch.baddbmm(block, torch.bmm(block, self.trivial.mT), self.trivial, alpha=-1)

    def select(self, images: Tensor) -> NormalizedAffinity:
        """The graphs of some images of the batch; ``images`` are indices or a mask ``(B,)``."""
        affinity = self.affinity[images]
        return NormalizedAffinity(
            affinity,
            self.inverse_sqrt_degree[images],
            self.trivial[images],
            self.trivial_value[images],
            affinity if self.draft is self.affinity else self.draft[images],
        )

    def dense(self) -> Tensor:
        """``S`` itself, ``(B, N, N)`` float64, the trivial eigenvector included."""
        scale = self.inverse_sqrt_degree.double()
        return self.affinity.double() * scale[:, :, None] * scale[:, None, :]


def normalized_affinity(affinity: Tensor, draft: Tensor | None = None) -> NormalizedAffinity:
    """Degrees and trivial eigenvector of a batch of graphs.

    Parameters
    ----------
    affinity : Tensor
        ``(B, N, N)`` float32, symmetric, non-negative. Kept, not copied.
    draft : Tensor, optional
        ``(B, N, N)`` memory for a copy that `NormalizedAffinity.apply_draft` is to use.

    Raises
    ------
    ValueError
        If an affinity is not finite: the image's features were not.
    """
    degree = affinity.sum(dim=-1)
    if not bool(degree.isfinite().all()):
        raise ValueError("the affinity must be finite: some features are NaN or infinite")
    connected = degree >= ISOLATED_DEGREE
    degree = torch.where(connected, degree, 1.0)
    # An isolated patch (a zero row of W) is an eigenvector of its own, with eigenvalue 1; the
    # constant solution lives on the others. With nothing but isolated patches any vector will do.
    lonely = ~connected.any(dim=-1)
    support = connected | lonely[:, None]
    trivial = torch.where(support, degree, 0.0).sqrt()
    trivial = trivial / trivial.norm(dim=-1, keepdim=True)
    draft = affinity if draft is None else draft.copy_(affinity)
    return NormalizedAffinity(affinity, degree.rsqrt(), trivial[:, None], lonely.float(), draft)
