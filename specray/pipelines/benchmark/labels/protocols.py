"""How good semantic labels are on CamVid, beside k-means on bare patches.

Two protocols. "transductive", that of DSM: classes are fitted to 47 images of the test split, and
scored on these. "held out": classes are fitted to the training split, and scored on the test split.
In both the classes are matched to those of the ground truth one to one, by IoU, on what is scored.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask
from sklearn.cluster import MiniBatchKMeans
from sklearn.preprocessing import normalize

from specray.evaluation import (
    Scores,
    confusion,
    hungarian_by_iou,
    many_to_one_by_iou,
    score,
    spread,
)
from specray.masks import ImageGeometry, RefineConfig, Refiner, to_image
from specray.masks.config import Refine
from specray.pipelines.benchmark.labels.camvid import IGNORED, Split
from specray.pipelines.labels.config import Background, Source
from specray.pipelines.labels.labeller import Labeller
from specray.pipelines.labels.maps import refined
from specray.pipelines.labels.points import points_of
from specray.semantics import ClusterConfig, fit

SEEDS: Final = 5
LabelMap = NDArray[np.int64]


@dataclass(frozen=True)
class Setting:
    """A way to label."""

    name: str
    source: Source
    refine: Refine = "none"
    background: Background = "class"
    clusters: dict[str, Any] = field(default_factory=dict)
    """Of `ClusterConfig`, where they are not its defaults."""


SETTINGS: Final = (
    Setting("superpixels, refined (default)", "superpixels", "fast"),
    Setting("superpixels", "superpixels"),
    Setting("patches", "patches"),
    Setting("regions", "regions"),
    Setting("regions, DSM clusters", "regions", "none", "merged", {"spherical": False}),
)

DSM: Final = Setting("regions by crops, DSM", "regions", "none", "merged", {"spherical": False})
"""The paper's preset; its segments are described by crops."""


def setting_row(
    setting: Setting, fitted: Split, scored: Split, names: Sequence[str], cell: int
) -> dict[str, Any]:
    """Scores of a setting: mean and spread over seeds, and the mean IoU of every class.

    Parameters
    ----------
    setting
        How to label.
    fitted, scored
        Where the classes come from, and where they are scored.
    names
        Of the true classes; there are as many clusters.
    cell
        Side of a patch in pixels.
    """
    points = points_of(fitted.segments, setting.source, setting.background != "class")
    config = ClusterConfig(classes=len(names), **setting.clusters)
    results = []
    for seed in range(SEEDS):
        found = fit(points.features, config=config, seed=seed, features={"source": setting.source})
        labeller = Labeller(found, setting.source, setting.background, cell, None)
        results.append(_scores(_maps(labeller, scored, setting.refine), scored, names))
    return _row(setting.name, results)


def baseline_row(fitted: Split, scored: Split, names: Sequence[str], cell: int) -> dict[str, Any]:
    """The plain answer: scikit-learn's k-means on all patches of unit length, no segments."""
    points, targets = (points_of(split.segments, "patches") for split in (fitted, scored))
    train, test = (normalize(each.features.astype(np.float32)) for each in (points, targets))
    results = []
    for seed in range(SEEDS):
        model = MiniBatchKMeans(len(names), batch_size=4096, random_state=seed, n_init=3)
        labels = model.fit(train).predict(test)
        maps = [
            to_image(labels[targets.rows == i].reshape(geometry.grid_h, -1), geometry)
            for i, geometry in enumerate(_geometries(scored, cell))
        ]
        results.append(_scores(iter(maps), scored, names))
    return _row("k-means of scikit-learn on patches", results)


def _geometries(split: Split, cell: int) -> Iterator[ImageGeometry]:
    columns = split.segments.select(["height", "width", "grid_h", "grid_w"]).to_pylist()
    for row in columns:
        size = (row["height"], row["width"])
        yield ImageGeometry(*size, *size, cell, row["grid_h"], row["grid_w"])


def _maps(labeller: Labeller, split: Split, refine: Refine) -> Iterator[LabelMap]:
    for i, row in enumerate(labeller(split.segments)):
        segments = row["segments"]
        if refine != "none":
            segments = refined(segments, Refiner(split.pixels(i), RefineConfig(refine)))
        label_map = np.full((row["height"], row["width"]), -1, np.int64)
        for segment in segments:
            label_map[coco_mask.decode(segment.rle).astype(bool)] = segment.index
        yield label_map


def _scores(maps: Iterator[LabelMap], split: Split, names: Sequence[str]) -> tuple[Scores, Scores]:
    """One to one, and many to one."""
    size = len(names)
    matrix = np.zeros((size + 1, size), np.int64)
    for predicted, truth in zip(maps, split.truth, strict=True):
        matrix += confusion(predicted, truth, size, size, IGNORED)
    one = score(matrix, hungarian_by_iou(matrix), names)
    return one, score(matrix, many_to_one_by_iou(matrix), names)


def _row(name: str, results: Sequence[tuple[Scores, Scores]]) -> dict[str, Any]:
    miou, accuracy, many = (
        spread([100 * value for value in values])
        for values in (
            [one.miou for one, _ in results],
            [one.accuracy for one, _ in results],
            [many.miou for _, many in results],
        )
    )
    of_classes = {
        name: round(100 * float(np.mean([one.iou[name] for one, _ in results])), 1)
        for name in results[0][0].iou
    }
    return {
        "name": name,
        "mIoU": miou.mean,
        "sd": miou.sd,
        "accuracy": accuracy.mean,
        "accuracy sd": accuracy.sd,
        "many to one mIoU": many.mean,
        "seeds": miou.n,
        "IoU": of_classes,
    }
