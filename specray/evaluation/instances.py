"""Instances against ground truth, class agnostic: mean IoU of matched instances (SpecUnIIS)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask
from scipy.optimize import linear_sum_assignment

from specray.evaluation.means import on_grid
from specray.evaluation.sizes import check_shapes, check_sizes
from specray.masks.rle import RLE


@dataclass(frozen=True)
class InstanceSums:
    """Sums over images with instances; states of disjoint sets add up to that of their union.

    The IoU of an image is rounded to a multiple of 2**-32: floats that add up exactly, in any
    order, up to two million images.
    """

    iou: float = 0.0
    images: int = 0

    def __add__(self, other: InstanceSums) -> InstanceSums:
        return InstanceSums(self.iou + other.iou, self.images + other.images)

    def finish(self) -> float:
        """Mean over the images, in [0, 1] ("mIoU" of the paper); NaN without images."""
        return self.iou / self.images if self.images else float("nan")


def instance_iou(prediction: NDArray[np.integer], truth: NDArray[np.integer]) -> InstanceSums:
    """Score of one image whose instances do not overlap; see `match_instances`.

    Parameters
    ----------
    prediction, truth
        (H, W) instance ids of the same size; 0 is background. An instance may be in several parts.

    Raises
    ------
    ValueError
        If the sizes differ.
    """
    return match_instances(label_iou(prediction, truth))


def match_instances(iou: NDArray[np.float64]) -> InstanceSums:
    """Sum of the IoUs of the best one-to-one matching, over the number of true instances.

    Instances that are predicted beyond the true ones cost nothing: in the published protocol the
    number of instances is taken from the ground truth.

    Parameters
    ----------
    iou
        (P, G) IoU of every predicted with every true instance. An image without true instances is
        not evaluated; one without predicted instances scores 0.

    References
    ----------
    F. Arefi, A. M. Mansourian and S. Kasaei, Deep spectral improvement for unsupervised image
    instance segmentation, PLOS ONE 2024.

    Examples
    --------
    >>> round(match_instances(np.array([[0.6, 0.5], [0.55, 0.0]])).finish(), 9)
    0.525
    """
    true = iou.shape[1]
    if true == 0:
        return InstanceSums()
    matched = iou[linear_sum_assignment(iou, maximize=True)]
    return InstanceSums(on_grid(float(matched.sum()) / true), images=1)


def label_iou(prediction: NDArray[np.integer], truth: NDArray[np.integer]) -> NDArray[np.float64]:
    """IoU of every pair of instances of two maps of ids.

    Parameters
    ----------
    prediction, truth
        (H, W) instance ids of the same size; 0 is background.

    Returns
    -------
    (P, G) float64, instances in the order of their ids.

    Raises
    ------
    ValueError
        If the sizes differ.
    """
    check_shapes(prediction, truth)
    # the 0 in front makes background row and column 0, also where a map has none
    predicted, rows = np.unique(np.append(0, prediction), return_inverse=True)
    true, columns = np.unique(np.append(0, truth), return_inverse=True)
    pairs = np.bincount(rows[1:] * true.size + columns[1:], minlength=predicted.size * true.size)
    both = pairs.reshape(predicted.size, true.size)
    union = both.sum(axis=1, keepdims=True) + both.sum(axis=0) - both
    iou: NDArray[np.float64] = both[1:, 1:] / union[1:, 1:]
    return iou


def mask_iou(predictions: Sequence[RLE], truth: Sequence[RLE]) -> NDArray[np.float64]:
    """IoU of every pair of masks, which may overlap.

    Returns
    -------
    (P, G) float64, also where P or G is 0.

    Raises
    ------
    ValueError
        If the masks are of different sizes.
    """
    check_sizes([*predictions, *truth])
    iou = coco_mask.iou(list(predictions), list(truth), [False] * len(truth))
    return np.asarray(iou, dtype=np.float64).reshape(len(predictions), len(truth))


def patch_labels(ids: NDArray[np.integer], grid: tuple[int, int]) -> NDArray[np.integer]:
    """Ids on the patch grid, as published: nearest neighbour, pixel ``floor(i * in / out)``.

    Instances smaller than a patch may vanish.

    Parameters
    ----------
    ids
        (H, W) ids of the whole image.
    grid
        (h, w) cells.

    Returns
    -------
    (h, w), of the dtype of `ids`.

    Examples
    --------
    >>> patch_labels(np.arange(12)[None], (1, 5))
    array([[0, 2, 4, 7, 9]])
    """
    # in integers: no rounding can pick the pixel before
    rows, columns = (
        np.arange(out) * size // out for out, size in zip(grid, ids.shape, strict=True)
    )
    return ids[np.ix_(rows, columns)]
