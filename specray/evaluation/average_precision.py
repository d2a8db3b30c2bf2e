"""Instances with scores against ground truth, class agnostic: COCO's AP and AR."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NotRequired, TypedDict

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask
from pycocotools.cocoeval import COCOeval

from specray.evaluation.sizes import check_sizes
from specray.masks.rle import RLE

Shape = Literal["rle", "bbox"]


class Prediction(TypedDict):
    """One predicted instance; the segments of an output table are such."""

    score: float
    rle: NotRequired[RLE]
    bbox: NotRequired[Sequence[float]]
    """[x, y, width, height] in pixels."""


class TrueInstance(TypedDict):
    """One instance of the ground truth, as COCO annotates it."""

    rle: NotRequired[RLE]
    bbox: NotRequired[Sequence[float]]
    """[x, y, width, height] in pixels."""
    area: float
    """Pixels of the mask, for boxes too; decides whether the instance is small, medium or large."""
    iscrowd: int
    """1 if many instances are annotated as one: what lies in it is neither right nor wrong."""


@dataclass(frozen=True)
class AveragePrecision:
    """COCO's figures, all in [0, 1]; NaN where there is nothing to find."""

    ap: float
    """Mean over the IoU thresholds 0.50, 0.55, ..., 0.95; at most 100 predictions per image."""
    ap50: float
    """At IoU 0.50 only."""
    ap75: float
    ap_small: float
    """`ap` of instances below 32 x 32 pixels."""
    ap_medium: float
    ap_large: float
    """`ap` of instances above 96 x 96 pixels."""
    ar1: float
    """Recall, mean over the IoU thresholds, of the first prediction of every image."""
    ar10: float
    ar100: float


@dataclass(frozen=True)
class Matches:
    """What AP needs to know of one image: A ranges of area, T thresholds, D predictions."""

    scores: NDArray[np.float64]
    """(D,), descending; at most 100."""
    matched: NDArray[np.bool_]
    """(A, T, D) the prediction found an instance."""
    ignored: NDArray[np.bool_]
    """(A, T, D) the prediction counts neither as right nor as wrong."""
    instances: NDArray[np.int64]
    """(A,) instances to find."""


@dataclass(frozen=True)
class Detections:
    """Predictions matched to the ground truth, for AP over any set of images.

    States of disjoint sets of images add up to the state of their union. Equal scores are ranked by
    key, then by their order within the image, so that `finish` depends neither on the order of the
    images nor on how they were split.
    """

    images: Mapping[str, Matches] = field(default_factory=dict)
    """By key, without images that have neither predictions nor instances."""

    def __add__(self, other: Detections) -> Detections:
        if twice := self.images.keys() & other.images.keys():
            raise ValueError(f"evaluated twice: {min(twice)!r}")
        return Detections({**self.images, **other.images})

    def finish(self) -> AveragePrecision:
        """AP and AR over all images, by COCO's accumulation."""
        images = [self.images[key] for key in sorted(self.images)]
        evaluation = _evaluation("rle")  # what was compared no longer matters
        evaluation.params.imgIds = list(range(len(images)))
        evaluation._paramsEval = evaluation.params
        evaluation.evalImgs = [
            {
                "dtScores": image.scores,
                "dtMatches": image.matched[area],
                "dtIgnore": image.ignored[area],
                "gtIgnore": np.zeros(image.instances[area]),
            }
            for area in range(len(evaluation.params.areaRng))
            for image in images
        ]
        with contextlib.redirect_stdout(io.StringIO()):  # it reports its progress there
            evaluation.accumulate()
        precision = evaluation.eval["precision"][:, :, 0]  # (T, recalls, A, limits)
        recall = evaluation.eval["recall"][:, 0]  # (T, A, limits)
        return AveragePrecision(
            ap=_mean(precision[:, :, 0, 2]),
            ap50=_mean(precision[0, :, 0, 2]),
            ap75=_mean(precision[5, :, 0, 2]),
            ap_small=_mean(precision[:, :, 1, 2]),
            ap_medium=_mean(precision[:, :, 2, 2]),
            ap_large=_mean(precision[:, :, 3, 2]),
            ar1=_mean(recall[:, 0, 0]),
            ar10=_mean(recall[:, 0, 1]),
            ar100=_mean(recall[:, 0, 2]),
        )


def match_detections(
    key: str,
    predictions: Sequence[Prediction],
    truth: Sequence[TrueInstance],
    shape: Shape,
) -> Detections:
    """Match the predictions of one image to its ground truth, whatever their classes.

    Parameters
    ----------
    key
        Name of the image.
    predictions
        In any order; those of equal score are ranked as they come.
    truth
        Instances of the image, crowds included.
    shape
        What is compared: ``rle``, the masks, or ``bbox``, the boxes.

    Raises
    ------
    ValueError
        If masks are of different sizes.

    References
    ----------
    T.-Y. Lin et al., Microsoft COCO: common objects in context, ECCV 2014.
    """
    if not predictions and not truth:
        return Detections()
    if shape == "rle":
        check_sizes([each["rle"] for each in (*predictions, *truth)])
    # COCOeval numbers from 1: an id of 0 would read as "no match"
    found = [_found(i, prediction, shape) for i, prediction in enumerate(predictions, start=1)]
    true = [_true(i, instance, shape) for i, instance in enumerate(truth, start=1)]
    evaluation = _evaluation(shape)
    params = evaluation.params
    image, category = params.imgIds[0], params.catIds[0]
    evaluation._dts[image, category] = found
    evaluation._gts[image, category] = true
    evaluation.ious[image, category] = evaluation.computeIoU(image, category)
    per_area = [
        evaluation.evaluateImg(image, category, area, params.maxDets[-1]) for area in params.areaRng
    ]
    matches = Matches(
        scores=np.array(per_area[0]["dtScores"], dtype=np.float64),
        matched=np.stack([each["dtMatches"] > 0 for each in per_area]),
        ignored=np.stack([each["dtIgnore"] for each in per_area]),
        instances=np.array([np.count_nonzero(each["gtIgnore"] == 0) for each in per_area]),
    )
    return Detections({key: matches})


def _evaluation(shape: Shape) -> Any:
    """COCO's evaluation of one image and one category that stands for all."""
    evaluation = COCOeval(iouType="segm" if shape == "rle" else "bbox")
    evaluation.params.useCats = 0
    evaluation.params.imgIds = evaluation.params.catIds = [1]
    return evaluation


def _found(identity: int, prediction: Prediction, shape: Shape) -> dict[str, Any]:
    if shape == "rle":
        compared = {"segmentation": prediction["rle"], "area": coco_mask.area(prediction["rle"])}
    else:
        _, _, width, height = prediction["bbox"]
        compared = {"bbox": list(prediction["bbox"]), "area": width * height}
    return {"id": identity, "score": prediction["score"], **compared}


def _true(identity: int, instance: TrueInstance, shape: Shape) -> dict[str, Any]:
    if shape == "rle":
        compared: dict[str, Any] = {"segmentation": instance["rle"]}
    else:
        compared = {"bbox": list(instance["bbox"])}
    crowd = instance["iscrowd"]
    return {
        "id": identity,
        "area": instance["area"],
        "iscrowd": crowd,
        "ignore": crowd,
        **compared,
    }


def _mean(values: NDArray[np.float64]) -> float:
    """COCO writes -1 everywhere if there is no instance to find."""
    return float("nan") if values.min() < 0 else float(values.mean())
