"""Segmentation networks: images of any size to logits of classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, pad

from specray.semantics.segmenter.config import NetworkConfig
from specray.semantics.segmenter.dropout import replace_dropouts, seed_dropouts
from specray.semantics.segmenter.norms import SyncedBatchNorm, replace_batch_norms, single
from specray.semantics.segmenter.parts import Parts, trained_stages
from specray.semantics.segmenter.vit import vit


class SegmentationNetwork(nn.Module):
    """An encoder, some last stages of which train, and a head.

    The encoder is always in evaluation mode, but for batch norms that are synchronised over the
    workers: so nothing in it depends on the other images of a batch. In the release of DSM batch
    norms of frozen parts follow the statistics of each worker's images.

    Parameters
    ----------
    parts
        What it is made of.
    classes
        K.
    """

    statistics: Tensor

    def __init__(self, parts: Parts, classes: int) -> None:
        super().__init__()
        self.encoder = parts.encoder
        self.head = parts.head
        self.classes = classes
        self.stride = parts.stride
        self.cell = parts.cell
        self.register_buffer("statistics", parts.statistics, persistent=False)

    def forward(self, images: Tensor, seeds: Sequence[int] = ()) -> Tensor:
        """Logits of every pixel.

        Parameters
        ----------
        images
            (B, 3, H, W) RGB, 0 to 255, uint8 or float.
        seeds
            (B,) of the dropout, in training; see `ImageDropout`.

        Returns
        -------
        (B, K, H, W) float32 (float64 of a network in float64).
        """
        height, width = images.shape[-2:]
        logits = interpolate(
            single(self.grid_logits(images, seeds)),
            scale_factor=self.cell,
            mode="bilinear",
            align_corners=False,
        )
        return logits[..., :height, :width]

    def grid_logits(self, images: Tensor, seeds: Sequence[int] = ()) -> Tensor:
        """Logits of cells.

        Of images as in `forward`, continued by their last row and column up to multiples of
        `stride`: (B, K, h, w), where a cell has `cell` x `cell` pixels.
        """
        seed_dropouts(self.head, seeds)
        mean, deviation = self.statistics.unbind()
        x = (images.to(mean.device).float() - mean) / deviation
        height, width = x.shape[-2:]
        x = pad(x, (0, -width % self.stride, 0, -height % self.stride), mode="replicate")
        logits: Tensor = self.head(self.encoder(x.to(next(self.head.parameters()).dtype)))
        return logits

    def train(self, mode: bool = True) -> Self:
        """Training or evaluation mode of all but the encoder; see the class."""
        super().train(mode)
        self.encoder.eval()
        for module in self.encoder.modules():
            if isinstance(module, SyncedBatchNorm):
                module.train(mode)
        return self

    def encoder_parameters(self) -> list[nn.Parameter]:
        """Those of the encoder that train."""
        return [each for each in self.encoder.parameters() if each.requires_grad]

    def head_parameters(self) -> list[nn.Parameter]:
        """Those of the head, all of which train."""
        return list(self.head.parameters())


def build_network(
    config: NetworkConfig,
    classes: int,
    weights: Mapping[str, Tensor] | None,
    seed: int = 0,
) -> SegmentationNetwork:
    """A network with a new head.

    Parameters
    ----------
    config
        Which.
    classes
        K.
    weights
        Of the encoder, in the layout of timm (for ResNets torchvision's); None leaves them random,
        for tests, or to load all weights afterwards. Nothing is ever downloaded.
    seed
        Of all that is random.

    Raises
    ------
    UserError
        Unknown encoder, one that does not fit the network, fewer parts than shall train, weights
        that do not fit.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        parts = _parts(config, classes, weights)
        _initialise(parts.head)
        replace_dropouts(parts.head)
        replace_batch_norms(parts.head, config.norm)
        parts.encoder.requires_grad_(False)
        for stage in trained_stages(parts, config):
            stage.requires_grad_(True)
        if config.norm == "batch":
            replace_batch_norms(parts.encoder, config.norm)
        return SegmentationNetwork(parts, classes).eval()


def _parts(config: NetworkConfig, classes: int, weights: Mapping[str, Tensor] | None) -> Parts:
    if config.network != "deeplab":
        return vit(config, classes, weights)
    # a library of its own, which the others do without
    from specray.semantics.segmenter.deeplab import deeplab

    return deeplab(config, classes, weights)


def _initialise(head: nn.Module) -> None:
    """As in the release of DSM: convolutions from He's normal distribution, without bias."""
    for module in head.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
