"""Feature affinity: rectified cosine similarity of patch features (DSM section 3.1).

``W = max(F F^T, 0)`` with unit-length rows ``F``. The product of ``N`` patches with
themselves is the dearest step of the room, so only one half of it is computed.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

_TILE = 128  # rows: small enough to stay in cache between product, rectification and mirroring


def cosine_affinity(features: Tensor) -> Tensor:
    """Non-negative cosine similarity of every pair of patches.

    Parameters
    ----------
    features : Tensor
        ``(B, N, D)``, any floating dtype. A zero row is similar to nothing, not
        even to itself.

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
    return rectified_gram(F.normalize(features.float(), dim=-1))


def rectified_gram(features: Tensor) -> Tensor:
    """``max(F F^T, 0)``, scaled to a largest entry of 1 per image.

    Parameters
    ----------
    features : Tensor
        ``(B, N, D)`` float32, taken as they are: rows that `resize_features` shortened stay so.

    Returns
    -------
    Tensor
        ``(B, N, N)`` float32.
    """
    # By Cauchy-Schwarz the largest entry lies on the diagonal: no pass over N x N to find it.
    longest = features.norm(dim=-1).amax(dim=-1).clamp_min(torch.finfo(torch.float32).tiny)
    scaled = features / longest[:, None, None]
    batch, patches, _ = features.shape
    affinity = features.new_empty(batch, patches, patches)
    for start in range(0, patches, _TILE):
        stop = start + _TILE
        # A row of tiles from the diagonal rightwards; the part below the diagonal mirrors it.
        tiles = torch.bmm(scaled[:, start:stop], scaled[:, start:].mT)
        torch.clamp_min(tiles, 0, out=affinity[:, start:stop, start:])
        affinity[:, stop:, start:stop] = affinity[:, start:stop, stop:].mT
    return affinity


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
