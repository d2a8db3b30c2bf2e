"""Feature affinity: rectified cosine similarity of patch features (DSM section 3.1).

``W = max(F F^T, 0)`` with unit-length rows ``F``. The product of ``N`` patches with
themselves is the dearest step of the room, so a CPU computes only one half of it.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor


def cosine_affinity(features: Tensor, out: Tensor | None = None) -> Tensor:
    """Non-negative cosine similarity of every pair of patches.

    Parameters
    ----------
    features : Tensor
        ``(B, N, D)``, any floating dtype. A zero row is similar to nothing, not
        even to itself.
    out : Tensor, optional
        ``(B, N, N)`` contiguous float32 to write to. Fresh memory for it costs a CPU as much time
        as the arithmetic once ``N`` is in the thousands.

    Returns
    -------
    Tensor
        ``(B, N, N)`` float32 in [0, 1], symmetric, largest entry 1 per image (0 if all rows are 0).

    Examples
    --------
    >>> cosine_affinity(torch.tensor([[[2.0, 0.0], [1.0, 1.0], [-1.0, 0.0]]])).round(decimals=3)
    tensor([[[1.0000, 0.7070, 0.0000],
             [0.7070, 1.0000, 0.0000],
             [0.0000, 0.0000, 1.0000]]])
    """
    return rectified_gram(F.normalize(features.float(), dim=-1), out)


def rectified_gram(features: Tensor, out: Tensor | None = None) -> Tensor:
    """``max(F F^T, 0)``, scaled to a largest entry of 1 per image.

    Parameters
    ----------
    features : Tensor
        ``(B, N, D)`` float32, taken as they are: rows that `resize_features` shortened stay so.
    out : Tensor, optional
        As of `cosine_affinity`.

    Returns
    -------
    Tensor
        ``(B, N, N)`` float32.
    """
    # By Cauchy-Schwarz the largest entry lies on the diagonal: no pass over N x N to find it.
    longest = features.norm(dim=-1).amax(dim=-1).clamp_min(torch.finfo(torch.float32).tiny)
    scaled = features / longest[:, None, None]
    if out is None:
        out = features.new_empty(*features.shape[:2], features.shape[1])
    if features.device.type == "cpu":
        # NumPy sees that both factors are one matrix and asks the BLAS for half of the product.
        for rows, gram in zip(scaled.numpy(force=True), out.numpy(), strict=True):
            np.matmul(rows, rows.T, out=gram)
    else:
        torch.bmm(scaled, scaled.mT, out=out)
        torch.maximum(out, out.mT.clone(), out=out)  # symmetric to the last bit
    return out.clamp_(min=0)


def resize_features(features: Tensor, grid: tuple[int, int], target: tuple[int, int]) -> Tensor:
    """Unit-length features, resampled bilinearly to another grid and not normalised again.

    As DSM does for ``image_downsample_factor``: interpolated rows come out shorter than 1, which
    makes a patch between two different things less similar to everything.

    Parameters
    ----------
    features : Tensor
        ``(B, h*w, D)``, row-major over the grid.
    grid, target : tuple of int
        ``(h, w)`` now and after.

    Returns
    -------
    Tensor
        ``(B, target[0] * target[1], D)`` float32.
    """
    unit = F.normalize(features.float(), dim=-1)
    maps = unit.mT.reshape(len(unit), -1, *grid)
    return F.interpolate(maps, target, mode="bilinear", align_corners=False).flatten(2).mT
