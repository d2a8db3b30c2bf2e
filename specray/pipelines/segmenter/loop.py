"""The loop of a worker of Ray Train that trains a segmenter."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import ray.train
import ray.train.torch
import torch
from numpy.typing import NDArray

from specray.backbones import BackboneConfig, parse_weights
from specray.errors import UserError
from specray.pipelines.segmenter.crops import CropPlan, crop_batches
from specray.pipelines.training.checkpoint import TrainingState, all_reduce
from specray.pipelines.training.scalars import Scalars
from specray.pipelines.training.stream import Lanes
from specray.pipelines.weights import load_weights
from specray.semantics.segmenter.config import NetworkConfig, SegmenterConfig
from specray.semantics.segmenter.networks import SegmentationNetwork, build_network
from specray.semantics.segmenter.trainer import SegmenterTrainer, Step
from specray.sources import Store


@dataclass(frozen=True)
class EncoderWeights:
    """Those that a network begins with."""

    encoder: BackboneConfig
    endpoint: str | None
    sha256: str | None

    def network(self, config: NetworkConfig, classes: int, seed: int) -> SegmentationNetwork:
        """A network with them.

        Raises
        ------
        UserError
            They have changed since the job began, or do not fit.
        """
        found = load_weights(self.encoder, self.endpoint)
        if found.sha256 != self.sha256 or found.data is None:
            raise UserError(f"{found.source} changed since the training began; pass --overwrite")
        return build_network(config, classes, parse_weights(found.data, found.source), seed)


@dataclass(frozen=True)
class SegmenterPlan:
    """What all workers are told."""

    output: Store
    crops: CropPlan
    network: NetworkConfig
    weights: EncoderWeights
    class_weights: NDArray[np.float64] | None
    """(K,); None weighs all pixels the same."""
    device: str
    checkpoint_every: int

    @property
    def training(self) -> SegmenterConfig:
        """How."""
        return self.crops.training

    @property
    def steps(self) -> int:
        """Batches."""
        return self.training.steps

    def trainer(self, add_up: Any = None, device: str = "cpu") -> SegmenterTrainer:
        """A new one; raises as `EncoderWeights.network`."""
        network = self.weights.network(self.network, len(self.crops.ids), self.crops.seed)
        weights = None if self.class_weights is None else torch.from_numpy(self.class_weights)
        return SegmenterTrainer(network, self.training, add_up, device, weights)


def train(config: dict[str, Any]) -> None:
    """Train with the other workers; `config` has ``plan`` and ``tally``."""
    torch.set_num_threads(1)
    plan: SegmenterPlan = config["plan"]
    context = ray.train.get_context()
    rank, workers = context.get_world_rank(), context.get_world_size()
    device = ray.train.torch.get_device() if plan.device == "cuda" else torch.device("cpu")
    trainer = plan.trainer(all_reduce if workers > 1 else None, str(device))
    first = rank == 0  # it tells, and writes
    state = TrainingState.restored()
    if state is not None:
        trainer.load_state_dict(state.trainer)
    begin = trainer.steps
    scalars = Scalars(plan.output, begin) if first else None
    lanes = Lanes(rank, workers, plan.training.batch)
    try:
        for batch in crop_batches(plan.crops, lanes, begin, plan.steps):
            step = _step(trainer, batch, device)
            if scalars is not None:
                config["tally"].reach.remote(trainer.steps)
                _tell(scalars, step, trainer)
            if trainer.steps % plan.checkpoint_every == 0 or trainer.steps == plan.steps:
                if scalars is not None:
                    scalars.publish()
                metrics = {"loss": step.loss, "agreement": step.accuracy}
                made = TrainingState(trainer.steps, trainer.state_dict())
                made.report(metrics, write=first)
    finally:
        if scalars is not None:
            scalars.close()


def _step(trainer: SegmenterTrainer, batch: dict[str, Any], device: torch.device) -> Step:
    """One batch, copied to a GPU while it works on the one before."""
    tensors = {
        name: torch.from_numpy(np.ascontiguousarray(batch[name]))
        for name in ("image", "labels", "confidence")
        if name in batch
    }
    if device.type == "cuda":
        tensors = {name: tensor.pin_memory() for name, tensor in tensors.items()}
    seeds = batch["seed"].tolist()
    return trainer.step(tensors["image"], tensors["labels"], seeds, tensors.get("confidence"))


def _tell(scalars: Scalars, step: Step, trainer: SegmenterTrainer) -> None:
    number = trainer.steps - 1
    scalars.add("segmenter/loss", [step.loss], number)
    scalars.add("segmenter/agreement with the labels", [step.accuracy], number)
    for group in trainer.optimiser.param_groups:
        scalars.add(f"segmenter/learning rate {group['name']}", [group["lr"]], number)
