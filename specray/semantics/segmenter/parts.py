"""What a segmentation network is made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from specray.errors import UserError
from specray.semantics.segmenter.config import NetworkConfig


@dataclass(frozen=True)
class Parts:
    """An encoder and a head that fit each other."""

    encoder: nn.Module
    """Normalised images (B, 3, H, W), sides multiples of `stride`, to maps of features."""
    head: nn.Module
    """What the encoder returns to logits (B, K, H / cell, W / cell)."""
    stages: Sequence[nn.Module]
    """Parts of the encoder that may train one after the other, from its input to its output."""
    stride: int
    """Sides of the images are multiples of it, in pixels."""
    cell: int
    """Pixels on a side of a cell of the head's logits."""
    statistics: Tensor
    """(2, 1, 3, 1, 1) mean and deviation of pixels, of `specray.backbones.vit.pixel_statistics`."""


def trained_stages(parts: Parts, config: NetworkConfig) -> Sequence[nn.Module]:
    """The modules of the encoder that train.

    Raises
    ------
    UserError
        The encoder has fewer stages.
    """
    count, stages = config.trainable, parts.stages
    if count == "all":
        return [parts.encoder]
    if count > len(stages):
        raise UserError(
            f"--trainable {count}: {config.encoder_name} has {len(stages)} parts; `all` trains all"
        )
    return stages[len(stages) - count :]
