"""Light heads on the patch tokens of any timm ViT (the variant of DSM's self-training)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from specray.backbones.vit import create_vit, load_state, pixel_statistics
from specray.semantics.segmenter.config import NetworkConfig
from specray.semantics.segmenter.parts import Parts

LOW_LEVEL: Final = -5
"""Block of the low-level features: the eighth of twelve, as in the paper's release."""
CHANNELS: Final = 256
LOW_CHANNELS: Final = 48
UPSAMPLING: Final = 2
"""Cells on a side of a patch in the decoder."""


class VitEncoder(nn.Module):
    """A timm ViT as a map from images to the tokens of two of its blocks."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model
        depth = len(model.blocks)
        self.blocks = [max(depth + LOW_LEVEL, 0), depth - 1]

    def forward(self, images: Tensor) -> list[Tensor]:
        """(B, 3, H, W) to the low-level and the last tokens, each (B, D, h, w) after the norm."""
        found: list[Tensor] = self.model.forward_intermediates(
            images, indices=self.blocks, norm=True, intermediates_only=True
        )
        return found


class LinearHead(nn.Module):
    """One linear layer on the last tokens."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.classify = nn.Conv2d(channels, classes, 1)

    def forward(self, tokens: list[Tensor]) -> Tensor:
        """Tokens to logits (B, K, h, w)."""
        logits: Tensor = self.classify(tokens[-1])
        return logits


class DecoderHead(nn.Module):
    """Convolutions on the tokens of two blocks, as DeepLabV3+'s, at twice their resolution."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.low = _layer(channels, LOW_CHANNELS, 1)
        self.high = _layer(channels, CHANNELS, 1)
        self.join = _layer(LOW_CHANNELS + CHANNELS, CHANNELS, 3)
        self.refine = _layer(CHANNELS, CHANNELS, 3)
        self.classify = nn.Conv2d(CHANNELS, classes, 1)

    def forward(self, tokens: list[Tensor]) -> Tensor:
        """Tokens to logits (B, K, 2 h, 2 w)."""
        joined = self.join(torch.cat([self.low(tokens[0]), self.high(tokens[-1])], dim=1))
        larger = interpolate(joined, scale_factor=UPSAMPLING, mode="bilinear", align_corners=False)
        logits: Tensor = self.classify(self.refine(larger))
        return logits


def vit(config: NetworkConfig, classes: int, weights: Mapping[str, Tensor] | None) -> Parts:
    """The parts of a ViT with a light head.

    Parameters
    ----------
    config
        Encoder and which head.
    classes
        K.
    weights
        Of the encoder, in the layout of timm; None leaves them random.

    Raises
    ------
    UserError
        Unknown model, not a ViT, weights that do not fit.
    """
    model = create_vit(config.encoder_name)
    if weights is not None:
        load_state(model, weights, config.encoder_name, flag="--encoder")
    patch = int(model.patch_embed.patch_size[0])
    linear = config.network == "vit-linear"
    head = LinearHead if linear else DecoderHead
    # the final norm follows the last block, and is part of it
    stages = [*model.blocks[:-1], nn.ModuleList([model.blocks[-1], model.norm])]
    return Parts(
        encoder=VitEncoder(model),
        head=head(model.embed_dim, classes),
        stages=stages,
        stride=patch,
        cell=patch if linear else patch // UPSAMPLING,
        statistics=pixel_statistics(model.pretrained_cfg),
    )


def _layer(inner: int, outer: int, size: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inner, outer, size, padding=size // 2, bias=False),
        nn.BatchNorm2d(outer),
        nn.ReLU(),
    )
