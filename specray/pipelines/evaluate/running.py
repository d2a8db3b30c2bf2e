"""The predictions of one input, from pieces of work to figures."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from specray.datasets import Dataset, stem
from specray.errors import UserError
from specray.pipelines.evaluate.classes import Classes, write_image_scores
from specray.pipelines.evaluate.config import EvaluateConfig
from specray.pipelines.evaluate.figures import figures_of
from specray.pipelines.evaluate.predictions.base import Piece, Predictions, parts
from specray.pipelines.evaluate.probing import fitted_probes
from specray.pipelines.evaluate.scoring import (
    Absent,
    Part,
    Score,
    Work,
    part_name,
    score_pieces,
)
from specray.pipelines.evaluate.tasks import Task, TaskName, make_task
from specray.pipelines.evaluate.tasks.probe import Probe
from specray.pipelines.evaluate.tasks.semantic import Semantic
from specray.sources import Store


@dataclass(frozen=True)
class Run:
    """The predictions of one input."""

    config: EvaluateConfig
    dataset: Dataset
    keys: Sequence[str]
    predictions: Predictions
    names: Sequence[TaskName]
    store: Store
    folder: str

    def scores(self) -> dict[str, Any]:
        """All there is to say of them."""
        config, predictions = self.config, self.predictions
        by_stem = {stem(key): key for key in self.keys}
        work = list(self._work(by_stem))
        covered = sum(len(each.keys) for each in work)
        missing = len(by_stem) - covered
        if not work:
            raise UserError(
                f"no image of {predictions.uri} has ground truth in {config.truth.truth}: keys are "
                f"to be the same but for their suffix, such as {stem(self.keys[0])!r}"
            )
        if missing and not config.partial:
            work += self._absent(by_stem, work)
        tasks = self._tasks(work)
        replicates = 1 + config.bootstrap
        score = Score(tasks, replicates, config.seed, self.store, self.folder)
        part = score_pieces(work, score, config.num_workers)
        figures = figures_of(part, tasks, self._unit_of, config.seed, replicates)
        return {
            "input": predictions.uri,
            "images": part.images,
            "failed": part.failed - (0 if config.partial else missing),
            "missing": missing,
            "without_truth": predictions.unknown(frozenset(by_stem)),
            "figures": {name: dataclasses.asdict(each) for name, each in figures.items()},
            **self._semantic(part, tasks, work),
            "files": [part_name(self.folder, each.number) for each in work],
        }

    def _unit_of(self, key: str) -> str:
        return self.dataset.group(key) or stem(key)

    def _work(self, by_stem: Mapping[str, str]) -> Iterator[Work]:
        for number, (stems, piece) in enumerate(self.predictions.pieces(frozenset(by_stem))):
            yield self._of_piece(number, piece, {each: by_stem[each] for each in stems})

    def _absent(self, by_stem: Mapping[str, str], work: Sequence[Work]) -> Iterator[Work]:
        there = {each for one in work for each in one.keys}
        absent = sorted(by_stem.keys() - there)
        for number, some in enumerate(parts(absent, 256), start=len(work)):
            piece = Absent(tuple(some))
            yield self._of_piece(number, piece, {each: by_stem[each] for each in some})

    def _of_piece(self, number: int, piece: Piece, keys: Mapping[str, str]) -> Work:
        groups = {each: self.dataset.group(key) for each, key in keys.items()}
        known = {each: group for each, group in groups.items() if group is not None}
        return Work(number, piece, self.dataset.truths(list(keys.values())), keys, known)

    def _tasks(self, work: Sequence[Work]) -> dict[TaskName, Task]:
        found, true = self.predictions.names, self.dataset.categories
        masks = "instances" in self.names and self.predictions.masks and self._true_masks()
        tasks: dict[TaskName, Task] = {}
        for name in self.names:
            if name == "probe":
                tasks[name] = Probe(true, fitted_probes(work, len(true), self.config.num_workers))
            else:
                tasks[name] = make_task(name, found, true, masks=masks)
        return tasks

    def _true_masks(self) -> bool:
        """Whether instances have masks in the ground truth: the first one tells."""
        for part in parts(self.keys, 256):
            truths = self.dataset.truths(part)
            for key in part:
                instances = truths.of(key, ["instances"]).instances
                if instances:
                    return "rle" in instances[0]
        return False

    def _semantic(
        self, part: Part, tasks: Mapping[TaskName, Task], work: Sequence[Work]
    ) -> dict[str, Any]:
        """The classes, and how well they are told apart in every image, now that they are known."""
        task = tasks.get("semantic")
        if not isinstance(task, Semantic):
            return {}
        matrix = task.matrix(part.sums["semantic"][0])
        found = Classes(task, matrix, self.config.matching)
        write_image_scores(self.store, self.folder, work, found)
        return {"semantic": found.as_json()}
