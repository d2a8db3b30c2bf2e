"""Cosine k-means of dense features: its statistics, its gradient, its update."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor


class Assigned(NamedTuple):
    """Sums over patches, each of which goes to the prototype of largest cosine."""

    sums: Tensor
    """(R, K, C) float64 sums of unit features."""
    counts: Tensor
    """(R, K) float64."""
    cosine: Tensor
    """(R,) float64 sums of the cosines: the objective, to be made large."""


def assign(features: Tensor, prototypes: Tensor) -> Assigned:
    """Statistics of a batch for several runs at once.

    Parameters
    ----------
    features
        (N, C) float32 of patches.
    prototypes
        (R, K, C) of any length.
    """
    units = F.normalize(features, dim=-1)
    directions = F.normalize(prototypes, dim=-1)
    best, nearest = (units @ directions.to(units.dtype).mT).max(dim=-1)  # (R, N)
    members = F.one_hot(nearest, directions.shape[1]).to(units.dtype)
    return Assigned(
        (members.mT @ units).double(),
        members.sum(dim=1, dtype=torch.float64),
        best.sum(dim=1, dtype=torch.float64),
    )


def gradient(found: Assigned, prototypes: Tensor) -> Tensor:
    """Gradient of minus the mean largest cosine (PriMaPs section 3.1).

    Parameters
    ----------
    found
        Of the patches.
    prototypes
        (R, K, C) float64, those of `found`.
    """
    patches = found.counts.sum(dim=-1)[:, None, None]
    return tangential(-found.sums / patches, prototypes)


def lloyd(found: Assigned, prototypes: Tensor) -> Tensor:
    """The next prototypes: mean directions; one without patches stays."""
    occupied = (found.counts > 0)[..., None]
    return torch.where(occupied, F.normalize(found.sums, dim=-1), F.normalize(prototypes, dim=-1))


def tangential(slope: Tensor, prototypes: Tensor) -> Tensor:
    """Gradient with respect to vectors from that with respect to their directions."""
    length = prototypes.norm(dim=-1, keepdim=True)
    directions = prototypes / length
    along = (slope * directions).sum(dim=-1, keepdim=True)
    found: Tensor = (slope - along * directions) / length
    return found
