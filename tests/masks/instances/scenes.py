"""Scenes of things with looks of their own, as features of patches."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from specray.masks.instances.separate import Instances

COMMON = 3.0
"""What all patches share, as those of a ViT do, relative to what a thing has of its own."""


def things(grid: tuple[int, int], *extents: tuple[slice, slice]) -> NDArray[np.int64]:
    """Rectangles 1, 2, ... on background 0."""
    found = np.zeros(grid, np.int64)
    for number, extent in enumerate(extents, start=1):
        found[extent] = number
    return found


# of so few patches that all merges count (`MERGES`)
APART = things((8, 12), np.s_[1:4, 1:5], np.s_[4:7, 7:11])
TOUCHING = things((8, 12), np.s_[2:6, 2:6], np.s_[2:6, 6:10])


def features_of(
    scene: NDArray[np.int64], noise: float = 0.1, seed: int = 0, channels: int = 96
) -> Tensor:
    """``(N, channels)``; things 1 and 2, 3 and 4, ... differ from the background oppositely."""
    rng = np.random.default_rng(seed)
    background, *own = rng.normal(size=(scene.max() + 2, channels))
    looks = np.array([0 * background, *own[: scene.max()]])
    looks[2::2] = -looks[1:-1:2]
    features = COMMON * background + looks[scene]
    features += noise * rng.normal(size=features.shape)
    return torch.from_numpy(features.reshape(scene.size, channels)).float()


def overlap(scene: NDArray[np.int64], found: NDArray[np.int64]) -> list[float]:
    """Of every thing, the intersection over union with the label that fits it best."""
    fits = []
    for thing in range(1, scene.max() + 1):
        masks = [found == label for label in range(1, found.max() + 1)]
        unions = [np.count_nonzero(mask | (scene == thing)) for mask in masks]
        shared = [np.count_nonzero(mask & (scene == thing)) for mask in masks]
        fits.append(max((s / u for s, u in zip(shared, unions, strict=True)), default=0.0))
    return fits


def same(one: Instances, other: Instances) -> bool:
    """Whether two results agree to the last bit."""
    return np.array_equal(one.labels, other.labels) and np.array_equal(one.scores, other.scores)
