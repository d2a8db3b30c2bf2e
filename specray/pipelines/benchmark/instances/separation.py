"""What separates the instances of an image: methods side by side, with K given and without."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, get_args

import numpy as np
from pycocotools import mask as coco_mask

from specray.evaluation import (
    Detections,
    InstanceSums,
    Prediction,
    instance_iou,
    mask_iou,
    match_detections,
    match_instances,
)
from specray.masks import (
    RLE,
    SPECUNIIS,
    CountRule,
    EmbeddingConfig,
    ImageGeometry,
    Instances,
    RefineConfig,
    component_labels,
    segments_from_labels,
    spectral_instances,
    tree_instances,
)
from specray.masks.config import Refine
from specray.pipelines.benchmark.instances.cases import Case
from specray.pipelines.config import SegmentConfig
from specray.pipelines.masking import Masking
from specray.pipelines.masks_apart import make_masks

SEED: Final = 0
MASKED: Final = replace(SPECUNIIS, median="masked")
INSIDE: Final = replace(SPECUNIIS, deviation_inside=True)

Method = Callable[[Case], Instances]


def separation_rows(split: str, cases: Sequence[Case], patch: int) -> Iterator[dict[str, Any]]:
    """Score every method; see `methods`.

    Parameters
    ----------
    split
        Whose figures these are.
    cases
        Images.
    patch
        Pixels of a side of a patch.

    Yields
    ------
    Rows in percent, but for ``instances``, the mean number per image. ``patch_miou`` and ``miou``
    are those on the grid, of instances that it shows, and in pixels. AP and AR compare masks with
    the published annotations, whatever their classes; crowds are ignored.
    """
    truths = [_rles(case) for case in cases]
    for name, method in methods().items():
        sums = _Sums()
        for case, truth in zip(cases, truths, strict=True):
            found = method(case)
            sums.add(case, truth, _predictions(case, found, patch))
            sums.on_grid += instance_iou(found.labels, case.patch_ids)
        yield {"name": f"{split} {name}", **sums.row()}


def job_rows(
    split: str, cases: Sequence[Case], config: SegmentConfig, patch: int
) -> Iterator[dict[str, Any]]:
    """Score what the segment job writes, with each refinement, in pixels.

    Parameters
    ----------
    split, cases, patch
        As of `separation_rows`, and so the rows.
    config
        Of the job; its only method is ``instances``.
    """
    truths = [_rles(case) for case in cases]
    for refine in get_args(Refine):
        masking = Masking(replace(config, refinement=RefineConfig(refine)), patch)
        sums = _Sums()
        for case, truth in zip(cases, truths, strict=True):
            sums.add(case, truth, make_masks(masking, case.prepared, case.spectrum)["segments"])
        yield {"name": f"{split} job, refine {refine}", **sums.row()}


def methods() -> dict[str, Method]:
    """What is compared, by name.

    "K given" is the number of true instances on the grid, as in the paper. "Components" are the
    connected ones of the foreground, the largest first: the trivial answer.
    """
    return {
        "spectral, K given": _oracle(_spectral(SPECUNIIS)),
        "spectral, eigengap": _counting("eigengap", SPECUNIIS),
        "spectral, silhouette": _counting("silhouette", SPECUNIIS),
        "masked median, K given": _oracle(_spectral(MASKED)),
        "masked median, eigengap": _counting("eigengap", MASKED),
        "masked median, silhouette": _counting("silhouette", MASKED),
        "inner deviation, K given": _oracle(_spectral(INSIDE)),
        "components, K given": _oracle(_components),
        "components": _components,
        "tree, K given": _oracle(_tree),
        "tree": _tree,
    }


def _oracle(method: Callable[[Case, int], Instances]) -> Method:
    def with_count(case: Case) -> Instances:
        if case.count == 0:
            return Instances(np.zeros(case.grid, np.int64), np.zeros(0))
        return method(case, case.count)

    return with_count


def _spectral(embedding: EmbeddingConfig) -> Callable[[Case, int | CountRule], Instances]:
    return lambda case, count: spectral_instances(
        case.features, case.grid, count, SEED, embedding, case.foreground
    )


def _counting(rule: CountRule, embedding: EmbeddingConfig) -> Method:
    method = _spectral(embedding)
    return lambda case: method(case, rule)


def _components(case: Case, count: int | None = None) -> Instances:
    labels = component_labels(case.foreground)
    if count is not None:
        labels[labels > count] = 0
    return Instances(labels, np.bincount(labels.ravel())[1:] / labels.size)


def _tree(case: Case, count: int | None = None) -> Instances:
    return tree_instances(case.features, case.grid, count)


@dataclass
class _Sums:
    """Of one method."""

    on_grid: InstanceSums = field(default_factory=InstanceSums)
    in_pixels: InstanceSums = field(default_factory=InstanceSums)
    detections: Detections = field(default_factory=Detections)
    instances: int = 0
    images: int = 0

    def add(self, case: Case, truth: Sequence[RLE], predictions: Sequence[Prediction]) -> None:
        key = case.prepared.key
        self.in_pixels += match_instances(mask_iou([each["rle"] for each in predictions], truth))
        self.detections += match_detections(key, predictions, case.annotations, "rle")
        self.instances += len(predictions)
        self.images += 1

    def row(self) -> dict[str, Any]:
        precision = self.detections.finish()
        on_grid = {"patch_miou": 100 * self.on_grid.finish()} if self.on_grid.images else {}
        return on_grid | {
            "miou": 100 * self.in_pixels.finish(),
            "instances": self.instances / self.images,
            "ap": 100 * precision.ap,
            "ap50": 100 * precision.ap50,
            "ar1": 100 * precision.ar1,
            "ar10": 100 * precision.ar10,
            "ar100": 100 * precision.ar100,
            "images": self.images,
        }


def _predictions(case: Case, found: Instances, patch: int) -> list[Prediction]:
    """The instances in pixels, as whole patches."""
    height, width = case.ids.shape
    geometry = ImageGeometry(height, width, height, width, patch, *case.grid)
    segments = segments_from_labels(found.labels - 1, geometry, "instance", found.scores)
    return [{"score": segment.score, "rle": segment.rle} for segment in segments]


def _rles(case: Case) -> list[RLE]:
    """The true instances in pixels, in the order of their ids."""
    masks = case.ids[..., None] == np.unique(case.ids[case.ids > 0])
    rles: list[RLE] = coco_mask.encode(np.asfortranarray(masks, np.uint8))
    return rles
