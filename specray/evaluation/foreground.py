"""Foreground masks against ground truth, averaged over images (DSM, object segmentation)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from specray.evaluation.means import on_grid
from specray.evaluation.sizes import check_shapes


@dataclass(frozen=True)
class ForegroundScore:
    """Means over images of the foreground's IoU, its F1 and the pixel accuracy."""

    iou: float
    """In [0, 1]. Papers call this mean over images "mIoU"."""
    accuracy: float
    """In [0, 1]."""
    f1: float
    """In [0, 1]. SpecUnIIS calls this mean over images "F-score"."""


@dataclass(frozen=True)
class ForegroundSums:
    """Sums over images; states of disjoint sets of images add up to the state of their union.

    The figures of an image are rounded to multiples of 2**-32: floats that add up exactly, in any
    order, up to two million images.
    """

    iou: float = 0.0
    accuracy: float = 0.0
    f1: float = 0.0
    images: int = 0

    def __add__(self, other: ForegroundSums) -> ForegroundSums:
        return ForegroundSums(
            self.iou + other.iou,
            self.accuracy + other.accuracy,
            self.f1 + other.f1,
            self.images + other.images,
        )

    def finish(self) -> ForegroundScore:
        """Means over the images; NaN without images."""
        if self.images == 0:
            return ForegroundScore(float("nan"), float("nan"), float("nan"))
        return ForegroundScore(
            self.iou / self.images, self.accuracy / self.images, self.f1 / self.images
        )


def foreground(prediction: NDArray[np.bool_], truth: NDArray[np.bool_]) -> ForegroundSums:
    """Score of one image; IoU and F1 of two empty masks are 0.

    Parameters
    ----------
    prediction, truth
        (H, W) bool masks of the same size.

    Raises
    ------
    ValueError
        If the sizes differ.
    """
    check_shapes(prediction, truth)
    both = np.count_nonzero(prediction & truth)
    union = np.count_nonzero(prediction | truth)
    iou, f1 = (both / union, 2 * both / (both + union)) if union else (0.0, 0.0)
    accuracy = np.count_nonzero(prediction == truth) / truth.size
    return ForegroundSums(on_grid(iou), on_grid(accuracy), on_grid(f1), images=1)


def mean_of_groups(groups: Iterable[ForegroundSums]) -> ForegroundScore:
    """Mean over groups of the groups' means: frames of a video first, then videos (DAVIS).

    Parameters
    ----------
    groups
        One state per group; empty groups are left out.
    """
    scores = [group.finish() for group in groups if group.images]
    sums = [
        ForegroundSums(on_grid(each.iou), on_grid(each.accuracy), on_grid(each.f1), images=1)
        for each in scores
    ]
    return sum(sums, start=ForegroundSums()).finish()
