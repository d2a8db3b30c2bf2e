"""The worst and the best images of an evaluate job, drawn for its report."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from heapq import nlargest, nsmallest
from operator import itemgetter
from typing import Any, Final

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from specray.datasets import Dataset, Truth, stem
from specray.datasets.opening import DatasetConfig
from specray.errors import ImageError, UserError
from specray.pipelines.evaluate.job import IMAGES, SCORES
from specray.pipelines.evaluate.predictions.base import Predicted, Predictions
from specray.pipelines.evaluate.predictions.opening import open_predictions
from specray.pipelines.evaluate.predictions.runs import RunPredictions, without_features
from specray.pipelines.evaluate.tasks import NEEDS, TaskName
from specray.sources import IMAGE_SUFFIXES, Store, open_store
from specray.tables.colours import class_colour
from specray.tables.report.folder import DRAWERS
from specray.tables.report.photographs import read_photograph
from specray.tables.report.pictures import Pixels, blank, thumbnail_size
from specray.tables.report.scores import Case, Drawn, ScoreReportSummary, build_score_report
from specray.tables.report.scores.overlays import (
    at_size,
    box_overlay,
    map_overlay,
    mask_overlay,
    masks_overlay,
)

RANKED_BY: Final[Mapping[TaskName, str]] = {
    "localisation": "localisation.box_iou",
    "foreground": "foreground.iou",
    "semantic": "semantic.miou",
    "instances": "instances.instance_iou",
}
"""What says how well an image was done, by task."""


@dataclass(frozen=True)
class _Choice:
    """Images of a task, with their figures."""

    worst: Sequence[Mapping[str, Any]]
    best: Sequence[Mapping[str, Any]]


def report_scores(
    output: Store, run: Mapping[str, Any], *, images: str | None, cases: int, endpoint: str | None
) -> ScoreReportSummary:
    """Write the page of an evaluate job.

    Parameters
    ----------
    output, run
        Of the job, and its record.
    images
        Where the photographs are; None: where the predictions, or the ground truth, have them.
    cases
        Worst and best images per task.
    endpoint
        Of the stores; None: that of the job.

    Raises
    ------
    UserError
        The job has not finished, or what it has scored is gone.
    """
    if run.get("status") != "finished":
        raise UserError(f"the run at {output.uri} has not finished; run its command again first")
    made = run["configuration"]
    endpoint = endpoint or made["endpoint"]
    try:
        scores = json.loads(output.read(SCORES).data)
    except ImageError as error:
        raise UserError(f"cannot read {SCORES} in {output.uri}: {error.message}") from None
    dataset = DatasetConfig(**made["truth"]).open(endpoint)
    predictions = open_predictions(
        made["input"][0],
        dataset,
        method=made["method"],
        classes=made["input_classes"],
        endpoint=endpoint,
    )
    predictions = without_features(predictions)
    chosen = _chosen(output, run["decisive"]["tasks"], cases)
    draw = _Draw(dataset, _Photographs.of(images, predictions, dataset, endpoint), scores)
    stems = {stem(row["key"]) for one in chosen.values() for row in (*one.worst, *one.best)}
    found = _predicted(predictions, frozenset(stems))
    drawn: dict[str, tuple[list[Case], list[Case]]] = {}
    with ThreadPoolExecutor(DRAWERS) as pool:
        for task, choice in chosen.items():
            worst, best = (
                list(pool.map(partial(draw, task, found), rows))
                for rows in (choice.worst, choice.best)
            )
            drawn[task] = (worst, best)
    return build_score_report(output, scores, drawn)


def _chosen(output: Store, tasks: Sequence[TaskName], cases: int) -> dict[TaskName, _Choice]:
    """Of the images of the first run, a file at a time."""
    found: dict[TaskName, _Choice] = {name: _Choice([], []) for name in tasks if name in RANKED_BY}
    for entry in output.list((".parquet",)):
        if not entry.key.startswith(f"{IMAGES}0/"):
            continue
        table = pq.read_table(io.BytesIO(output.read(entry.key).data))
        for task, choice in found.items():
            rank = RANKED_BY[task]
            names = [
                name
                for name in table.column_names
                if name.partition(".")[0] in (task, "key", "failed")
                and name != "semantic.confusion"
            ]
            rows = table.filter(pc.is_valid(table[rank])).select(names).to_pylist()
            found[task] = _Choice(
                nsmallest(cases, [*choice.worst, *rows], key=itemgetter(rank, "key")),
                nlargest(cases, [*choice.best, *rows], key=itemgetter(rank, "key")),
            )
    return {task: choice for task, choice in found.items() if choice.worst}


def _predicted(predictions: Predictions, stems: frozenset[str]) -> dict[str, Predicted | None]:
    return {
        name: predicted
        for _, piece in predictions.pieces(stems)
        for name, predicted in piece.read()
    }


@dataclass(frozen=True)
class _Photographs:
    """Where the photographs are."""

    store: Store | None
    keys: Mapping[str, str]
    """By stem."""

    @staticmethod
    def of(
        place: str | None, predictions: Predictions, dataset: Dataset, endpoint: str | None
    ) -> _Photographs:
        """At a place that was named, or where they were read, or where the dataset has them."""
        if isinstance(predictions, RunPredictions) and place is None:
            made = predictions.run.configuration
            place = made.get("input") if "run" in made else None
        place = place or dataset.images
        if place is None:
            return _Photographs(None, {})
        store = open_store(place, endpoint)
        keys = {stem(each.key): each.key for each in store.list(IMAGE_SUFFIXES)}
        return _Photographs(store, keys)

    def read(self, name: str, size: tuple[int, int]) -> tuple[Pixels | None, str | None]:
        """The photograph of an image of a size, as a thumbnail, or why there is none."""
        if self.store is not None and name not in self.keys:
            return None, f"there is no photograph of this name in {self.store.uri}"
        row = {"key": self.keys.get(name, name), "etag": None, "height": size[0], "width": size[1]}
        return read_photograph(row, self.store, thumbnail_size(*size))


@dataclass(frozen=True)
class _Draw:
    """Draws an image as a task has scored it."""

    dataset: Dataset
    photographs: _Photographs
    scores: Mapping[str, Any]

    def __call__(
        self, task: TaskName, found: Mapping[str, Predicted | None], row: Mapping[str, Any]
    ) -> Case:
        key = row["key"]
        predicted = found.get(stem(key))
        truth = self.dataset.truths([key]).of(key, [NEEDS[task].true])
        size = _size(truth, predicted)
        photograph, unavailable = self.photographs.read(stem(key), size)
        ground = blank(thumbnail_size(*size)) if photograph is None else photograph
        drawn = Drawn(
            photograph,
            self._true(task, truth, ground, size),
            None if predicted is None else self._found(task, predicted, ground, size),
            unavailable,
        )
        rank = RANKED_BY[task]
        names = [rank, *(n for n in row if n.startswith(f"{task}.") and n != rank)]
        return Case(key, {n.partition(".")[2]: row[n] for n in names}, row["failed"], drawn)

    def _true(self, task: TaskName, truth: Truth, ground: Pixels, size: tuple[int, int]) -> Pixels:
        at = ground.shape[0], ground.shape[1]
        if task == "localisation":
            assert truth.boxes is not None
            return box_overlay(ground, truth.boxes, at[1] / size[1])
        if task == "foreground":
            assert truth.mask is not None
            return mask_overlay(ground, at_size(truth.mask, at).astype(bool))
        if task == "semantic":
            assert truth.classes is not None
            colours = {i: class_colour(i) for i in range(len(self.dataset.categories))}
            return map_overlay(ground, at_size(truth.classes, at).astype(np.int64), colours)
        assert truth.instances is not None
        return masks_overlay(ground, _masks([each["rle"] for each in truth.instances], at))

    def _found(
        self, task: TaskName, predicted: Predicted, ground: Pixels, size: tuple[int, int]
    ) -> Pixels:
        at = ground.shape[0], ground.shape[1]
        if task == "localisation":
            box = predicted.box()
            boxes = np.empty((0, 4)) if np.isnan(box).any() else box[None]
            return box_overlay(ground, boxes, at[1] / size[1])
        if task == "foreground":
            return mask_overlay(ground, at_size(predicted.mask(), at).astype(int) > 127)
        if task == "semantic":
            return map_overlay(
                ground, at_size(predicted.classes(), at).astype(np.int64), self._matched()
            )
        instances = predicted.instances()
        if instances and "rle" not in instances[0]:
            boxes = np.array([each["bbox"] for each in instances], np.float64)
            boxes[:, 2:] += boxes[:, :2]
            return box_overlay(ground, boxes, at[1] / size[1])
        return masks_overlay(ground, _masks([each["rle"] for each in instances], at))

    def _matched(self) -> dict[int, tuple[int, int, int]]:
        """Classes found in the colours of the true ones that they are matched with."""
        semantic = self.scores["runs"][0]["semantic"]
        return {
            semantic["found"].index(name): class_colour(place)
            for place, line in enumerate(semantic["classes"])
            for name in line["found_as"]
        }


def _size(truth: Truth, predicted: Predicted | None) -> tuple[int, int]:
    if truth.size is not None:
        return truth.size
    size: tuple[int, int] | None = getattr(predicted, "size", None)
    return size or (480, 640)  # only the photograph could tell


def _masks(rles: Sequence[Any], at: tuple[int, int]) -> list[NDArray[np.bool_]]:
    return [at_size(coco_mask.decode(rle), at).astype(bool) for rle in rles]
