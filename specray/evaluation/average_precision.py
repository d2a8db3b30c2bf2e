"""Instances with scores against ground truth, class agnostic: COCO's AP and AR."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from itertools import product
from typing import Any, Literal, NotRequired, TypedDict

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask
from pycocotools.cocoeval import COCOeval

from specray.evaluation.matches import (
    AREAS,
    THRESHOLDS,
    Matches,
    Ranked,
    collected,
    matches_of,
    ranked,
    together,
)
from specray.evaluation.precision_recall import Curve, average_precision, curves, recall
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


@dataclass(frozen=True, eq=False)
class Detections:
    """Predictions matched to the ground truth, for AP over any set of images.

    States of disjoint sets of images add up to the state of their union. Equal scores are ranked by
    key, then by their order within the image, so that `finish` depends neither on the order of the
    images nor on how they were split.
    """

    parts: tuple[Matches, ...] = ()
    """Of disjoint sets, without images that have neither predictions nor instances."""

    def __add__(self, other: Detections) -> Detections:
        for ours, theirs in product(self.parts, other.parts):
            if not ours.predictions.keys().isdisjoint(theirs.predictions.keys()):
                twice = min(ours.predictions.keys() & theirs.predictions.keys())
                raise ValueError(f"evaluated twice: {twice!r}")
        return Detections(collected((*self.parts, *other.parts)))

    @property
    def keys(self) -> list[str]:
        """Of the images, sorted; without those that have neither predictions nor instances."""
        return sorted(key for part in self.parts for key in part.predictions)

    def finish(self) -> AveragePrecision:
        """AP and AR over all images, by COCO's accumulation."""
        if not self.parts:
            return AveragePrecision(*[float("nan")] * len(fields(AveragePrecision)))
        ranking = ranked(together(self.parts))
        once = np.ones((len(ranking.instances), 1), dtype=np.int64)
        precision = [_figures(average_precision, ranking, area, once)[0] for area in range(AREAS)]
        best = [ranking.best(limit) for limit in (1, 10, 100)]
        recalls = [float(_figures(recall, each, 0, once).mean()) for each in best]
        means = [float(each.mean()) for each in precision]
        return AveragePrecision(
            ap=means[0],
            ap50=float(precision[0][0]),
            ap75=float(precision[0][5]),
            ap_small=means[1],
            ap_medium=means[2],
            ap_large=means[3],
            ar1=recalls[0],
            ar10=recalls[1],
            ar100=recalls[2],
        )

    def replicates(self, weights: NDArray[np.integer]) -> dict[str, NDArray[np.float64]]:
        """AP and AR of sets in which an image is as often as its weight says.

        Parameters
        ----------
        weights
            (images, R), rows in the order of `keys`: those of `replicate_weights`. A column of ones
            gives the figures of `finish`.

        Returns
        -------
        (R,) float64 each of ``ap``, ``ap50`` and ``ar100``; NaN where there is nothing to find.

        Raises
        ------
        ValueError
            If there is not a row per image, or a weight is below 0.
        """
        images = sum(map(len, self.parts))
        if len(weights) != images or (weights < 0).any():
            raise ValueError(f"weights of {images} images, 0 or more: {weights.shape=}")
        if not self.parts:
            return {name: np.full(weights.shape[1], np.nan) for name in ("ap", "ap50", "ar100")}
        ranking = ranked(together(self.parts))
        precision = _figures(average_precision, ranking, 0, weights)
        recalls = _figures(recall, ranking, 0, weights)
        return {
            "ap": precision.mean(axis=1),
            "ap50": precision[:, 0],
            "ar100": recalls.mean(axis=1),
        }


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
    matches = matches_of(
        key,
        scores=per_area[0]["dtScores"],
        matched=np.stack([each["dtMatches"] > 0 for each in per_area]),
        ignored=np.stack([each["dtIgnore"] for each in per_area]),
        instances=[int(np.count_nonzero(each["gtIgnore"] == 0)) for each in per_area],
    )
    return Detections((matches,))


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


def _figures(
    figure: Callable[[Curve, NDArray[np.int64], int], float],
    ranking: Ranked,
    area: int,
    weights: NDArray[np.integer],
) -> NDArray[np.float64]:
    """(R, T) of a range of area, by (images, R) weights."""
    every = curves(ranking, area)
    true = ranking.instances[:, area].astype(np.int64)
    rows = []
    for column in range(weights.shape[1]):  # one by one: all of them may be a large array
        often = weights[:, column].astype(np.int64)
        rows.append([figure(curve, often, int(true @ often)) for curve in every])
    return np.array(rows).reshape(-1, THRESHOLDS)
