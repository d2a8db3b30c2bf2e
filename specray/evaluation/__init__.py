"""Predictions against ground truth: small sums that add up over shards."""

from __future__ import annotations

from specray.evaluation.average_precision import (
    AveragePrecision,
    Detections,
    Prediction,
    TrueInstance,
    match_detections,
)
from specray.evaluation.baselines import centred_box, centred_mask
from specray.evaluation.boxes import CorLoc, box_iou, coco_boxes, corloc, voc_boxes, xywh_boxes
from specray.evaluation.foreground import (
    ForegroundScore,
    ForegroundSums,
    foreground,
    mean_of_groups,
)
from specray.evaluation.instances import (
    InstanceSums,
    instance_iou,
    label_iou,
    mask_iou,
    match_instances,
    patch_labels,
)
from specray.evaluation.semantic import (
    Confusion,
    Matching,
    Scores,
    confusion,
    hungarian_by_iou,
    hungarian_by_pixels,
    many_to_one_by_iou,
    many_to_one_by_pixels,
    score,
)
from specray.evaluation.spread import Spread, spread

__all__ = [
    "AveragePrecision",
    "Confusion",
    "CorLoc",
    "Detections",
    "ForegroundScore",
    "ForegroundSums",
    "InstanceSums",
    "Matching",
    "Prediction",
    "Scores",
    "Spread",
    "TrueInstance",
    "box_iou",
    "centred_box",
    "centred_mask",
    "coco_boxes",
    "confusion",
    "corloc",
    "foreground",
    "hungarian_by_iou",
    "hungarian_by_pixels",
    "instance_iou",
    "label_iou",
    "many_to_one_by_iou",
    "many_to_one_by_pixels",
    "mask_iou",
    "match_detections",
    "match_instances",
    "mean_of_groups",
    "patch_labels",
    "score",
    "spread",
    "voc_boxes",
    "xywh_boxes",
]
