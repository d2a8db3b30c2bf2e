"""Foreground IoU, F1 and accuracy, against scikit-learn."""

from __future__ import annotations

import math
from dataclasses import astuple

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, f1_score, jaccard_score

from specray.evaluation import ForegroundScore, ForegroundSums, foreground, mean_of_groups
from tests.evaluation.shards import sums_in_any_order


@pytest.mark.parametrize("seed", range(5))
def test_score_of_an_image_agrees_with_sklearn(seed: int) -> None:
    prediction, truth = np.random.default_rng(seed).random((2, 13, 17)) < 0.4
    sums = foreground(prediction, truth)
    assert sums.iou == pytest.approx(jaccard_score(truth.ravel(), prediction.ravel()))
    assert sums.f1 == pytest.approx(f1_score(truth.ravel(), prediction.ravel()))
    assert sums.accuracy == pytest.approx(accuracy_score(truth.ravel(), prediction.ravel()))


def test_two_empty_masks_have_iou_and_f1_zero() -> None:
    empty = np.zeros((3, 4), dtype=np.bool_)
    assert foreground(empty, empty) == ForegroundSums(iou=0, accuracy=1, f1=0, images=1)


def test_images_count_alike_whatever_their_size() -> None:
    right, wrong = np.ones((2, 2), dtype=np.bool_), np.zeros((50, 50), dtype=np.bool_)
    total = foreground(right, right) + foreground(wrong, ~wrong)
    assert total.finish() == ForegroundScore(iou=0.5, accuracy=0.5, f1=0.5)


def test_groups_count_alike_whatever_their_number_of_images() -> None:
    groups = [ForegroundSums(9.0, 9.0, 8.0, 10), ForegroundSums(0.1, 0.5, 0.4, 1)]
    score = mean_of_groups([*groups, ForegroundSums()])
    assert astuple(score) == pytest.approx((0.5, 0.7, 0.6))


def test_scores_are_the_same_however_images_are_divided() -> None:
    random = np.random.default_rng(0)
    states = [foreground(*(random.random((2, 13, 17)) < 0.4)) for _ in range(60)]
    assert len(set(sums_in_any_order(states))) == 1
    groups = [states[0] + states[1], *states[2:]]
    assert len({mean_of_groups([groups[i] for i in random.permutation(59)]) for _ in range(9)}) == 1


def test_score_of_nothing_is_not_a_number() -> None:
    assert math.isnan(ForegroundSums().finish().iou)
    assert math.isnan(mean_of_groups([]).accuracy)


def test_masks_of_different_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\(2, 3\)"):
        foreground(np.ones((2, 3), dtype=np.bool_), np.ones((3, 2), dtype=np.bool_))
