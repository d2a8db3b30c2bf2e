"""The confusion of the classes of a run with those of the ground truth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final

import numpy as np

from specray.datasets.label_spaces import IGNORED
from specray.errors import UserError
from specray.evaluation import Confusion, confusion
from specray.pipelines.evaluate.summing import Task, label_rows, summed
from specray.pipelines.labelled import UNLABELLED, LabelRun, label_map
from specray.pipelines.truth import TruthMaps
from specray.sources import Store, read_manifest
from specray.tables.rows import Row

_SUFFIX: Final = ".png"


@dataclass(frozen=True)
class Confused:
    """Pixels of all images by their class in a run and by the true one."""

    matrix: Confusion
    """(K + 1, C) as of `specray.evaluation.confusion`; classes of the run by rising id."""
    images: int
    """With ground truth."""
    without_truth: int


def confusion_of(run: LabelRun, truth: TruthMaps) -> Confused:
    """Compare every image that has ground truth.

    Raises
    ------
    UserError
        None has, or the ground truth of one is no map, or of another size.
    """
    tasks: list[Task] = []
    images = 0
    there = {entry.key for entry in truth.store.list((_SUFFIX,))}
    manifest = read_manifest(run.run.store, run.run.manifest)
    for shard, listed in zip(run.run.shards, manifest, strict=True):
        known = [key for key in listed["key"].to_pylist() if _name(key) in there]
        images += shard.rows
        if known:
            tasks.append({"shard": shard.name, "keys": known, "images": len(known)})
    if not tasks:
        raise UserError(
            f"no image of {run.run.store.uri} has ground truth in {truth.store.uri}: it is to hold "
            "a PNG per image, named by its key with the suffix .png"
        )
    scored = sum(task["images"] for task in tasks)
    matrix = summed(tasks, ShardConfusion(run.run.store, run.ids, truth))
    return Confused(matrix, scored, images - scored)


def _name(key: str) -> str:
    return str(PurePosixPath(key).with_suffix(_SUFFIX))


@dataclass(frozen=True)
class ShardConfusion:
    """The matrix of a shard."""

    store: Store
    ids: Sequence[int]
    truth: TruthMaps

    def __call__(self, task: Task) -> Confusion:
        """Of the images of the shard that are among ``keys``."""
        known = frozenset(task["keys"])
        clusters, classes = len(self.ids), len(self.truth.space.names)
        found = np.zeros((clusters + 1, classes), np.int64)
        for row in label_rows(self.store, task["shard"]):
            if row["key"] in known:
                found += self._of_image(row)
        return found

    def _of_image(self, row: Row) -> Confusion:
        clusters, classes = len(self.ids), len(self.truth.space.names)
        if row["error"] is not None:  # nothing was predicted
            true = self.truth.of(row["key"])
            return confusion(np.full(true.shape, -1), true, clusters, classes, IGNORED)
        labels, _ = label_map(row, self.ids, confidence=False)
        predicted = np.where(labels == UNLABELLED, -1, labels.astype(np.int64))
        true = self.truth.of(row["key"], labels.shape)
        return confusion(predicted, true, clusters, classes, IGNORED)
