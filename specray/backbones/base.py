"""What the rest of the house knows of a backbone, and the one place that builds them."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from specray.backbones.config import DESCRIPTOR, BackboneConfig, Precision
from specray.backbones.descriptor import DescriptorBackbone
from specray.errors import UserError


class Backbone(Protocol):
    """A map from images to patch features; each image's features depend on that image alone."""

    name: str
    patch_size: int

    def __call__(self, images: Tensor) -> Tensor:
        """Features of every patch.

        (B, 3, H, W) RGB, H and W multiples of the patch size, uint8 or, as views are, floats of the
        same range, to (B, N, D) float32.
        """
        ...


class CropEncoder(Protocol):
    """A map from images of one size to one feature each."""

    patch_size: int

    def __call__(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) uint8 RGB, H and W multiples of the patch size, to (B, D) float32."""
        ...


def build_backbone(
    config: BackboneConfig, weights: bytes | None, source: str, device: str
) -> Backbone:
    """The backbone that a configuration names.

    Parameters
    ----------
    config
        What to build.
    weights
        Contents of the weights file; None for the descriptor, which has none.
    source
        Name of that file, for its format and for messages.
    device
        ``cpu`` or ``cuda``.

    Raises
    ------
    UserError
        Unknown model, weights that do not fit, a licence that was not accepted.
    """
    if config.backbone == DESCRIPTOR:
        return DescriptorBackbone()
    # timm takes seconds to import; the descriptor does without
    from specray.backbones.vit import VitBackbone
    from specray.backbones.weights import parse_weights

    if weights is None:
        raise UserError(f"{config.backbone} needs weights; pass --weights FILE.safetensors")
    return VitBackbone(
        config.backbone,
        parse_weights(weights, source),
        feature=config.feature or "k",
        block=config.block,
        device=device,
        dtype=arithmetic(config.precision, device),
    )


def build_class_token(
    config: BackboneConfig, weights: bytes, source: str, device: str
) -> CropEncoder:
    """The class token of the ViT that a configuration names; as `build_backbone`."""
    from specray.backbones.vit import ClassToken
    from specray.backbones.weights import parse_weights

    dtype = arithmetic(config.precision, device)
    state = parse_weights(weights, source)
    return ClassToken(config.backbone, state, device=device, dtype=dtype)


def arithmetic(precision: Precision, device: str) -> torch.dtype:
    """In what a network computes on a device."""
    if precision == "auto":
        if device == "cpu":
            return torch.float32
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
    return {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]
