"""Agreement of labellings, against scikit-learn and by hand."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import jaccard_score

from specray.semantics.segmenter.agreement import Agreement

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


def test_a_labelling_has_collapsed_when_it_has_given_up_much() -> None:
    old = np.repeat(np.arange(3), [900, 60, 40])[None]
    for given_up, lost, collapsed in ((2, (2,), False), (1, (1,), True)):
        found = Agreement.of(np.where(old == given_up, 0, old), old, 3)
        assert (found.lost(), found.has_collapsed) == (lost, collapsed)
    assert not Agreement.of(old, old, 3).lost()


def test_a_class_out_of_range_is_refused() -> None:
    with pytest.raises(ValueError, match="not in"):
        Agreement.of(np.array([[CLASSES]]), np.array([[0]]), CLASSES)
