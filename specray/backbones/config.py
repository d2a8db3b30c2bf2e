"""What a person may choose about the features."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from specray.checks import at_least

Feature = Literal["k", "q", "v", "token"]
Jitter = Literal["paper", "clamped"]
Precision = Literal["auto", "fp32", "bf16", "fp16"]

DESCRIPTOR: Final = "descriptor"
"""Name of the backbone that needs no weights."""


@dataclass(frozen=True)
class BackboneConfig:
    """Where patch features come from.

    Parameters
    ----------
    backbone
        Any ViT of timm by name. Good choices: vit_small_patch16_224.dino,
        vit_small_patch8_224.dino, vit_base_patch16_224.dino, vit_base_patch8_224.dino,
        vit_small_patch14_dinov2.lvd142m, vit_small_patch14_reg4_dinov2.lvd142m. `descriptor` needs
        no weights: colour and texture statistics for trials and tests; it is no substitute for a
        ViT.
    weights
        Weights in timm's layout: a .safetensors file (or a .pth of plain tensors) as path or URI.
        Absent: the published weights of the named model, from the Hugging Face hub.
    feature
        Keys, queries or values of the block's attention, or its output tokens, after the final norm
        if the block is the last. Absent: `token` for primaps, or where no masks are asked for; else
        k, as the papers do. The descriptor has nothing to choose from.
    block
        Transformer block, counted from 0, negative from the end. The papers use the last.
    projection
        A trained head of another method over these features, such as STEGO's or HP's, linear or of
        two layers: a .safetensors file (or a .ckpt of plain tensors) as path or URI. Masks are
        found in the backbone's own features; what is kept, trained on and what describes segments
        is the output of the head.
    precision
        Arithmetic of the backbone; auto = bf16 on GPUs that have it, fp16 on others, fp32 on CPU.
    accept_dinov3_licence
        DINOv3 weights come under Meta's own DINOv3 License (no military use, passes on to what you
        redistribute). Read it, then set this to use a DINOv3 model.
    """

    backbone: str = "vit_small_patch16_224.dino"
    weights: str | None = None
    feature: Feature | None = None
    block: int = -1
    projection: str | None = None
    precision: Precision = "auto"
    accept_dinov3_licence: bool = False


@dataclass(frozen=True)
class ViewConfig:
    """Photometric views of every image, whose features are kept with `--keep views`.

    Parameters
    ----------
    views
        Views of each image, each blurred and some recoloured; kept are the features of every view
        and of its mirror image, and those of the mirror image of the image itself.
    jitter
        How colours change: `paper`, as it is described; `clamped`, as in the published code, which
        cuts off every value darker than the mean where it does.
    """

    views: int = 2
    jitter: Jitter = "paper"

    def __post_init__(self) -> None:
        at_least(0, self, "views")
