"""The pass over predictions and ground truth: pieces to sums, on Ray Data."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import ray
from numpy.typing import NDArray
from ray.data import DataContext, TaskPoolStrategy

from specray.datasets import Kind, Truths
from specray.evaluation import Detections, replicate_weights, replicated
from specray.pipelines.cluster import data_context
from specray.pipelines.evaluate.predictions.base import Piece, Predicted
from specray.pipelines.evaluate.tasks import Scored, Task, TaskName
from specray.pipelines.faults import faults_as_user_errors
from specray.pipelines.progress import Progress
from specray.sources import Store

CONFUSION: Final = pa.list_(
    pa.struct([("found", pa.int32()), ("true", pa.int32()), ("pixels", pa.int64())])
)
"""Of an image, without what is 0; ``found`` is -1 for pixels of no class."""


@dataclass(frozen=True)
class Work:
    """Some images to score. Pickles."""

    number: int
    piece: Piece
    truths: Truths
    keys: Mapping[str, str]
    """Of the dataset, by stem."""
    groups: Mapping[str, str]
    """Videos, by stem; of those that belong to one."""


@dataclass(frozen=True)
class Part:
    """What some images say; those of disjoint sets add up to those of their union."""

    images: int = 0
    failed: int = 0
    """Of them, those of which nothing was predicted."""
    sums: Mapping[TaskName, NDArray[np.int64]] = field(default_factory=dict)
    """(1 + R, V): first of the images as they are, then of every sample of them."""
    of_groups: Mapping[TaskName, Mapping[str, NDArray[np.int64]]] = field(default_factory=dict)
    """(V,) by video."""
    detections: Mapping[str, Detections] = field(default_factory=dict)
    """By what was compared."""

    def __add__(self, other: Part) -> Part:
        names = self.of_groups.keys() | other.of_groups.keys()
        return Part(
            self.images + other.images,
            self.failed + other.failed,
            _added(self.sums, other.sums),
            {
                name: _added(self.of_groups.get(name, {}), other.of_groups.get(name, {}))
                for name in names
            },
            _added(self.detections, other.detections),
        )


def _added(one: Mapping[Any, Any], other: Mapping[Any, Any]) -> dict[Any, Any]:
    """The union of two mappings, values of common keys added."""
    both = {key: one[key] + other[key] for key in one.keys() & other.keys()}
    return {**one, **other, **both}


@dataclass(frozen=True)
class Score:
    """Scores the images of a piece and writes a row for each.

    Parameters
    ----------
    tasks
        By name.
    replicates
        1 + samples of the bootstrap.
    seed
        Of the bootstrap.
    output, folder
        Where the rows go.
    """

    tasks: Mapping[TaskName, Task]
    replicates: int
    seed: int
    output: Store
    folder: str

    def __call__(self, row: Mapping[str, Work]) -> dict[str, Part]:
        """One row of Ray Data to another."""
        work = row["work"]
        keys: list[str] = []
        failed: list[bool] = []
        scored: dict[TaskName, list[Scored]] = {name: [] for name in self.tasks}
        wanted: list[Kind] = [task.kind for task in self.tasks.values()]
        for stem, predicted in work.piece.read():
            truth = work.truths.of(work.keys[stem], wanted)
            for name, task in self.tasks.items():
                unit = work.groups.get(stem, stem)
                scored[name].append(task.of(work.keys[stem], unit, predicted, truth))
            keys.append(stem)
            failed.append(predicted is None)
        rows = self._rows(work, keys, failed, scored)
        buffer = io.BytesIO()
        pq.write_table(rows, buffer)
        self.output.write(part_name(self.folder, work.number), buffer.getvalue())
        return {"part": self._part(work, keys, failed, scored)}

    def _part(
        self,
        work: Work,
        keys: Sequence[str],
        failed: Sequence[bool],
        scored: Mapping[TaskName, Sequence[Scored]],
    ) -> Part:
        units = [work.groups.get(key, key) for key in keys]  # frames of a video go together
        weights = np.stack([replicate_weights(self.seed, unit, self.replicates) for unit in units])
        sums, of_groups = {}, {}
        detections: dict[str, Detections] = {}
        for name, task in self.tasks.items():
            vectors = np.stack([each.sums for each in scored[name]])
            sums[name] = replicated(vectors, weights)
            if task.by_group and work.groups:
                of_groups[name] = _by_group(vectors, units)
            for each in scored[name]:
                detections = _added(detections, each.detections or {})
        return Part(len(keys), sum(failed), sums, of_groups, detections)

    def _rows(
        self,
        work: Work,
        keys: Sequence[str],
        failed: Sequence[bool],
        scored: Mapping[TaskName, Sequence[Scored]],
    ) -> pa.Table:
        columns: dict[str, pa.Array] = {
            "key": pa.array([work.keys[key] for key in keys], pa.string()),
            "group": pa.array([work.groups.get(key) for key in keys], pa.string()),
            "failed": pa.array(failed, pa.bool_()),
        }
        for name, task in self.tasks.items():
            for figure in task.shown:
                values = np.array([each.shown[figure] for each in scored[name]], np.float64)
                columns[f"{name}.{figure}"] = pa.array(values, from_pandas=True)
            if name == "semantic":
                entries = [_sparse(task, each.sums) for each in scored[name]]
                columns["semantic.confusion"] = pa.array(entries, CONFUSION)
        return pa.table(columns)


def part_name(folder: str, number: int) -> str:
    """Key of the file with the rows of a piece."""
    return f"{folder}{number:06}.parquet"


def score_pieces(work: Sequence[Work], score: Score, workers: int | None) -> Part:
    """Score everything.

    Parameters
    ----------
    work
        There is some.
    score
        What is done with each.
    workers
        At a time; None: as many as there are CPUs.

    Raises
    ------
    UserError
        Predictions or ground truth cannot be read, or do not go together.
    """
    found = Part()
    with Progress(images_of(work), lambda: (found.images, found.failed)):
        for row in passed(work, score, workers):
            found = found + row["part"]
    return found


def images_of(work: Sequence[Work]) -> int:
    """Of all pieces."""
    return sum(len(each.keys) for each in work)


def passed(
    work: Sequence[Work], function: Callable[[Mapping[str, Work]], Any], workers: int | None
) -> Iterator[Any]:
    """Rows that a function makes of the pieces, each a row with ``work``, in their order.

    Raises
    ------
    UserError
        That of the function.
    """
    pool = TaskPoolStrategy(min(workers or len(work), len(work)))
    with DataContext.current(data_context()), faults_as_user_errors():
        rows = [{"work": each} for each in work]
        pieces = ray.data.from_items(rows, override_num_blocks=len(work))
        yield from pieces.map(function, compute=pool).iter_rows()


def scored_rows(output: Store, folder: str, work: Sequence[Work]) -> Iterator[tuple[str, pa.Table]]:
    """The files with the rows of the pieces, one by one, and their keys."""
    for each in work:
        name = part_name(folder, each.number)
        yield name, pq.read_table(io.BytesIO(output.read(name).data))


def _by_group(vectors: NDArray[np.int64], units: Sequence[str]) -> dict[str, NDArray[np.int64]]:
    found: dict[str, NDArray[np.int64]] = {}
    for unit, vector in zip(units, vectors, strict=True):
        found[unit] = found[unit] + vector if unit in found else vector
    return found


def _sparse(task: Any, sums: NDArray[np.int64]) -> list[dict[str, int]]:
    matrix = task.matrix(sums)
    found, true = matrix.nonzero()
    pixels = matrix[found, true]
    found = np.where(found == len(matrix) - 1, -1, found)
    return [
        {"found": f, "true": t, "pixels": p}
        for f, t, p in zip(found.tolist(), true.tolist(), pixels.tolist(), strict=True)
    ]


@dataclass(frozen=True)
class Absent:
    """Images of the dataset that predictions do not have."""

    stems: tuple[str, ...]

    def read(self) -> Iterator[tuple[str, Predicted | None]]:
        """Nothing was predicted of them."""
        yield from ((stem, None) for stem in self.stems)
