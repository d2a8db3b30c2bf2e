"""Boxes and CorLoc (golden check 17), against pycocotools."""

from __future__ import annotations

import math

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from specray.evaluation import CorLoc, box_iou, coco_boxes, corloc, voc_boxes, xywh_boxes


@pytest.mark.parametrize("seed", range(5))
def test_iou_agrees_with_pycocotools(seed: int) -> None:
    boxes = np.random.default_rng(seed).random((12, 4)) * 100  # [x, y, width, height]
    expected = coco_mask.iou(boxes[:5], boxes[5:], [False] * 7)
    assert expected.any()
    np.testing.assert_allclose(box_iou(xywh_boxes(boxes[:5]), xywh_boxes(boxes[5:])), expected)


def test_empty_boxes_overlap_nothing() -> None:
    assert box_iou([3, 3, 3, 3], [3, 3, 3, 3]).tolist() == [[0]]
    assert box_iou([0, 0, 1, 1], [2, 2, 3, 3]).tolist() == [[0]]


def test_overlap_of_exactly_one_half_is_a_hit() -> None:
    truth = [[0, 0, 10, 10]]
    assert corloc([0, 0, 10, 5], truth) == CorLoc(hits=1, images=1)
    assert corloc([0, 0, 10, 4.999], truth) == CorLoc(hits=0, images=1)


def test_any_object_may_be_hit() -> None:
    assert corloc([0, 0, 10, 10], [[50, 50, 60, 60], [0, 0, 10, 9]]).hits == 1


def test_image_without_objects_is_not_evaluated() -> None:
    assert corloc([0, 0, 10, 10], np.empty((0, 4))) == CorLoc()


def test_voc_box_from_one_to_the_width_covers_the_image() -> None:
    assert voc_boxes([1, 1, 500, 375]).tolist() == [[0, 0, 500, 375]]
    assert corloc([0, 0, 500, 375], voc_boxes([1, 1, 500, 375]), threshold=1.0).hits == 1


def test_coco_corners_are_rounded_and_ours_are_not() -> None:
    assert coco_boxes([[1.4, 2.6, 10.2, 10.2]]).tolist() == [[1, 3, 12, 13]]
    np.testing.assert_allclose(xywh_boxes([1.4, 2.6, 10.2, 10.2]), [[1.4, 2.6, 11.6, 12.8]])


def test_corloc_of_parts_adds_up_to_that_of_the_whole() -> None:
    states = [CorLoc(int(image % 3 == 0), 1) for image in range(12)]
    parts = sum(states[:5], CorLoc()), sum(states[5:], CorLoc())
    assert parts[0] + parts[1] == sum(states, CorLoc()) == CorLoc(4, 12)
    assert CorLoc(4, 12).finish() == pytest.approx(100 / 3)


def test_corloc_of_nothing_is_not_a_number() -> None:
    assert math.isnan(CorLoc().finish())
