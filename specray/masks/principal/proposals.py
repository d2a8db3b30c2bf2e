"""Principal mask proposals on the grid of the features (Hahn et al., TMLR 2024, section 3.1)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor

from specray.masks.config import PrincipalConfig
from specray.masks.principal.direction import principal_directions

COVERED: Final = 0.95
"""Share of the cells after which no further mask is taken."""


@dataclass(frozen=True)
class Proposals:
    """Masks of a batch of images, each a set of cells whose features point the same way."""

    labels: Tensor
    """(B, N) int64: 0 is the first mask that was taken; cells of no mask have -1."""
    scores: Tensor
    """(B, M) float32 in [0, 1]: mean cosine of a mask's cells to its anchor; 0 where an image has
    no such mask."""
    capped: Tensor
    """(B,) bool: more would have followed."""
    dense_fallbacks: Tensor
    """(B,) int64: masks whose direction LAPACK had to find."""


def principal_masks(features: Tensor, config: PrincipalConfig) -> Proposals:
    """Take masks from images until `COVERED` of their cells belong to one.

    The cell that is most alike, up to sign, to the first principal component of the free cells is
    the anchor of a mask; the free cells whose cosine to it reaches the threshold are the mask, and
    free no more. An image's masks are disjoint, and its result does not depend on its company.

    The sign of a principal component is arbitrary. As published, it decides the anchor; here
    either sign gives the same.

    Parameters
    ----------
    features
        (B, N, C), finite. Their scale does not matter, nor does a rotation of the channels.
    config
        Threshold and largest number of masks.

    Returns
    -------
    Proposals, on the device of the features.
    """
    features = features.float()
    if features.device.type != "cpu":
        return _taken(features, config)
    # together they are no faster on a CPU, and alone no bit depends on the company
    singles = [_taken(image[None], config) for image in features]
    most = max(single.scores.shape[1] for single in singles)
    return Proposals(
        torch.cat([single.labels for single in singles]),
        torch.cat([F.pad(s.scores, (0, most - s.scores.shape[1])) for s in singles]),
        torch.cat([single.capped for single in singles]),
        torch.cat([single.dense_fallbacks for single in singles]),
    )


def _taken(features: Tensor, config: PrincipalConfig) -> Proposals:
    batch, cells, _ = features.shape
    device = features.device
    largest = features.abs().amax(dim=(1, 2), keepdim=True)
    features = features / largest.clamp_min(torch.finfo(torch.float32).tiny)  # or squares overflow
    units = F.normalize(features, dim=2)
    features = features - features.mean(dim=1, keepdim=True)  # or covariances would cancel
    labels = torch.full((batch, cells), -1, device=device)
    fallbacks = torch.zeros(batch, dtype=torch.int64, device=device)
    scores: list[Tensor] = []
    active = torch.arange(batch, device=device)  # the images that `features`, `units`, `free` hold
    free = torch.ones(batch, cells, dtype=torch.bool, device=device)
    while len(active) and len(scores) < config.primaps:
        directions, dense = principal_directions(_covariances(features, free))
        taken, score = _mask(units, directions, free, config.primap_threshold)
        labels[active] = torch.where(taken, len(scores), labels[active])
        scores.append(torch.zeros(batch, device=device).index_put((active,), score))
        fallbacks[active] += dense
        free = free & ~taken
        goes_on = free.sum(dim=1) > (1 - COVERED) * cells
        if not bool(goes_on.all()):
            active, free = active[goes_on], free[goes_on]
            features, units = features[goes_on], units[goes_on]
    capped = torch.zeros(batch, dtype=torch.bool, device=device)
    capped[active] = True
    return Proposals(labels, torch.stack(scores, dim=1), capped, fallbacks)


def _covariances(features: Tensor, free: Tensor) -> Tensor:
    """(B, C, C) covariances of the free cells, times their numbers."""
    batch, cells, channels = features.shape
    counts = free.sum(dim=1)
    most = int(counts.max())
    # the free cells of each image first; where it has fewer than another one, the rest counts 0
    order = torch.sort(free, dim=1, descending=True, stable=True).indices[:, :most]
    offsets = torch.arange(0, batch * cells, cells, device=order.device)[:, None]
    rows = features.view(-1, channels).index_select(0, (order + offsets).view(-1))
    rows = rows.view(batch, most, channels)
    if int(counts.min()) < most:
        rows = rows * free.gather(1, order)[..., None]
    sums = rows.sum(dim=1)
    products = torch.bmm((sums / counts[:, None])[..., None], sums[:, None])
    return products.baddbmm_(rows.mT, rows, beta=-1)


def _mask(
    units: Tensor, directions: Tensor, free: Tensor, threshold: float
) -> tuple[Tensor, Tensor]:
    """The cells (B, N) of the next mask and their mean cosine (B,) to the anchor."""
    alike = torch.bmm(units, directions[..., None])[..., 0].abs()
    anchors = alike.masked_fill(~free, -1).argmax(dim=1)
    own = units[torch.arange(len(units), device=units.device), anchors]
    cosines = torch.bmm(units, own[..., None])[..., 0]
    taken = free & (cosines >= threshold)
    taken.scatter_(1, anchors[:, None], value=True)  # even where its feature is 0
    score = (cosines * taken).sum(dim=1) / taken.sum(dim=1)
    return taken, score.clamp(0, 1)
