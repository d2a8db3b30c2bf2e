"""Normalisation that does not depend on how the images of a batch are divided between workers.

Batch norms over the images of one worker would make a training's result depend on the number of
workers. Two ways out: group norms, which never see another image, and batch norms over the images
of all workers, whose sums are added up by the callable that adds up the gradients. torch's own
``SyncBatchNorm`` is for GPUs alone; this one runs wherever that callable does.
"""

from __future__ import annotations

import math
from typing import Any, Final

import torch
from torch import Tensor, nn

from specray.semantics.prototypes.em import Sum
from specray.semantics.segmenter.config import Norm

GROUPS: Final = 32
"""Of a group norm, or as many of them as divide its channels."""


class _AllSum(torch.autograd.Function):
    """A sum over workers: what each of them adds moves the losses of all of them."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor, add_up: Sum) -> Tensor:
        ctx.add_up = add_up
        return add_up(tensor).to(tensor.device)

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor, None]:
        (slope,) = slopes
        return ctx.add_up(slope.contiguous()).to(slope.device), None


class SyncedBatchNorm(nn.Module):
    """Batch norm over the images of all workers.

    In training every worker must call it equally often, and backward too; each then gets the slopes
    of the sum of all workers' losses by its own images. Weights get those of its own loss: add them
    up over workers. In evaluation it is ``BatchNorm2d``.

    Parameters
    ----------
    like
        Whose weights, statistics and settings it takes.
    """

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, like: nn.BatchNorm2d) -> None:
        super().__init__()
        assert like.running_mean is not None and like.running_var is not None
        self.weight, self.bias = like.weight, like.bias
        self.register_buffer("running_mean", like.running_mean.clone())
        self.register_buffer("running_var", like.running_var.clone())
        self.momentum = 0.1 if like.momentum is None else like.momentum
        self.eps = like.eps
        self.add_up: Sum | None = None

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same."""
        wide = single(x)
        if self.training:
            mean, variance = self._statistics(wide)
        else:
            mean, variance = self.running_mean, self.running_var
        scale = self.weight * (variance + self.eps).rsqrt()
        shift = self.bias - mean * scale
        return (wide * scale[:, None, None] + shift[:, None, None]).to(x.dtype)

    def _statistics(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(C,) mean and variance over all workers; sums are float64, so that they may be split."""
        axes = (0, 2, 3)
        channels = x.shape[1]
        sums = x.sum(axes, dtype=torch.float64)
        squares = x.square().sum(axes, dtype=torch.float64)
        count = sums.new_tensor([x.numel() / channels])
        flat = torch.cat([sums, squares, count])
        if self.add_up is not None:
            flat = _AllSum.apply(flat, self.add_up)
        total = flat[-1].detach()
        mean = flat[:channels] / total
        variance = (flat[channels:-1] / total - mean.square()).clamp_min(0)
        with torch.no_grad():
            unbiased = variance * (total / (total - 1).clamp_min(1))
            self.running_mean.lerp_(mean.to(self.running_mean.dtype), self.momentum)
            self.running_var.lerp_(unbiased.to(self.running_var.dtype), self.momentum)
        return mean.to(x.dtype), variance.to(x.dtype)


def single(x: Tensor) -> Tensor:
    """In float32 at least."""
    return x.float() if x.dtype in (torch.bfloat16, torch.float16) else x


def replace_batch_norms(module: nn.Module, norm: Norm) -> None:
    """Replace the batch norms that train, in place, by what the configuration asks for."""
    for name, child in module.named_children():
        if not isinstance(child, nn.BatchNorm2d):
            replace_batch_norms(child, norm)
        elif not child.weight.requires_grad:
            continue
        elif norm == "batch":
            setattr(module, name, _synced(child))
        else:
            channels = child.num_features
            setattr(module, name, nn.GroupNorm(math.gcd(GROUPS, channels), channels))


def synchronise(network: nn.Module, add_up: Sum | None) -> None:
    """Tell all synchronised batch norms how to add up over workers."""
    for module in network.modules():
        if isinstance(module, SyncedBatchNorm):
            module.add_up = add_up


def _synced(norm: Any) -> nn.Module:
    """Its synchronised counterpart, followed by whatever timm does after it in the same module."""
    synced = SyncedBatchNorm(norm)
    # timm's BatchNormAct2d
    return nn.Sequential(synced, norm.drop, norm.act) if hasattr(norm, "act") else synced
