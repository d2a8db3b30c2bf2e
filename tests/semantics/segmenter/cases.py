"""Small networks and images that the tests of this room share."""

from __future__ import annotations

import torch
from torch import Tensor

from specray.semantics.segmenter.config import Network, NetworkConfig, Norm
from specray.semantics.segmenter.networks import SegmentationNetwork, build_network

CLASSES = 4
SIDE = 64

ENCODERS: dict[Network, str] = {
    "deeplab": "mobilenetv3_small_050",
    "vit-linear": "vit_tiny_patch16_224",
    "vit-decoder": "vit_tiny_patch16_224",
}
NETWORKS: tuple[Network, ...] = ("deeplab", "vit-linear", "vit-decoder")


def small(
    network: Network = "deeplab", norm: Norm = "group", seed: int = 0, **fields: object
) -> SegmentationNetwork:
    """A network with random weights."""
    config = NetworkConfig(network, ENCODERS[network], norm=norm, **fields)  # type: ignore[arg-type]
    return build_network(config, CLASSES, None, seed)


def batch(count: int, seed: int = 0, side: int = SIDE) -> tuple[Tensor, Tensor, list[int]]:
    """Images whose quarters have colours of their own, labels that follow them, seeds."""
    random = torch.Generator().manual_seed(seed)
    cells = torch.randint(0, CLASSES, (count, 2, 2), generator=random)
    labels = cells.repeat_interleave(side // 2, 1).repeat_interleave(side // 2, 2)
    colours = torch.tensor([[230, 40, 40], [40, 220, 60], [50, 60, 230], [200, 200, 190]])
    noise = torch.randint(-30, 30, (count, 3, side, side), generator=random)
    images = (colours[labels].permute(0, 3, 1, 2) + noise).clamp(0, 255).to(torch.uint8)
    labels[:, :3] = 255
    return images, labels.to(torch.uint8), [1000 * seed + i for i in range(count)]
