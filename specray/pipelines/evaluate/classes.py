"""What the matching of all images says of the classes, and of every single image."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from specray.evaluation import Confusion, Matching, Scores, score
from specray.pipelines.evaluate.scoring import Work, scored_rows
from specray.pipelines.evaluate.tasks.semantic import MATCHINGS, MatchingRule, Semantic
from specray.sources import Store


@dataclass(frozen=True)
class Classes:
    """A matching over all images and what comes of it."""

    task: Semantic
    matrix: Confusion
    rule: MatchingRule

    @cached_property
    def matching(self) -> Matching:
        """Of all images."""
        return MATCHINGS[self.rule](self.matrix)

    @property
    def scores(self) -> Scores:
        """Of all images."""
        return self.of(self.matrix)

    def of(self, matrix: Confusion) -> Scores:
        """Of some images, under the matching of all."""
        return score(matrix, self.matching, self.task.true)

    def as_json(self) -> dict[str, Any]:
        """A line for every true class, and the confusion."""
        found, scores = self.task.found, self.scores
        lines = [
            {
                "name": name,
                "iou": None if math.isnan(iou) else iou,
                "pixels": int(pixels),
                "found_as": [found[k] for k, matched in scores.matching.items() if matched == name],
            }
            for (name, iou), pixels in zip(scores.iou.items(), self.matrix.sum(axis=0), strict=True)
        ]
        return {
            "matching": self.rule,
            "classes": lines,
            "found": list(found),
            "true": list(self.task.true),
            "confusion": self.matrix.tolist(),
        }


def write_image_scores(store: Store, folder: str, work: Sequence[Work], classes: Classes) -> None:
    """Add ``semantic.miou`` and ``semantic.accuracy`` to the rows of the images.

    Parameters
    ----------
    store, folder
        Where the rows are.
    work
        Of the pieces.
    classes
        Of all images. The mIoU of an image is that of the classes that it has.
    """
    for name, rows in scored_rows(store, folder, work):
        scores = [classes.of(_matrix(classes, each)) for each in _confusions(rows)]
        for figure in ("accuracy", "miou"):
            values = np.array([getattr(each, figure) for each in scores])
            rows = rows.append_column(f"semantic.{figure}", pa.array(values, from_pandas=True))
        buffer = io.BytesIO()
        pq.write_table(rows, buffer)
        store.write(name, buffer.getvalue())


def _confusions(rows: pa.Table) -> list[list[dict[str, int]]]:
    found: list[list[dict[str, int]]] = rows["semantic.confusion"].to_pylist()
    return found


def _matrix(classes: Classes, entries: Sequence[dict[str, int]]) -> Confusion:
    matrix = np.zeros_like(classes.matrix)
    for entry in entries:
        matrix[entry["found"], entry["true"]] = entry["pixels"]  # -1 is the last row
    return matrix
