"""Single objects, whatever their class: COCO's AP and AR, and the IoU of matched instances."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from specray.datasets import Kind, Truth
from specray.errors import UserError
from specray.evaluation import (
    Detections,
    Prediction,
    fixed,
    instance_iou,
    mask_iou,
    match_detections,
    match_instances,
    patch_labels,
    unfixed,
)
from specray.masks.rle import RLE
from specray.pipelines.evaluate.predictions.base import Predicted
from specray.pipelines.evaluate.tasks.base import Scored, Sums


@dataclass(frozen=True)
class Instances:
    """AP and AR of masks and of boxes, and SpecUnIIS's mean IoU: in pixels, and on its patches.

    Parameters
    ----------
    masks
        Whether predictions and ground truth have masks; else boxes alone.
    """

    masks: bool

    kind: ClassVar[Kind] = "instances"
    shown: ClassVar[tuple[str, ...]] = ("instance_iou", "true_instances", "found_instances")
    by_group: ClassVar[bool] = False

    def of(self, key: str, unit: str, predicted: Predicted | None, truth: Truth) -> Scored:
        """Match the instances of an image."""
        assert truth.instances is not None
        found: list[Prediction] = [] if predicted is None else list(predicted.instances())
        shapes: tuple[Literal["rle", "bbox"], ...] = ("rle", "bbox") if self.masks else ("bbox",)
        if self.masks and not all("rle" in each for each in truth.instances):
            raise UserError(f"some instances of {key} have a mask in the ground truth, others not")
        try:
            detections: dict[str, Detections] = {
                shape: match_detections(key, found, truth.instances, shape) for shape in shapes
            }
            iou = grid_iou = float("nan")
            if self.masks:
                masks = [each["rle"] for each in found]
                single = [each["rle"] for each in truth.instances if not each["iscrowd"]]
                iou = match_instances(mask_iou(masks, single)).finish()
                if predicted is not None and predicted.grid is not None:
                    grid_iou = _on_grid(masks, single, predicted.grid)
        except ValueError as error:
            raise UserError(f"instances of {key}: {error}") from None
        sums = [value for each in (iou, grid_iou) for value in _counted(each)]
        shown = {
            "instance_iou": iou,
            "true_instances": float(sum(not each["iscrowd"] for each in truth.instances)),
            "found_instances": float(len(found)),
        }
        return Scored(np.array(sums, np.int64), shown, detections)

    def figures(self, sums: Sums) -> dict[str, float]:
        """The mean IoUs; AP comes from what was detected."""
        if not self.masks:
            return {}
        found = {"miou": _mean(*sums[:2])}
        return found | ({"grid_miou": _mean(*sums[2:])} if sums[2] else {})

    def trivial(self, sums: Sums) -> dict[str, tuple[float, str]]:
        """None: there is no instance that any image has."""
        return {}


def _on_grid(found: Sequence[RLE], true: Sequence[RLE], grid: tuple[int, int]) -> float:
    """The mean IoU on the patches, the nearest pixel of each, as published."""
    return instance_iou(_ids(found, grid), _ids(true, grid)).finish()


def _ids(masks: Sequence[RLE], grid: tuple[int, int]) -> NDArray[np.int64]:
    """(h, w) numbers of the masks from 1; of those that overlap the last."""
    ids = np.zeros(grid, np.int64)
    for number, mask in enumerate(masks, start=1):
        ids[patch_labels(coco_mask.decode(mask), grid) > 0] = number
    return ids


def _counted(iou: float) -> tuple[int, int]:
    return (0, 0) if math.isnan(iou) else (1, int(fixed(np.array(iou))))


def _mean(count: np.int64, total: np.int64) -> float:
    return float(unfixed(np.array(total), count))
