"""The loop of a worker of Ray Train."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import ray.train
import ray.train.torch
import torch
from torch import Tensor

from specray.pipelines.training.alternatives import Alternative
from specray.pipelines.training.checkpoint import TrainingState, all_reduce
from specray.pipelines.training.diagnosis import Diagnosis, DiagnosisPlan
from specray.pipelines.training.index import Group
from specray.pipelines.training.pairs import PairFactory
from specray.pipelines.training.scalars import Scalars
from specray.pipelines.training.stream import Lanes, TrainingStream
from specray.semantics.prototypes.config import EMConfig
from specray.semantics.prototypes.em import Images, PrototypeEM, Step
from specray.sources import Store

CONVERGED = 1e-6
"""Gain of the mean cosine below which Lloyd's k-means ends."""


@dataclass(frozen=True)
class TrainingPlan:
    """What all workers are told."""

    segments: Store
    output: Store
    groups: Sequence[Group]
    start: Tensor
    """(R, K, C) initial prototypes."""
    em: EMConfig
    seed: int
    cell: int
    image_size: int | None
    pairs: PairFactory
    alternatives: Sequence[Alternative]
    diagnosis: DiagnosisPlan | None
    device: str
    checkpoint_every: int

    @property
    def kmeans_steps(self) -> int:
        """Batches, or passes, before EM."""
        return 0 if self.em.kmeans == "none" else self.em.kmeans_steps

    @property
    def steps(self) -> int:
        """Of k-means and EM together."""
        return self.kmeans_steps + self.em.em_steps

    @property
    def sets(self) -> list[int]:
        """The set of proposals of every run."""
        sets = 1 + len(self.alternatives)
        return [which for which in range(sets) for _ in range(len(self.start) // sets)]


def train(config: dict[str, Any]) -> None:
    """Fit prototypes with the other workers; `config` has ``plan`` and ``tally``."""
    torch.set_num_threads(1)
    plan: TrainingPlan = config["plan"]
    context = ray.train.get_context()
    rank, workers = context.get_world_rank(), context.get_world_size()
    device = ray.train.torch.get_device() if plan.device == "cuda" else torch.device("cpu")
    stream = TrainingStream(
        plan.segments,
        plan.groups,
        plan.seed,
        Lanes(rank, workers, plan.em.batch),
        plan.pairs(str(device)),
        plan.cell,
        plan.image_size,
        plan.alternatives,
        None if plan.diagnosis is None else plan.diagnosis.training,
    )
    add_up = all_reduce if workers > 1 else None
    trainer = PrototypeEM(plan.start, plan.em, add_up, device, plan.sets)
    diagnosis = None
    if plan.diagnosis is not None:
        diagnosis = Diagnosis(plan.diagnosis, trainer, rank, workers, add_up, device)
    Worker(plan, trainer, stream, diagnosis, config["tally"] if rank == 0 else None).run()


class Worker:
    """Goes through the batches from the last checkpoint on.

    Parameters
    ----------
    plan
        What to do.
    trainer, stream, diagnosis
        With what; no diagnosis where there is no ground truth.
    tally
        Is told how far it is, by the first worker alone; it also writes checkpoints and scalars.
    """

    def __init__(
        self,
        plan: TrainingPlan,
        trainer: PrototypeEM,
        stream: TrainingStream,
        diagnosis: Diagnosis | None,
        tally: Any,
    ) -> None:
        self._plan = plan
        self._trainer = trainer
        self._stream = stream
        self._diagnosis = diagnosis
        self._tally = tally
        self._number = 0
        self._objective: Tensor | None = None

    def run(self) -> None:
        """Do what is left, and leave a checkpoint at the end."""
        self._restore()
        scalars = Scalars(self._plan.output, self._number) if self._tally is not None else None
        try:
            if not self._plan.steps:  # the start is the result
                self._report([], self._scored(scalars))
            while self._number < self._plan.steps:
                begin = self._number
                step = self._step()
                if scalars is not None:
                    self._tell(scalars, step, begin)
                if self._number % self._plan.checkpoint_every == 0 or self._done:
                    scores = self._scored(scalars)
                    if scalars is not None:
                        scalars.publish()
                    self._report(step.loss.tolist(), scores)
        finally:
            self._stream.close()
            if scalars is not None:
                scalars.close()

    @property
    def _done(self) -> bool:
        return self._number >= self._plan.steps

    def _step(self) -> Step:
        """One batch, or one pass of Lloyd's k-means."""
        plan, trainer = self._plan, self._trainer
        if self._number == plan.kmeans_steps:
            trainer.begin_em()
        if self._number >= plan.kmeans_steps:
            step = trainer.step(self._batch())
        elif plan.em.kmeans == "sgd":
            step = trainer.kmeans_step(_features(self._batch()))
        else:
            step = self._lloyd()
        return step

    def _batch(self) -> list[Images]:
        """The next batch, which the probe sees, too."""
        batch = self._stream.batch(self._number)
        if self._diagnosis is not None:
            self._diagnosis.step(batch)
        self._number += 1
        return batch

    def _scored(self, scalars: Scalars | None) -> dict[str, Any]:
        """What ground truth says, to be reported; nothing without."""
        if self._diagnosis is None:
            return {}
        found = self._diagnosis.score(self._number)
        if scalars is not None:
            for head, scores in found.items():
                for name in ("miou", "accuracy"):
                    values = [getattr(each, name) for each in scores]
                    scalars.add(f"ground truth/{name} {head}", values, self._number)
        told = {
            head: [{"miou": each.miou, "accuracy": each.accuracy} for each in scores]
            for head, scores in found.items()
        }
        return {"scores": told}

    def _lloyd(self) -> Step:
        """A pass over the first epoch: always the same images, so that the objective only grows."""
        found = None
        for number in range(self._stream.per_epoch):
            part = self._trainer.assigned(_features(self._stream.batch(number)))
            found = part if found is None else type(part)(*map(torch.add, found, part))
        assert found is not None  # an epoch has a batch
        step = self._trainer.lloyd_step(found)
        before, self._objective = self._objective, step.loss
        gained = before is None or bool((before - step.loss > CONVERGED).any())
        self._number = self._number + 1 if gained else self._plan.kmeans_steps
        return step

    def _tell(self, scalars: Scalars, step: Step, number: int) -> None:
        phase = "em" if number >= self._plan.kmeans_steps else "kmeans"
        scalars.add(f"{phase}/loss", step.loss.tolist(), number)
        scalars.add(f"{phase}/largest share", step.shares.amax(dim=-1).tolist(), number)
        scalars.add(f"{phase}/smallest share", step.shares.amin(dim=-1).tolist(), number)
        self._tally.reach.remote(self._number)

    def _report(self, loss: list[float], scores: dict[str, Any]) -> None:
        """Hand a checkpoint to Ray Train, which waits for all workers."""
        objective = None if self._objective is None else self._objective.tolist()
        diagnosed = None if self._diagnosis is None else self._diagnosis.state_dict()
        state = TrainingState(self._number, self._trainer.state_dict(), objective, diagnosed)
        state.report({"loss": loss} | scores, write=self._tally is not None)

    def _restore(self) -> None:
        state = TrainingState.restored()
        if state is None:
            return
        self._number = state.number
        self._trainer.load_state_dict(state.trainer)
        if self._diagnosis is not None and state.diagnosis is not None:
            self._diagnosis.load_state_dict(state.diagnosis)
        if state.objective is not None:
            self._objective = torch.tensor(state.objective, dtype=torch.float64)
        if self._tally is not None:
            self._tally.reach.remote(self._number)


def _features(batch: Sequence[Images]) -> list[Tensor]:
    return [images.clean.flatten(0, 1) for images in batch]
