"""Predictions against ground truth: small sums that add up over shards."""

from __future__ import annotations

from specray.evaluation.baselines import centred_box, centred_mask
from specray.evaluation.boxes import CorLoc, box_iou, coco_boxes, corloc, voc_boxes, xywh_boxes
from specray.evaluation.foreground import (
    ForegroundScore,
    ForegroundSums,
    foreground,
    mean_of_groups,
)

__all__ = [
    "CorLoc",
    "ForegroundScore",
    "ForegroundSums",
    "box_iou",
    "centred_box",
    "centred_mask",
    "coco_boxes",
    "corloc",
    "foreground",
    "mean_of_groups",
    "voc_boxes",
    "xywh_boxes",
]
