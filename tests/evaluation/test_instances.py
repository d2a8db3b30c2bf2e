"""Mean IoU of matched instances (golden checks of SpecUnIIS), against pycocotools."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from specray.evaluation import (
    InstanceSums,
    instance_iou,
    label_iou,
    mask_iou,
    match_instances,
    patch_labels,
)
from specray.masks import RLE
from tests.evaluation.shards import sums_in_any_order


def random_ids(seed: int, ids: int) -> NDArray[np.int64]:
    """Ids 0, 7, 14, ..., some of which may be absent."""
    return np.random.default_rng(seed).integers(0, ids + 1, (13, 17)) * 7


def rles(ids: NDArray[np.int64]) -> list[RLE]:
    present = np.unique(ids[ids > 0])
    return [coco_mask.encode(np.asfortranarray(ids == i, dtype=np.uint8)) for i in present]


@pytest.mark.parametrize(("predicted", "true"), [(4, 3), (2, 5), (0, 3), (3, 0), (0, 0)])
def test_iou_of_ids_and_of_masks_agree_with_pycocotools(predicted: int, true: int) -> None:
    prediction, truth = random_ids(0, predicted), random_ids(1, true)
    first, second = rles(prediction), rles(truth)
    expected = coco_mask.iou(first, second, [False] * true)
    expected = np.reshape(expected, (predicted, true))  # it says [] for no masks
    np.testing.assert_allclose(label_iou(prediction, truth), expected)
    np.testing.assert_array_equal(mask_iou(first, second), expected)


def test_matching_is_optimal_not_greedy() -> None:
    assert match_instances(np.array([[0.6, 0.5], [0.55, 0.0]])).finish() == pytest.approx(0.525)


def test_perfect_prediction_scores_one_whatever_the_ids() -> None:
    truth = random_ids(0, 5)
    assert instance_iou(np.where(truth > 0, 100 - truth, 0), truth).finish() == 1


def test_instances_that_are_missed_count_as_zero() -> None:
    assert match_instances(np.array([[0.8, 0.0]])).finish() == pytest.approx(0.4)


def test_instances_beyond_the_true_ones_cost_nothing() -> None:
    assert match_instances(np.array([[0.2], [0.8], [0.1]])).finish() == pytest.approx(0.8)


def test_no_prediction_scores_zero() -> None:
    truth = random_ids(0, 3)
    assert instance_iou(np.zeros_like(truth), truth) == InstanceSums(iou=0, images=1)


def test_image_without_instances_is_not_evaluated() -> None:
    prediction = random_ids(0, 3)
    assert instance_iou(prediction, np.zeros_like(prediction)) == InstanceSums()


def test_instance_that_vanishes_on_the_patch_grid_is_not_counted() -> None:
    truth = np.zeros((32, 48), dtype=np.int64)
    truth[:16, :16] = 1
    truth[20:30, 20:30] = 2  # between the pixels that are picked, 16 apart
    on_grid = patch_labels(truth, (2, 3))
    assert on_grid.tolist() == [[1, 0, 0], [0, 0, 0]]
    assert instance_iou(on_grid, on_grid) == InstanceSums(iou=1, images=1)


def test_patches_take_the_pixel_of_the_floor_rule() -> None:
    assert patch_labels(np.arange(12)[None], (1, 5)).tolist() == [[0, 2, 4, 7, 9]]
    assert patch_labels(np.arange(12)[:, None], (5, 1)).ravel().tolist() == [0, 2, 4, 7, 9]
    np.testing.assert_array_equal(patch_labels(np.arange(200)[None], (1, 100))[0] % 2, 0)


def test_images_count_alike_and_parts_add_up_to_the_whole() -> None:
    states = [match_instances(np.full((1, 1), iou)) for iou in (0.25, 0.5, 1.0)]
    assert states[0] + states[1] + states[2] == InstanceSums(iou=1.75, images=3)


def test_score_is_the_same_however_images_are_divided() -> None:
    states = [instance_iou(random_ids(i, 4), random_ids(i + 99, 3)) for i in range(60)]
    assert len(set(sums_in_any_order(states))) == 1


def test_score_of_nothing_is_not_a_number() -> None:
    assert math.isnan(InstanceSums().finish())


def test_maps_of_different_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\(2, 3\)"):
        instance_iou(np.ones((2, 3), dtype=np.int64), np.ones((3, 2), dtype=np.int64))
