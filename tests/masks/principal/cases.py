"""Images whose proposals are known, and the published loop, image by image."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

Grid = tuple[int, int]


def planted(
    parts: NDArray[np.int64], channels: int = 32, noise: float = 0.02, seed: int = 0
) -> Tensor:
    """(1, N, C) float32: a direction for each part (h, w), orthogonal to the others, and noise."""
    generator = torch.Generator().manual_seed(seed)
    directions = torch.linalg.qr(torch.randn(channels, channels, generator=generator))[0]
    clean: Tensor = directions[torch.from_numpy(parts.ravel())]
    return clean[None] + noise * torch.randn((1, *clean.shape), generator=generator)


def noise_features(batch: int, cells: int, channels: int, common: float = 1.0) -> Tensor:
    """(B, N, C) of a few blurred kinds around a common direction, as tokens of a ViT are."""
    generator = torch.Generator().manual_seed(0)
    kinds = torch.randn(batch, 6, channels, generator=generator)
    mixture = torch.randn(batch, cells, 6, generator=generator).mul(2).softmax(2)
    noise = torch.randn(batch, cells, channels, generator=generator)
    return mixture @ kinds + 0.3 * noise + common * torch.randn(channels, generator=generator)


def published_loop(features: Tensor, threshold: float) -> NDArray[np.int64]:
    """(N,) labels of one image (N, C), -1 where there is none: one decomposition per mask, in
    float64 by LAPACK, the anchor by either sign of the component (PriMaPs, section 3.1)."""
    features = features.double()
    units = features / features.norm(dim=1, keepdim=True).clamp_min(1e-12)
    cells = len(features)
    free = torch.ones(cells, dtype=torch.bool)
    labels = np.full(cells, -1)
    while 1 - int(free.sum()) / cells < 0.95:
        rows = features[free] - features[free].mean(0)
        component = torch.linalg.eigh(rows.T @ rows)[1][:, -1]
        alike = units @ component
        if -alike[free].min() > alike[free].max():
            alike = -alike
        alike[~free] = -torch.inf
        cosines = units @ units[alike.argmax()]
        cosines[~free] = 0
        mask = cosines >= threshold * cosines.max()
        labels[mask.numpy() & free.numpy()] = labels.max() + 1
        free &= ~mask
    return labels


def published_median(labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """(h, w) labels after the 3 x 3 median of every mask; -1 where all are off."""
    found = np.full(labels.shape, -1)
    for label in range(labels.max() + 1):
        mask = (labels == label).astype(np.uint8)
        found[ndimage.median_filter(mask, 3, mode="mirror") > 0] = label
    return found


def published_energies(labels: NDArray[np.int64], count: int, size: Grid) -> Tensor:
    """(1 + count, H, W) as published: log-softmax, bilinear resize, softmax, clip, logarithm."""
    maps = torch.from_numpy(labels + 1 == np.arange(count + 1)[:, None, None]).float()
    logits = torch.nn.functional.interpolate(
        maps.log_softmax(0)[None], size, mode="bilinear", align_corners=False
    )
    return -logits.softmax(1).clip(1e-5, 1).log()[0]
