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
from specray.evaluation.boundary import BoundaryScore, boundary_f
from specray.evaluation.boxes import CorLoc, box_iou, coco_boxes, corloc, voc_boxes, xywh_boxes
from specray.evaluation.fbeta import fbeta_curve
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
from specray.evaluation.means import (
    FIXED,
    Means,
    fixed,
    interval,
    replicate_weights,
    replicated,
    unfixed,
)
from specray.evaluation.panoptic import PanopticScore, PanopticScores, PanopticSums, panoptic
from specray.evaluation.probe import ProbeSums, classify, probe_sums
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
    "FIXED",
    "AveragePrecision",
    "BoundaryScore",
    "Confusion",
    "CorLoc",
    "Detections",
    "ForegroundScore",
    "ForegroundSums",
    "InstanceSums",
    "Matching",
    "Means",
    "PanopticScore",
    "PanopticScores",
    "PanopticSums",
    "Prediction",
    "ProbeSums",
    "Scores",
    "Spread",
    "TrueInstance",
    "boundary_f",
    "box_iou",
    "centred_box",
    "centred_mask",
    "classify",
    "coco_boxes",
    "confusion",
    "corloc",
    "fbeta_curve",
    "fixed",
    "foreground",
    "hungarian_by_iou",
    "hungarian_by_pixels",
    "instance_iou",
    "interval",
    "label_iou",
    "many_to_one_by_iou",
    "many_to_one_by_pixels",
    "mask_iou",
    "match_detections",
    "match_instances",
    "mean_of_groups",
    "panoptic",
    "patch_labels",
    "probe_sums",
    "replicate_weights",
    "replicated",
    "score",
    "spread",
    "unfixed",
    "voc_boxes",
    "xywh_boxes",
]
