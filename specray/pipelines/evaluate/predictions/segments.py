"""Predictions that are masks, or boxes, with scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from specray.evaluation import Prediction, xywh_boxes
from specray.pipelines.evaluate.predictions.base import PatchFeatures, Predicted


@dataclass(frozen=True)
class PredictedSegments(Predicted):
    """An image whose segments have ``score``, ``bbox`` [x, y, width, height] and ``rle``.

    Parameters
    ----------
    size
        (H, W); None where nothing was said of it, and masks tell.
    objects
        For boxes and foreground, the first being the object of the image.
    found
        For instances.
    of_classes
        One mask per class, with ``index``.
    places
        Of the classes among all, by their index.
    grid
        As `Predicted` has it.
    own
        What `features` gives.
    """

    size: tuple[int, int] | None
    objects: Sequence[Mapping[str, Any]] = ()
    found: Sequence[Mapping[str, Any]] = ()
    of_classes: Sequence[Mapping[str, Any]] = ()
    places: Mapping[int, int] | None = None
    grid: tuple[int, int] | None = None
    own: PatchFeatures | None = None

    def box(self) -> NDArray[np.float64]:
        """Of the first object."""
        if not self.objects:
            return np.full(4, np.nan)
        found: NDArray[np.float64] = xywh_boxes([self.objects[0]["bbox"]])[0]
        return found

    def mask(self) -> NDArray[np.uint8]:
        """Union of the objects."""
        if not self.objects:
            return np.zeros(self.size or (0, 0), np.uint8)
        union = coco_mask.decode(coco_mask.merge([each["rle"] for each in self.objects]))
        return np.asarray(union * np.uint8(255), np.uint8)

    def classes(self) -> NDArray[np.int64]:
        """The classes of the pixels."""
        labels = np.full(self.size or (0, 0), -1, np.int64)
        for segment in self.of_classes:
            inside = coco_mask.decode(segment["rle"]).astype(bool)
            labels[inside] = (self.places or {})[segment["index"]]
        return labels

    def instances(self) -> list[Prediction]:
        """As they are."""
        return [
            {"score": each["score"], "bbox": each["bbox"], "rle": each["rle"]}
            if "rle" in each
            else {"score": each["score"], "bbox": each["bbox"]}
            for each in self.found
        ]

    def features(self) -> PatchFeatures:
        """As they were kept."""
        assert self.own is not None
        return self.own
