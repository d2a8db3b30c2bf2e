"""Which patches belong to which instance."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from specray.masks.config import InstanceConfig
from specray.masks.instances.clusters import CountRule, cluster_count, cluster_instances
from specray.masks.instances.embedding import (
    SPECUNIIS,
    EmbeddingConfig,
    instance_embedding,
    instance_foreground,
    noise_reduced,
)
from specray.masks.instances.objectness import objectness
from specray.masks.instances.tree import segment_tree

PROMINENT = 0.5
"""Share of the best segment's score that another one must exceed to be an instance."""


@dataclass(frozen=True)
class Instances:
    """The instances of one image, the surest first; there may be none."""

    labels: NDArray[np.int64]
    """(h, w): 0 background, 1 the first instance, 2 the second, ..."""
    scores: NDArray[np.float64]
    """(K,) `objectness`, falling."""


def separate(
    features: Tensor, grid: tuple[int, int], config: InstanceConfig, seed: int
) -> Instances:
    """Find the instances of one image.

    Parameters
    ----------
    features
        (N, C) of the patches, as the backbone gives them.
    grid
        (h, w) with ``h * w == N``.
    config
        How to tell them apart.
    seed
        Not negative; of k-means.
    """
    if config.separation == "tree":
        return tree_instances(features, grid, config.instances)
    count: int | CountRule = config.instances or "silhouette"
    return spectral_instances(features, grid, count, seed, _embedding(config))


def _embedding(config: InstanceConfig) -> EmbeddingConfig:
    """The parts of the published method that are asked for."""
    noise = None if config.instance_channels == "all" else SPECUNIIS.noise
    deviation = SPECUNIIS.deviation_share if config.instance_channels == "ncr+dcr" else None
    return replace(
        SPECUNIIS, noise=noise, deviation_share=deviation, metric=config.instance_affinity
    )


def tree_instances(features: Tensor, grid: tuple[int, int], count: int | None = None) -> Instances:
    """The segments of the image, at any scale, that look most like objects.

    Candidates are the segments of a `segment_tree` on the low-entropy third of the channels. The
    best of them becomes an instance, and with it go all that share a patch with it; then the best
    of the others, and so on.

    Parameters
    ----------
    features, grid
        As of `separate`.
    count
        Instances, fewer only if there are no more candidates; None takes those of more than
        `PROMINENT` of the best one's score.
    """
    masks = segment_tree(noise_reduced(features, "peaked").cpu().numpy(), grid)
    scores = objectness(_unit(features), masks)
    labels = np.zeros(grid, np.int64)
    chosen: list[float] = []
    for i in np.argsort(-scores, kind="stable"):
        prominent = chosen[0] * PROMINENT if chosen and count is None else 0
        if len(chosen) == count or scores[i] <= prominent:
            break
        if not labels[masks[i]].any():
            chosen.append(scores[i])
            labels[masks[i]] = len(chosen)
    return Instances(labels, np.array(chosen))


def spectral_instances(
    features: Tensor,
    grid: tuple[int, int],
    count: int | CountRule,
    seed: int,
    embedding: EmbeddingConfig = SPECUNIIS,
    foreground: NDArray[np.bool_] | None = None,
) -> Instances:
    """Clusters of the foreground in the space of its eigenvectors (SpecUnIIS).

    Parameters
    ----------
    features, grid, seed
        As of `separate`.
    count
        Number of instances, or how to find it.
    embedding
        The parts of the method.
    foreground
        (h, w) bool; None: that of the paper.
    """
    mask = instance_foreground(features, grid) if foreground is None else foreground
    values, points = instance_embedding(features, mask, embedding)
    if isinstance(count, str):
        count = cluster_count(values, points, mask, count, seed)
    labels = cluster_instances(points, mask, count, seed)
    masks = labels == np.arange(1, labels.max() + 1)[:, None, None]
    scores = objectness(_unit(features), masks)
    order = np.argsort(-scores, kind="stable")
    rank = np.zeros(len(order) + 1, np.int64)
    rank[order + 1] = np.arange(1, len(order) + 1)
    return Instances(rank[labels], scores[order])


def _unit(features: Tensor) -> NDArray[np.float32]:
    unit: NDArray[np.float32] = F.normalize(features.float(), dim=-1).cpu().numpy()
    return unit
