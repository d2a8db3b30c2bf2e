"""The linear probe: what a supervised head makes of the same features (PriMaPs section 4).

It is trained on ground truth, tells how much the features know, and never feeds the prototypes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from specray.semantics.prototypes.em import Images, Sum
from specray.semantics.prototypes.pixels import cross_entropy


class LinearProbe:
    """A linear classifier of patches, by cross entropy of the pixels with their true class.

    As of `PrototypeEM`, the result does not depend on how the images of a batch are divided.

    Parameters
    ----------
    classes, channels
        C of the ground truth, D of the features.
    learning_rate
        Of Adam, constant.
    add_up
        Sums over workers; None where there is one.
    device
        Where the work on pixels happens.
    """

    def __init__(
        self,
        classes: int,
        channels: int,
        learning_rate: float,
        add_up: Sum | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        # it is convex: where it begins does not matter
        self.weight = torch.zeros(classes, channels, dtype=torch.float64)
        self.bias = torch.zeros(classes, dtype=torch.float64)
        self._optimiser = torch.optim.Adam([self.weight, self.bias], learning_rate)
        self._add_up = add_up or (lambda tensor: tensor)
        self._device = torch.device(device)

    def step(self, batch: Sequence[Images]) -> float:
        """A step on images with ground truth; returns their mean loss, over all of their pixels."""
        classes, channels = self.weight.shape
        flat = torch.zeros(classes * (channels + 1) + 2, dtype=torch.float64)
        for images in batch:
            assert images.truth is not None
            truth, features = images.truth.to(self._device), images.clean.to(self._device)
            targets = torch.arange(classes, device=self._device).expand(len(truth), -1)
            weights = torch.ones(targets.shape, device=self._device)
            scores = self.scores(features, images.grid)
            loss, slope = cross_entropy(scores, truth, targets, weights)
            by_patch = slope.flatten(2)
            # image by image: what is added up in float32 does not depend on the company
            of_weight = torch.bmm(by_patch, features).double().sum(dim=0)
            of_bias = by_patch.sum(dim=2).double().sum(dim=0)
            parts = [of_weight.flatten(), of_bias, loss.sum()[None].to(of_bias)]
            flat[:-1] += torch.cat(parts).cpu()
            flat[-1] += truth.numel()
        flat = self._add_up(flat)
        flat = flat[:-1] / flat[-1]
        self.weight.grad = flat[: classes * channels].reshape(classes, channels)
        self.bias.grad = flat[classes * channels : -1]
        self._optimiser.step()
        self.weight.grad = self.bias.grad = None
        return float(flat[-1])

    def scores(self, features: Tensor, grid: tuple[int, int]) -> Tensor:
        """(B, N, D) features of patches to (B, C, h, w) float32 scores, on their device."""
        weight, bias = self.weight.to(features), self.bias.to(features)
        found: Tensor = (features @ weight.T + bias).mT.unflatten(-1, grid)
        return found.contiguous()

    def state_dict(self) -> dict[str, Any]:
        """Everything that the next step depends on."""
        return {
            "weight": self.weight.clone(),
            "bias": self.bias.clone(),
            "optimiser": self._optimiser.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where `state_dict` was called, bit by bit."""
        self.weight.copy_(state["weight"])
        self.bias.copy_(state["bias"])
        self._optimiser.load_state_dict(state["optimiser"])
