"""Agreement of labellings, against scikit-learn and by hand."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import jaccard_score

from specray.semantics.segmenter.agreement import Agreement, is_stable

CLASSES = 5


def maps(seed: int = 0, noise: float = 0.3) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    random = np.random.default_rng(seed)
    old = random.integers(0, CLASSES, (20, 30))
    new = np.where(random.random(old.shape) < noise, random.integers(0, CLASSES, old.shape), old)
    return new.astype(np.uint8), old.astype(np.uint8)


def test_shares_are_those_of_scikit_learn() -> None:
    new, old = maps()
    found = Agreement.of(new, old, CLASSES)
    assert found.same == pytest.approx(float((new == old).mean()))
    expected = jaccard_score(old.ravel(), new.ravel(), average=None)
    np.testing.assert_allclose(found.iou, expected)
    assert found.miou == pytest.approx(float(expected.mean()))


def test_images_add_up() -> None:
    new, old = maps()
    total = Agreement.none(CLASSES)
    for rows in (slice(0, 7), slice(7, 8), slice(8, 20)):
        total = total + Agreement.of(new[rows], old[rows], CLASSES)
    np.testing.assert_array_equal(total.matrix, Agreement.of(new, old, CLASSES).matrix)


def test_pixels_without_a_label_do_not_count_or_are_not_the_same() -> None:
    old, new = np.array([[0, 1, 255, 1]]), np.array([[0, 255, 1, 1]])
    found = Agreement.of(new, old, CLASSES)
    assert found.pixels == 3 and found.same == pytest.approx(2 / 3)
    np.testing.assert_allclose(found.iou[:2], [1, 0.5])
    assert np.isnan(found.iou[2:]).all()
    assert found.miou == pytest.approx(0.75)


def test_nothing_agrees_with_nothing() -> None:
    empty = Agreement.none(CLASSES)
    assert empty.pixels == 0 and np.isnan(empty.same) and np.isnan(empty.miou)


def test_numbers_that_mean_nothing_are_matched() -> None:
    new, old = maps()
    permutation = np.array([3, 0, 4, 1, 2])
    plain = Agreement.of(new, old, CLASSES)
    permuted = Agreement.of(permutation[new], old, CLASSES)
    assert permuted.same < 0.3
    np.testing.assert_array_equal(permuted.renumbered().matrix, plain.matrix)


def test_classes_that_share_nothing_keep_their_pixels() -> None:
    new, old = np.array([[0, 0, 1, 2]]), np.array([[3, 3, 3, 3]])
    found = Agreement.of(new, old, CLASSES).renumbered()
    assert found.pixels == 4 and found.same == 0.5
    assert found.matrix[:, 3].tolist().count(1) == 2


def test_a_class_out_of_range_is_refused() -> None:
    with pytest.raises(ValueError, match="not in"):
        Agreement.of(np.array([[CLASSES]]), np.array([[0]]), CLASSES)


@pytest.mark.parametrize(
    ("agreements", "stable"),
    [([], False), ([0.5], False), ([0.97], True), ([0.5, 0.6, 0.7], False), ([0.6, 0.6], True)],
)
def test_rounds_end_when_labels_settle_or_wander(agreements: list[float], stable: bool) -> None:
    assert is_stable(agreements, enough=0.95) == stable


def test_a_gain_that_is_too_small_ends_the_rounds() -> None:
    assert is_stable([0.80, 0.805], enough=0.95, least_gain=0.01)
    assert not is_stable([0.80, 0.82], enough=0.95, least_gain=0.01)
