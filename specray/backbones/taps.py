"""Features of many blocks out of one pass of a timm Vision Transformer."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from specray.backbones.base import arithmetic
from specray.backbones.config import BackboneConfig, Feature
from specray.backbones.vit import (
    ProjectionTap,
    block_index,
    create_vit,
    load_state,
    pixel_statistics,
)
from specray.backbones.weights import parse_weights
from specray.errors import UserError

Tap = tuple[int, Feature]
"""A block, counted from 0, and which of its features."""


@dataclass
class _Sink:
    """Where the blocks of a pass leave what is wanted of them: tokens (B, T, D), prefix first."""

    tapped: dict[Tap, Tensor] = field(default_factory=dict)


class _TappedBlock(nn.Module):
    """A block that leaves its features in a sink.

    Parameters
    ----------
    block, index
        The block and its number.
    wanted
        Its features.
    norm
        Of its output, where that is wanted.
    sink
        Where they are left.
    runs
        Whether anything needs its output: of the last block perhaps projections alone are wanted.
    """

    def __init__(
        self,
        block: Any,
        index: int,
        wanted: Sequence[Feature],
        norm: nn.Module,
        sink: _Sink,
        runs: bool,
    ) -> None:
        super().__init__()
        self._index, self._sink, self._token = index, sink, "token" in wanted
        taps = [each for each in wanted if each != "token"]
        projections: dict[str, nn.Module] = {each: ProjectionTap(block, each) for each in taps}
        self.projections = nn.ModuleDict(projections)
        self.block = block if runs else None
        self.norm = norm

    def forward(self, x: Tensor, **further: object) -> Tensor:
        """Tokens (B, T, D) to those of the next block."""
        tapped = self._sink.tapped
        for feature, projection in self.projections.items():
            tapped[self._index, feature] = projection(x)  # type: ignore[index]
        if self.block is None:
            return x
        tokens: Tensor = self.block(x, **further)
        if self._token:
            tapped[self._index, "token"] = self.norm(tokens)
        return tokens


class VitTaps:
    """A timm ViT as a map from images to the features of many of its blocks, in one pass.

    Each is to the last bit what `specray.backbones.VitBackbone` gives for this block and feature.

    Parameters
    ----------
    name, state, device, dtype
        As of `specray.backbones.VitBackbone`.
    taps
        Blocks, negative from the end, and features; none at all for all features of all blocks.

    Attributes
    ----------
    depth : int
        Blocks of the model.
    native : tuple of int
        (h, w) patches of the images that the model was made for.

    Raises
    ------
    UserError
        As `specray.backbones.VitBackbone`.
    """

    def __init__(
        self,
        name: str,
        state: dict[str, Tensor],
        taps: Iterable[Tap] = (),
        *,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        model = create_vit(name)
        load_state(model, state, name)
        self.depth = len(model.blocks)
        self.native: tuple[int, int] = tuple(model.patch_embed.grid_size)
        self.patch_size = int(model.patch_embed.patch_size[0])
        self._sink = _Sink()
        _tap(model, taps or every_tap(self.depth), self._sink)
        self._prefix = int(model.num_prefix_tokens)
        self._model = model.to(device=device, dtype=dtype).eval().requires_grad_(False)
        self._dtype = dtype
        self._mean, self._std = pixel_statistics(model.pretrained_cfg, device)

    @torch.inference_mode()
    def __call__(self, images: Tensor) -> dict[Tap, Tensor]:
        """Features of RGB images.

        Parameters
        ----------
        images
            As of `specray.backbones.VitBackbone`.

        Returns
        -------
        dict
            Of every tap, its block counted from 0, (B, N, D) float32 on the device.
        """
        x = images.to(self._mean.device, non_blocking=True).float()
        x = ((x - self._mean) / self._std).to(self._dtype)
        self._model.forward_features(x)
        tapped, self._sink.tapped = self._sink.tapped, {}
        return {tap: tokens[:, self._prefix :].float() for tap, tokens in tapped.items()}


def every_tap(depth: int) -> list[Tap]:
    """All features of all blocks of a model.

    Examples
    --------
    >>> every_tap(1)
    [(0, 'k'), (0, 'q'), (0, 'v'), (0, 'token')]
    """
    features: tuple[Feature, ...] = ("k", "q", "v", "token")
    return [(block, feature) for block in range(depth) for feature in features]


def build_taps(
    config: BackboneConfig, weights: bytes | None, source: str, device: str, taps: Iterable[Tap]
) -> VitTaps:
    """The taps of the ViT that a configuration names; as `specray.backbones.build_backbone`."""
    if weights is None:
        raise UserError(f"{config.backbone} has no blocks; name a ViT of timm with --backbone")
    dtype = arithmetic(config.precision, device)
    state = parse_weights(weights, source)
    return VitTaps(config.backbone, state, taps, device=device, dtype=dtype)


def _tap(model: Any, taps: Iterable[Tap], sink: _Sink) -> None:
    """Wrap the blocks that are needed, and drop everything behind them."""
    blocks = list(model.blocks)
    wanted: dict[int, list[Feature]] = defaultdict(list)
    for block, feature in taps:
        wanted[block_index(block, len(blocks))].append(feature)
    last = max(wanted)
    tapped = []
    for index, block in enumerate(blocks[: last + 1]):
        norm = model.norm if index == len(blocks) - 1 else nn.Identity()
        runs = index < last or "token" in wanted[index]
        tapped.append(_TappedBlock(block, index, wanted[index], norm, sink, runs))
    model.blocks = nn.Sequential(*tapped)
    model.norm = nn.Identity()
