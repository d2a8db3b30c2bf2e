"""Boxes: overlap, conventions of the data sets, and CorLoc."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Boxes = NDArray[np.float64]
"""(n, 4) boxes [xmin, ymin, xmax, ymax] in pixels from 0, the maximum exclusive."""


def voc_boxes(boxes: ArrayLike) -> Boxes:
    """Boxes from PASCAL VOC's convention: pixels from 1, the maximum inclusive.

    Examples
    --------
    >>> voc_boxes([[1, 1, 500, 375]])
    array([[  0.,   0., 500., 375.]])
    """
    return _rows(boxes) - [1, 1, 0, 0]


def xywh_boxes(boxes: ArrayLike) -> Boxes:
    """Boxes from [x, y, width, height] in pixels from 0: the convention of our segments."""
    rows = _rows(boxes)
    return np.hstack([rows[:, :2], rows[:, :2] + rows[:, 2:]])


def coco_boxes(boxes: ArrayLike) -> Boxes:
    """Boxes from COCO's [x, y, width, height], corners rounded to whole pixels.

    Crowd annotations must be left out by the caller (the protocol of DSM and LOST).
    """
    return np.rint(xywh_boxes(boxes))


def box_iou(first: ArrayLike, second: ArrayLike) -> NDArray[np.float64]:
    """Intersection over union of every pair of boxes, in continuous coordinates.

    Parameters
    ----------
    first
        (n, 4) boxes [xmin, ymin, xmax, ymax].
    second
        (m, 4) boxes.

    Returns
    -------
    (n, m) float64; 0 for two empty boxes.
    """
    a, b = _rows(first)[:, None], _rows(second)[None]
    sides = np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])
    intersection = np.clip(sides, 0, None).prod(axis=-1)
    union = _area(a) + _area(b) - intersection
    iou: NDArray[np.float64] = intersection / np.where(union > 0, union, 1)
    return iou


@dataclass(frozen=True)
class CorLoc:
    """Images whose single box hits an object, of all images with ground truth.

    States of disjoint sets of images add up to the state of their union.
    """

    hits: int = 0
    images: int = 0

    def __add__(self, other: CorLoc) -> CorLoc:
        return CorLoc(self.hits + other.hits, self.images + other.images)

    def finish(self) -> float:
        """CorLoc in percent; NaN without images."""
        return 100 * self.hits / self.images if self.images else float("nan")


def corloc(box: ArrayLike, truth: ArrayLike, threshold: float = 0.5) -> CorLoc:
    """CorLoc of one image: does its box overlap any object with IoU >= `threshold`?

    Parameters
    ----------
    box
        (4,) box [xmin, ymin, xmax, ymax].
    truth
        (n, 4) boxes of the objects. An image without any is not evaluated.
    threshold
        Least IoU of a hit; a hit of exactly this IoU counts.
    """
    overlaps = box_iou(box, truth)
    if overlaps.size == 0:
        return CorLoc()
    return CorLoc(hits=int(overlaps.max() >= threshold), images=1)


def _rows(boxes: ArrayLike) -> Boxes:
    return np.asarray(boxes, dtype=np.float64).reshape(-1, 4)


def _area(boxes: Boxes) -> NDArray[np.float64]:
    area: NDArray[np.float64] = np.clip(boxes[..., 2:] - boxes[..., :2], 0, None).prod(axis=-1)
    return area
