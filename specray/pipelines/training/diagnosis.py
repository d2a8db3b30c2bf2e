"""What ground truth says of a training: the linear probe, and scores while it goes on.

It only looks on: prototypes are those of a run without it, but for the copy of the best ones, which
says so in its name.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from specray.datasets.label_spaces import IGNORED
from specray.evaluation import Confusion, Scores, confusion, hungarian_by_pixels, score
from specray.pipelines.training.index import Group
from specray.pipelines.training.samples import MASK_COLUMNS, KeptFeatures, Sample, samples_of
from specray.pipelines.truth import TruthMaps
from specray.semantics.prototypes.em import Images, PrototypeEM, Sum, heads
from specray.semantics.prototypes.probe import LinearProbe
from specray.sources import Store
from specray.tables.groups import ShardGroups


@dataclass(frozen=True)
class DiagnosisPlan:
    """What is compared with ground truth."""

    training: TruthMaps
    """Of the images that are trained on."""
    validation: TruthMaps
    """Of those that are scored."""
    segments: Store
    """The segment run of these, with kept features."""
    groups: Sequence[Group]
    cell: int
    image_size: int | None


class Diagnosis:
    """Trains the probe beside the prototypes, and scores both.

    Parameters
    ----------
    plan
        With what to compare.
    trainer
        The prototypes.
    rank, workers
        Which part of the images is this worker's.
    add_up
        Sums over workers; None where there is one.
    device
        Where the work on pixels happens.

    Attributes
    ----------
    best : list
        For every run the scores of its best momentum prototypes so far, by mIoU, and these.
    """

    def __init__(
        self,
        plan: DiagnosisPlan,
        trainer: PrototypeEM,
        rank: int,
        workers: int,
        add_up: Sum | None,
        device: torch.device,
    ) -> None:
        self._plan = plan
        self._trainer = trainer
        self._groups = plan.groups[rank::workers]
        self._add_up = add_up or (lambda tensor: tensor)
        self._device = device
        channels = trainer.vectors.shape[-1]
        classes = len(plan.training.space.names)
        rate = trainer.config.learning_rate
        self._probe = LinearProbe(classes, channels, rate, add_up, device)
        self.best: list[dict[str, Any]] = [{} for _ in trainer.vectors]

    def step(self, batch: Sequence[Images]) -> float:
        """A step of the probe; returns its loss."""
        return self._probe.step(batch)

    def score(self, number: int) -> dict[str, list[Scores]]:
        """Scores after `number` batches: of momentum and running prototypes of every run, matched
        one to one by pixels, and of the probe. All workers take part."""
        matrices = self._matrices()
        names = self._plan.validation.space.names
        found = {
            "momentum": [score(each, hungarian_by_pixels(each), names) for each in matrices[0]],
            "running": [score(each, hungarian_by_pixels(each), names) for each in matrices[1]],
            "probe": [score(matrices[2][0], np.arange(len(names)), names)],
        }
        momentum = heads(self._trainer.momentum_vectors, self._trainer.momentum_gains)
        for run, scores in enumerate(found["momentum"]):
            if not self.best[run] or scores.miou > self.best[run]["miou"]:
                self.best[run] = {
                    "step": number,
                    "miou": scores.miou,
                    "accuracy": scores.accuracy,
                    "prototypes": momentum[run].clone(),
                }
        return found

    def state_dict(self) -> dict[str, Any]:
        """Everything that what follows depends on."""
        return {"probe": self._probe.state_dict(), "best": self.best}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where `state_dict` was called."""
        self._probe.load_state_dict(state["probe"])
        self.best = state["best"]

    def _matrices(self) -> list[list[Confusion]]:
        """Of the runs' momentum prototypes, of their running ones, of the probe."""
        trainer, classes = self._trainer, len(self._plan.validation.space.names)
        momentum = heads(trainer.momentum_vectors, trainer.momentum_gains)
        running = heads(trainer.vectors, trainer.gains)
        runs, clusters = momentum.shape[:2]
        of_runs = np.zeros((2, runs, clusters + 1, classes), np.int64)
        of_probe = np.zeros((classes + 1, classes), np.int64)
        for group in self._groups:
            for sample in self._samples(group):
                features, grid, truth = _seen(sample, self._device)
                for which, each in enumerate((momentum, running)):
                    for run, head in enumerate(each):
                        scores = (features @ head.to(features).T).mT.unflatten(-1, grid)
                        labels = _labels(scores, truth.shape)
                        of_runs[which, run] += confusion(labels, truth, clusters, classes, IGNORED)
                labels = _labels(self._probe.scores(features, grid), truth.shape)
                of_probe += confusion(labels, truth, classes, classes, IGNORED)
        parts = [torch.from_numpy(each).double().flatten() for each in (of_runs, of_probe)]
        total = self._add_up(torch.cat(parts)).long().numpy()  # numbers of pixels: exact
        of_runs = total[: of_runs.size].reshape(of_runs.shape)
        return [list(of_runs[0]), list(of_runs[1]), [total[of_runs.size :].reshape(of_probe.shape)]]

    def _samples(self, group: Group) -> list[Sample]:
        plan = self._plan
        columns = list(dict.fromkeys((*MASK_COLUMNS, *KeptFeatures.columns)))
        columns.remove("views")
        rows = ShardGroups(plan.segments, group.shard).read(group.number, columns)
        rows = rows.take(group.rows)
        return samples_of(rows, plan.cell, plan.image_size, True, truth=plan.validation)


def _seen(sample: Sample, device: torch.device) -> tuple[Tensor, tuple[int, int], Any]:
    features = sample.features
    assert features is not None and sample.truth is not None
    image = torch.from_numpy(features.image.astype(np.float32) * features.scale)
    return image[None].to(device), features.grid, sample.truth


def _labels(scores: Tensor, size: tuple[int, int]) -> Any:
    up = F.interpolate(scores, size, mode="bilinear", align_corners=False)
    return up.argmax(dim=1)[0].cpu().numpy()
