"""Does the one box of an image hit an object? (DSM, object localisation.)"""

from __future__ import annotations

from typing import ClassVar, Final

import numpy as np

from specray.datasets import Kind, Truth
from specray.evaluation import box_iou, centred_box
from specray.pipelines.evaluate.predictions.base import Predicted
from specray.pipelines.evaluate.tasks.base import Scored, Sums
from specray.pipelines.evaluate.tasks.sizes import SIDES

HIT: Final = 0.5
"""Least IoU of a hit."""


class Localisation:
    """CorLoc. Images without any object are not evaluated."""

    kind: ClassVar[Kind] = "boxes"
    shown: ClassVar[tuple[str, ...]] = ("box_iou",)
    by_group: ClassVar[bool] = True

    def of(self, key: str, unit: str, predicted: Predicted | None, truth: Truth) -> Scored:
        """The largest IoU of the box with that of an object."""
        assert truth.boxes is not None
        if not len(truth.boxes):
            return Scored(np.zeros(3 + len(SIDES), np.int64), {"box_iou": float("nan")})
        iou = 0.0
        if predicted is not None:
            box = predicted.box()
            iou = 0.0 if np.isnan(box).any() else float(box_iou(box, truth.boxes).max())
        middle = np.zeros(len(SIDES), np.bool_)
        if truth.size is not None:
            boxes = [centred_box(*truth.size, side) for side in SIDES]
            middle = box_iou(boxes, truth.boxes).max(axis=1) >= HIT
        sums = np.array([1, iou >= HIT, truth.size is not None, *middle], np.int64)
        return Scored(sums, {"box_iou": iou})

    def figures(self, sums: Sums) -> dict[str, float]:
        """CorLoc."""
        return {"corloc": _share(sums[1], sums[0])}

    def trivial(self, sums: Sums) -> dict[str, tuple[float, str]]:
        """That of the best box in the middle."""
        shares = [_share(hits, sums[2]) for hits in sums[3:]]
        best = int(np.argmax(shares))
        return {"corloc": (shares[best], f"a box in the middle, {SIDES[best]} of the sides")}


def _share(part: int, whole: int) -> float:
    return float(part / whole) if whole else float("nan")
