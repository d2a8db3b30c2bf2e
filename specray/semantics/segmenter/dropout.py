"""Dropout that is drawn for an image, not for a place in a batch."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class ImageDropout(nn.Module):
    """Dropout whose masks follow from a seed for each image.

    So an image has the same mask whichever worker has it, whatever is with it in a batch, and when
    a killed training does the batch again.

    Parameters
    ----------
    share
        Of the values that are dropped in training.
    """

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share
        self.seeds: Sequence[int] = ()

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same.

        Raises
        ------
        ValueError
            In training, there is not one seed for each image.
        """
        if not self.training or not self.share:
            return x
        if len(self.seeds) != len(x):
            raise ValueError(f"{len(x)} images and {len(self.seeds)} seeds for their dropout")
        kept = torch.empty_like(x)
        for mask, seed in zip(kept, self.seeds, strict=True):
            random = torch.Generator(x.device).manual_seed(seed)
            mask.bernoulli_(1 - self.share, generator=random)
        return x * kept / (1 - self.share)


def replace_dropouts(module: nn.Module) -> None:
    """Replace the dropouts of a network, in place, by those that are drawn for an image."""
    for name, child in module.named_children():
        if isinstance(child, nn.Dropout):
            setattr(module, name, ImageDropout(child.p))
        else:
            replace_dropouts(child)


def seed_dropouts(network: nn.Module, seeds: Sequence[int]) -> None:
    """Set the seeds, one for each image of the next batch."""
    for module in network.modules():
        if isinstance(module, ImageDropout):
            module.seeds = seeds
