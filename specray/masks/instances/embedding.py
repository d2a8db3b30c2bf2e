"""The foreground and the embedding of its patches as in SpecUnIIS, in parts for its ablation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from specray.masks.cleaning import clean_foreground
from specray.masks.median import masked_median, replicated_median
from specray.spectral import (
    Background,
    Metric,
    NoiseRule,
    foreground_eigenpairs,
    high_deviation_channels,
    laplacian_eigenpairs,
    low_entropy_channels,
    rectified_gram,
    take_channels,
)

NOISE_SHARE: Final = 1 / 3
"""Share of the channels that noise channel reduction keeps (SpecUnIIS, M = 128 of 384)."""


@dataclass(frozen=True)
class EmbeddingConfig:
    """How foreground patches are embedded; the defaults are those of the paper.

    Parameters
    ----------
    noise
        Rule of noise channel reduction (NCR), which keeps `NOISE_SHARE` and makes rows of unit
        length; None keeps all channels, and rows as they are.
    deviation_share
        Share of all channels that deviation-based channel reduction (DCR) keeps, at most those that
        NCR left; None keeps these. 60 of 384 in the paper.
    deviation_inside
        Whether deviations are those over the foreground; published over all patches, where they
        mostly are the contrast of foreground and background.
    metric
        Affinity of two patches.
    background
        What the background becomes; `full` solves the problem exactly as it was published.
    median
        Median filter of 5 x 5 patches on the eigenvectors: over the foreground alone, over the
        whole grid as published, or none.
    eigenvectors
        Eigenvectors, the constant one included.
    """

    noise: NoiseRule | None = "peaked"
    deviation_share: float | None = 60 / 384
    deviation_inside: bool = False
    metric: Metric = "boc"
    background: Background = "merged"
    median: Literal["masked", "replicated", "none"] = "replicated"
    eigenvectors: int = 5


SPECUNIIS: Final = EmbeddingConfig()
"""The setting of the paper; its background is merged, which changes nothing where it is defined."""


def noise_reduced(features: Tensor, rule: NoiseRule) -> Tensor:
    """The low-entropy third of the channels, rows of unit length again.

    Parameters
    ----------
    features
        (N, C) of one image.
    rule
        As of `low_entropy_channels`.

    Returns
    -------
    (N, C // 3) float32, at least one channel.
    """
    channels = _quiet_channels(features, rule)
    return F.normalize(take_channels(features[None].float(), channels)[0], dim=-1)


def _quiet_channels(features: Tensor, rule: NoiseRule) -> Tensor:
    """(1, M) those that noise channel reduction keeps."""
    keep = max(int(features.shape[1] * NOISE_SHARE), 1)
    return low_entropy_channels(features[None], keep, rule)


def instance_foreground(
    features: Tensor, grid: tuple[int, int], *, reduce: bool = True
) -> NDArray[np.bool_]:
    """The patches that belong to instances (SpecUnIIS, foreground stage).

    Parameters
    ----------
    features
        (N, C) of one image, as the backbone gives them.
    grid
        (h, w) with ``h * w == N``.
    reduce
        Whether to compare patches by the third of the channels of least entropy.

    Returns
    -------
    (h, w) bool, cleaned by `clean_foreground`; may be empty.
    """
    unit = F.normalize(features.float(), dim=-1)[None]
    if reduce:
        # not normalised again: published so
        unit = take_channels(unit, _quiet_channels(features, "filled"))
    vectors = laplacian_eigenpairs(rectified_gram(unit), 2).vectors[0]
    if len(vectors) < 2:  # a single patch
        return np.zeros(grid, np.bool_)
    return clean_foreground((vectors[1] > 0).cpu().numpy().reshape(grid))


def instance_embedding(
    features: Tensor, mask: NDArray[np.bool_], config: EmbeddingConfig = SPECUNIIS
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Eigenvectors of the foreground in which instances lie apart (SpecUnIIS, instance stage).

    Parameters
    ----------
    features
        (N, C) of one image, as the backbone gives them.
    mask
        (h, w) bool, the foreground, with ``h * w == N``.
    config
        The parts of the method.

    Returns
    -------
    values
        (K,) float32 eigenvalues, ascending; fewer than asked for if the foreground is small.
    embedding
        (h, w, K - 1) float32, without the constant eigenvector; 0 in the background.
    """
    points = features[None].float()
    if config.noise is not None:
        points = noise_reduced(features, config.noise)[None]
    inside = torch.from_numpy(mask.ravel()).to(features.device)
    if config.deviation_share is not None:
        keep = min(max(int(features.shape[1] * config.deviation_share), 1), points.shape[-1])
        counted = inside[None] if config.deviation_inside else None
        points = take_channels(points, high_deviation_channels(points, keep, counted))
    values, vectors = foreground_eigenpairs(
        points[0], inside, config.metric, config.eigenvectors, config.background
    )
    embedding = vectors[1:].T.cpu().numpy().reshape(*mask.shape, -1)
    if config.median == "replicated":
        embedding = replicated_median(embedding)
    elif config.median == "masked":
        embedding = masked_median(embedding, mask)
    return values.cpu().numpy(), np.where(mask[..., None], embedding, 0)
