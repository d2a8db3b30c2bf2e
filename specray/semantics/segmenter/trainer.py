"""One step of self-training, on the images of one worker or of many."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from specray.semantics.prototypes.em import Sum
from specray.semantics.segmenter.config import SegmenterConfig, TrainingPrecision
from specray.semantics.segmenter.loss import pixel_loss, sure_labels
from specray.semantics.segmenter.networks import SegmentationNetwork
from specray.semantics.segmenter.norms import SyncedBatchNorm, synchronise


class Step(NamedTuple):
    """What a batch said, over all workers."""

    loss: float
    """Mean over the pixels that count; 0 where none does."""
    accuracy: float
    """Share of these pixels whose best class was their label, in training mode."""
    pixels: int
    """Their number."""


class SegmenterTrainer:
    """A network with its optimiser.

    Every image is a sum of its own: dropout is drawn for it, norms see it alone or all images of
    all workers, gradients are those of sums over pixels, which are added up over workers and then
    divided. So the result does not depend on how the images of a batch are divided, but for the
    order of float32 additions; what these decide alone, such as the biases of a ViT's keys, which
    its softmax does not see, moves without any effect.

    Parameters
    ----------
    network
        Of `build_network`; it is trained in place.
    config
        How to train.
    add_up
        Sums over workers, the same on all of them; None where there is one.
    device
        Where the network runs.
    class_weights
        (K,) of `specray.semantics.segmenter.loss.class_weights`; None weighs all pixels the same.
    """

    def __init__(
        self,
        network: SegmentationNetwork,
        config: SegmenterConfig,
        add_up: Sum | None = None,
        device: torch.device | str = "cpu",
        class_weights: Tensor | None = None,
    ) -> None:
        self.config = config
        self.network = network.to(device)
        self._device = torch.device(device)
        self._add_up = add_up or (lambda tensor: tensor)
        self._class_weights = None if class_weights is None else class_weights.float().to(device)
        self._bf16 = _is_bf16(config.precision, self._device)
        self._synced = any(isinstance(module, SyncedBatchNorm) for module in network.modules())
        synchronise(network, add_up)
        self.optimiser = torch.optim.AdamW(self._groups(), weight_decay=config.weight_decay)
        self.steps = 0

    def step(
        self,
        images: Tensor,
        labels: Tensor,
        seeds: Sequence[int],
        confidence: Tensor | None = None,
    ) -> Step:
        """Descend by one batch.

        Parameters
        ----------
        images
            (B, 3, H, W) uint8 or float RGB, 0 to 255: those of this worker.
        labels
            (B, H, W) integers; 255 does not count.
        seeds
            (B,) of the dropout, `Augmentation.seed` of each image.
        confidence
            (B, H, W) from 0 to 1; None: all are sure.

        Raises
        ------
        ValueError
            With synchronised batch norms, the images cannot be divided into equal parts.
        """
        parts = self.config.accumulate
        if self._synced and len(images) % parts:
            raise ValueError(
                f"--accumulate {parts} does not divide the {len(images)} images of a worker"
            )
        self._set_rates()
        self.network.train()
        self.optimiser.zero_grad()
        # float64 sums of loss, weight, right and counted pixels
        sums = torch.zeros(4, dtype=torch.float64)
        for part in range(parts):
            # every parts-th image: with workers that hold equal stretches of a batch, a part has
            # the same images of all of them together, whatever their number
            own = slice(part, None, parts)
            if len(images[own]):
                sure = None if confidence is None else confidence[own]
                sums += self._backward(images[own], labels[own], seeds[own], sure)
        sums = self._add_up(sums)
        loss, weight, right, pixels = sums.tolist()
        self._share_gradients(weight)
        self.optimiser.step()
        self.steps += 1
        return Step(loss / max(weight, 1e-12), right / max(pixels, 1), int(pixels))

    def _backward(
        self, images: Tensor, labels: Tensor, seeds: Sequence[int], confidence: Tensor | None
    ) -> Tensor:
        """Add the gradients of some images to those that are there; (4,) float64 sums."""
        labels = labels.to(self._device, non_blocking=True)
        if confidence is not None:
            confidence = confidence.to(self._device, non_blocking=True)
            labels = sure_labels(labels, confidence, self.config.min_confidence)
        weights = confidence if self.config.confidence_weights else None
        images = images.to(self._device, non_blocking=True)
        with torch.autocast(self._device.type, torch.bfloat16, enabled=self._bf16):
            logits = self.network(images, seeds)
        found = pixel_loss(logits, labels, self._class_weights, weights)
        found.loss.backward()
        return torch.stack([each.detach() for each in found]).cpu()

    def _groups(self) -> list[dict[str, Any]]:
        config = self.config
        rates = (config.learning_rate * config.encoder_rate, config.learning_rate)
        groups = (self.network.encoder_parameters(), self.network.head_parameters())
        return [
            {"name": name, "params": parameters, "lr": rate, "highest": rate}
            for name, parameters, rate in zip(("encoder", "head"), groups, rates, strict=True)
            if parameters
        ]

    def _set_rates(self) -> None:
        left = max(1 - self.steps / self.config.steps, 0)
        for group in self.optimiser.param_groups:
            group["lr"] = group["highest"] * left

    def _share_gradients(self, weight: float) -> None:
        """Add the gradients up over workers, in one tensor, and divide them."""
        parameters = [p for group in self.optimiser.param_groups for p in group["params"]]
        slopes = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
        flat = self._add_up(torch.cat([slope.flatten() for slope in slopes])).to(self._device)
        flat /= max(weight, 1e-12)
        for parameter, slope in zip(
            parameters, flat.split([p.numel() for p in parameters]), strict=True
        ):
            parameter.grad = slope.view_as(parameter)

    def state_dict(self) -> dict[str, Any]:
        """Everything that the next step depends on, but for what never changes of the network."""
        return {
            "network": {name: each.detach().clone() for name, each in self._changing().items()},
            "optimiser": copy.deepcopy(self.optimiser.state_dict()),
            "steps": self.steps,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where `state_dict` was called, bit by bit, with a network built the same."""
        own = self._changing()
        if own.keys() != state["network"].keys():
            raise ValueError("the state is of another network")
        with torch.no_grad():
            for name, value in state["network"].items():
                own[name].copy_(value)
        self.optimiser.load_state_dict(state["optimiser"])
        self.steps = state["steps"]

    def _changing(self) -> dict[str, Tensor]:
        """Tensors of the network that a step changes, by name."""
        found: dict[str, Tensor] = {
            name: each for name, each in self.network.named_parameters() if each.requires_grad
        }
        for name, module in self.network.named_modules():
            if isinstance(module, SyncedBatchNorm):
                found |= {f"{name}.{each}": buffer for each, buffer in module.named_buffers()}
        return found


def _is_bf16(precision: TrainingPrecision, device: torch.device) -> bool:
    if precision == "auto":
        return device.type == "cuda" and torch.cuda.is_bf16_supported()
    return precision == "bf16"
