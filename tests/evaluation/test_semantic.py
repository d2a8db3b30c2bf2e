"""Semantic scores (golden check 19 of DSM), against scikit-learn and brute force."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import permutations

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import accuracy_score, confusion_matrix, jaccard_score

from specray.evaluation.semantic import (
    Confusion,
    Matching,
    confusion,
    hungarian_by_iou,
    hungarian_by_pixels,
    many_to_one_by_iou,
    many_to_one_by_pixels,
    score,
)

NAMES = ["sky", "road", "tree", "car"]
CLASSES = len(NAMES)
Matcher = Callable[[Confusion], Matching]
MATCHINGS: list[Matcher] = [
    hungarian_by_iou,
    hungarian_by_pixels,
    many_to_one_by_iou,
    many_to_one_by_pixels,
]


def maps(seed: int, clusters: int) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
    """Clusters that follow the classes half of the time, holes included; some truth is ignored."""
    random = np.random.default_rng(seed)
    truth = random.integers(0, CLASSES, (23, 29))
    noise = random.integers(-1, clusters, truth.shape)
    predicted = np.where(random.random(truth.shape) < 0.5, truth % clusters, noise)
    truth[random.random(truth.shape) < 0.1] = 255
    return predicted, truth.astype(np.uint8)


def confused(seed: int, clusters: int) -> Confusion:
    return confusion(*maps(seed, clusters), clusters, CLASSES, ignore=255)


def right(matrix: Confusion, matching: Matching) -> int:
    """Pixels of the class of their cluster."""
    return sum(int(matrix[k, c]) for k, c in enumerate(matching) if c >= 0)


@pytest.mark.parametrize("clusters", [1, 4, 7])
def test_confusion_agrees_with_sklearn_and_drops_ignored_truth_alone(clusters: int) -> None:
    predicted, truth = maps(0, clusters)
    counted = truth != 255
    rows, columns = predicted[counted] % (clusters + 1), truth[counted].astype(int)
    size = max(clusters + 1, CLASSES)
    expected = confusion_matrix(rows, columns, labels=range(size))[: clusters + 1, :CLASSES]
    found = confusion(predicted, truth, clusters, CLASSES, ignore=255)
    assert found.dtype == np.int64
    np.testing.assert_array_equal(found, expected)
    assert found.sum() == counted.sum() > found[-1].sum() > 0


def test_confusion_of_images_adds_up_to_that_of_all_of_them() -> None:
    pairs = [maps(seed, 5) for seed in range(3)]
    predicted, truth = (np.concatenate(each) for each in zip(*pairs, strict=True))
    total = sum(confused(seed, 5) for seed in range(3))
    expected = confusion(predicted, truth, 5, CLASSES, ignore=255)
    np.testing.assert_array_equal(total, expected)


@pytest.mark.parametrize("matching", MATCHINGS)
def test_permuting_the_clusters_leaves_the_scores_unchanged(matching: Matcher) -> None:
    for clusters in (3, 4, 6):
        matrix = confused(1, clusters)
        order = np.random.default_rng(0).permutation(clusters)
        permuted = np.vstack([matrix[order], matrix[-1:]])
        before = score(matrix, matching(matrix), NAMES)
        after = score(permuted, matching(permuted), NAMES)
        assert (after.miou, after.accuracy, after.iou) == (
            before.miou,
            before.accuracy,
            before.iou,
        )
        assert after.matching == {
            place: before.matching[cluster]
            for place, cluster in enumerate(order.tolist())
            if cluster in before.matching
        }


@pytest.mark.parametrize("matching", MATCHINGS)
def test_a_perfect_map_scores_one_whatever_the_ids(matching: Matcher) -> None:
    _, truth = maps(0, CLASSES)
    predicted = np.array([2, 0, 3, 1])[truth % CLASSES]  # 255 too is predicted something
    matrix = confusion(predicted, truth, CLASSES, CLASSES, ignore=255)
    found = score(matrix, matching(matrix), NAMES)
    assert (found.miou, found.accuracy) == (1, 1)
    assert found.matching == {2: "sky", 0: "road", 3: "tree", 1: "car"}


@pytest.mark.parametrize("clusters", [2, 4, 6])
@pytest.mark.parametrize("seed", range(3))
def test_hungarian_matchings_are_the_best_of_all_one_to_one(seed: int, clusters: int) -> None:
    matrix = confused(seed, clusters)
    sides = np.arange(max(clusters, CLASSES))  # those beyond are of no cluster or of no class
    every = [
        np.where(np.array(order[:clusters]) < CLASSES, order[:clusters], -1)
        for order in permutations(sides.tolist())
    ]
    # classes keep one cluster at most, so the sum of matched IoUs is the sum of the classes' IoUs
    best_iou = max(score(matrix, matching, NAMES).miou for matching in every)
    assert score(matrix, hungarian_by_iou(matrix), NAMES).miou == pytest.approx(best_iou)
    most = max(right(matrix, matching) for matching in every)
    assert right(matrix, hungarian_by_pixels(matrix)) == most


def test_matchings_by_iou_and_by_pixels_differ_where_classes_are_of_unlike_size() -> None:
    matrix = np.array([[60, 10], [40, 0], [0, 0]])
    assert hungarian_by_pixels(matrix).tolist() == [0, -1]  # 60 pixels against 50
    assert hungarian_by_iou(matrix).tolist() == [0, -1]
    matrix = np.array([[60, 30], [25, 0], [0, 0]])
    assert hungarian_by_pixels(matrix).tolist() == [0, -1]  # 60 pixels against 55
    assert hungarian_by_iou(matrix).tolist() == [1, 0]  # 1/3 + 5/17 against 12/23


def test_the_majority_maps_two_clusters_to_one_class() -> None:
    matrix = np.array([[50, 2, 0, 0], [40, 0, 1, 0], [0, 9, 30, 0], [0, 0, 0, 8], [0, 0, 0, 0]])
    for majority in (many_to_one_by_iou, many_to_one_by_pixels):
        found = score(matrix, majority(matrix), NAMES)
        assert found.matching == {0: "sky", 1: "sky", 2: "tree", 3: "car"}
        assert found.iou["sky"] == pytest.approx(90 / 93)
        assert found.accuracy == pytest.approx(128 / 140)


def test_the_majority_by_iou_finds_a_small_class_that_the_one_by_pixels_misses() -> None:
    matrix = np.array([[900, 0], [60, 40], [0, 0]])
    assert many_to_one_by_pixels(matrix).tolist() == [0, 0]
    assert many_to_one_by_iou(matrix).tolist() == [0, 1]


@pytest.mark.parametrize("matching", MATCHINGS)
@pytest.mark.parametrize("clusters", [3, 4, 6])
def test_scores_of_the_matched_map_agree_with_sklearn(matching: Matcher, clusters: int) -> None:
    predicted, truth = maps(2, clusters)
    matrix = confusion(predicted, truth, clusters, CLASSES, ignore=255)
    to_class = np.append(matching(matrix), -1)  # -1 of the map is -1 of the classes
    counted = truth != 255
    mapped, true = to_class[predicted[counted]], truth[counted].astype(int)
    expected = jaccard_score(true, mapped, labels=range(CLASSES), average=None)
    found = score(matrix, matching(matrix), NAMES)
    assert list(found.iou) == NAMES
    assert list(found.iou.values()) == pytest.approx(expected.tolist())
    assert found.miou == pytest.approx(expected.mean())
    assert found.accuracy == pytest.approx(accuracy_score(true, mapped))


def test_pixels_without_a_prediction_are_wrong() -> None:
    truth = np.array([[0, 0, 0, 1]])
    half = confusion(np.array([[0, -1, -1, -1]]), truth, 1, 2, ignore=255)
    for matching in MATCHINGS:
        found = score(half, matching(half), NAMES[:2])
        assert (found.iou["sky"], found.iou["road"], found.accuracy) == (1 / 3, 0, 1 / 4)


def test_classes_that_the_truth_does_not_have_are_left_out_of_the_mean_and_named() -> None:
    truth, predicted = np.array([[0, 0, 1, 1]]), np.array([[0, 0, 1, 2]])
    found = score(confusion(predicted, truth, 3, 4, ignore=255), np.array([0, 1, 2]), NAMES)
    assert (found.iou["sky"], found.iou["road"]) == (1, 0.5)
    assert found.miou == 0.75
    assert found.absent == ("tree", "car")
    assert math.isnan(found.iou["tree"])


@pytest.mark.parametrize("matching", MATCHINGS)
def test_clusters_that_no_pixel_has_are_matched_to_nothing(matching: Matcher) -> None:
    matrix = np.array([[5, 0, 0], [0, 0, 0], [0, 7, 0], [0, 0, 0]])
    assert matching(matrix).tolist() == [0, -1, 1]


def test_scores_of_nothing_are_not_numbers() -> None:
    nothing = np.full((2, 3), 255)
    matrix = confusion(nothing * 0, nothing, 3, CLASSES, ignore=255)
    found = score(matrix, hungarian_by_iou(matrix), NAMES)
    assert math.isnan(found.miou) and math.isnan(found.accuracy)
    assert found.matching == {}


def test_a_matching_found_on_one_set_scores_another() -> None:
    fitted, other = confused(0, 6), confused(7, 6)
    found = score(other, many_to_one_by_iou(fitted), NAMES)
    assert found.accuracy == right(other, many_to_one_by_iou(fitted)) / other.sum()


def test_what_does_not_fit_is_refused() -> None:
    two = np.zeros((2, 3), dtype=np.int64)
    with pytest.raises(ValueError, match=r"\(3, 2\)"):
        confusion(two, two.T, 1, 1, ignore=255)
    with pytest.raises(ValueError, match="clusters of the prediction: 0 to 1"):
        confusion(np.array([[0, 1]]), np.array([[0, 0]]), 1, 1, ignore=255)
    with pytest.raises(ValueError, match="classes of the ground truth: 0 to 11"):
        confusion(np.array([[0, 0]]), np.array([[0, 11]]), 1, 11, ignore=255)
    with pytest.raises(ValueError, match="3 names"):
        score(np.zeros((2, 4), dtype=np.int64), np.array([0]), NAMES[:3])
