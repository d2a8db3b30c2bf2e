"""What pixels say about scores of patches: votes of masks, mean softmax, cross entropy.

A head that is linear commutes with bilinear interpolation: so (K, h, w) scores are interpolated to
the pixels instead of (C, h, w) features. On a CPU compiled code does this row by row.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

NONE = 255
"""Value of pixels that belong to no mask."""

Backend = Literal["compiled", "torch"]
"""None in a call takes compiled code on a CPU, else torch on the device of the scores."""


def mask_votes(scores: Tensor, masks: Tensor, count: int, backend: Backend | None = None) -> Tensor:
    """Pixels of every mask by their best class (PriMaPs section 3.2, E step).

    Parameters
    ----------
    scores
        (B, K, h, w) float32 of the patches; interpolated linearly between their centres.
    masks
        (B, H, W) uint8; `NONE` where there is no mask.
    count
        Masks per image M; ids are below it.
    backend
        See `Backend`.

    Returns
    -------
    (B, M, K) int64. A pixel whose best classes are equal counts for the first of them.
    """
    if _compiled(scores, backend):
        from specray.semantics.prototypes import pixels_compiled as compiled

        pairs = zip(_arrays(scores), masks.numpy(), strict=True)
        return torch.from_numpy(np.stack([compiled.votes(s, m, count) for s, m in pairs]))
    batch, classes = scores.shape[:2]
    best = _interpolated(scores, masks).argmax(dim=1)
    image = torch.arange(batch, device=scores.device)[:, None, None]
    cell = (image * count + masks) * classes + best
    cells = cell[masks != NONE]
    return torch.bincount(cells, minlength=batch * count * classes).view(batch, count, classes)


def softmax_sums(scores: Tensor, size: tuple[int, int], backend: Backend | None = None) -> Tensor:
    """(B, K) float64 sums over H x W pixels of the softmax of (B, K, h, w) float32 scores."""
    if _compiled(scores, backend):
        from specray.semantics.prototypes import pixels_compiled as compiled

        sums = [compiled.softmax_sums(each, *size) for each in _arrays(scores)]
        return torch.from_numpy(np.stack(sums))
    up = F.interpolate(scores, size=size, mode="bilinear", align_corners=False)
    return up.softmax(dim=1).sum(dim=(2, 3), dtype=torch.float64)


def cross_entropy(
    scores: Tensor,
    masks: Tensor,
    targets: Tensor,
    weights: Tensor,
    backend: Backend | None = None,
) -> tuple[Tensor, Tensor]:
    """Weighted cross entropy of the pixels with the class of their mask, and its gradient.

    Parameters
    ----------
    scores
        (B, K, h, w) float32 of the patches; interpolated linearly between their centres.
    masks
        (B, H, W) uint8; pixels with `NONE` have no target.
    targets
        (B, M) int64 class of every mask.
    weights
        (B, M) float32 weight of every pixel of a mask.
    backend
        See `Backend`.

    Returns
    -------
    loss
        (B,) float64 sums over the pixels.
    gradient
        (B, K, h, w) float32, with respect to the scores.
    """
    if _compiled(scores, backend):
        from specray.semantics.prototypes import pixels_compiled as compiled

        gradient = np.zeros(tuple(scores.shape), np.float32)
        loss = [
            compiled.cross_entropy(*image)
            for image in zip(
                _arrays(scores),
                masks.numpy(),
                targets.numpy(),
                weights.numpy(),
                gradient,
                strict=True,
            )
        ]
        return torch.tensor(loss, dtype=torch.float64), torch.from_numpy(gradient)
    leaf = scores.detach().requires_grad_()
    chosen = masks.long().flatten(1).clamp_max(targets.shape[1] - 1)
    valid = (masks != NONE).flatten(1)
    target = targets.gather(1, chosen)
    weight = weights.gather(1, chosen) * valid
    with torch.enable_grad():
        logits = _interpolated(leaf, masks).flatten(2)
        each = F.cross_entropy(logits, target, reduction="none") * weight
        loss_sums = each.double().sum(dim=1)
        (slope,) = torch.autograd.grad(loss_sums.sum(), leaf)
    return loss_sums.detach(), slope


def _interpolated(scores: Tensor, masks: Tensor) -> Tensor:
    size = (masks.shape[1], masks.shape[2])
    return F.interpolate(scores, size=size, mode="bilinear", align_corners=False)


def _arrays(scores: Tensor) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    return np.ascontiguousarray(scores.detach().numpy())


def _compiled(scores: Tensor, backend: Backend | None) -> bool:
    return (backend or ("compiled" if scores.device.type == "cpu" else "torch")) == "compiled"
