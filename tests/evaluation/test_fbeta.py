"""F-beta over thresholds (DSM section 2.10), against scikit-learn, threshold by threshold."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import fbeta_score

from specray.evaluation import fbeta_curve

Map = NDArray[np.floating] | NDArray[np.uint8]


def sample(seed: int) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    random = np.random.default_rng(seed)
    truth = random.random((11, 13)) < 0.4
    soft = np.clip(random.normal(90 + 80 * truth, 60), 0, 255).astype(np.uint8)
    return soft, truth


def by_definition(soft: Map, truth: NDArray[np.bool_]) -> list[float]:
    """Published: one threshold at a time."""
    curve = []
    for i in range(1, 255):
        found = soft >= i / 255
        right = np.count_nonzero(found & truth)
        precision = right / found.sum() if found.any() else 1.0
        recall = right / truth.sum() if truth.any() else 1.0
        below = 0.3 * precision + recall
        curve.append(1.3 * precision * recall / below if below else 0.0)
    return curve


@pytest.mark.parametrize("kind", [np.float64, np.float32, np.float16])
@pytest.mark.parametrize("seed", range(3))
def test_curve_is_the_definition_at_every_threshold(seed: int, kind: type[np.floating]) -> None:
    levels, truth = sample(seed)
    soft = (levels / 255).astype(kind)
    curve = fbeta_curve(soft, truth)
    np.testing.assert_allclose(curve, by_definition(soft, truth), atol=1e-12)
    np.testing.assert_array_equal(fbeta_curve(levels, truth), curve)  # 255ths reach their threshold
    between = np.random.default_rng(seed).random(truth.shape).astype(kind)
    np.testing.assert_allclose(
        fbeta_curve(between, truth), by_definition(between, truth), atol=1e-12
    )


def test_curve_agrees_with_sklearn() -> None:
    levels, truth = sample(3)
    curve = fbeta_curve(levels, truth)
    for i in (1, 60, 128, 200, 254):
        expected = fbeta_score(truth.ravel(), levels.ravel() >= i, beta=0.3**0.5)
        assert curve[i - 1] == pytest.approx(expected)


def test_empty_prediction_is_precise_and_empty_truth_recalled() -> None:
    nothing, everything = np.zeros((4, 5)), np.ones((4, 5))
    no, yes = nothing > 0, everything > 0
    assert fbeta_curve(nothing, no).tolist() == [1] * 254
    assert fbeta_curve(nothing, yes).tolist() == [0] * 254  # precise, but nothing recalled
    assert fbeta_curve(everything, no).tolist() == [0] * 254
    np.testing.assert_allclose(fbeta_curve(everything, yes), 1)
    half = np.where(np.arange(20).reshape(4, 5) < 10, 0.5, 0)
    assert fbeta_curve(half, no).tolist() == [0] * 127 + [1] * 127


def test_what_does_not_fit_is_refused() -> None:
    truth = np.ones((1, 2), dtype=np.bool_)
    for wrong in (1.01, -0.01, np.nan):
        with pytest.raises(ValueError, match=r"not in \[0, 1\]"):
            fbeta_curve(np.array([[0.5, wrong]]), truth)
    with pytest.raises(ValueError, match=r"\(2, 1\)"):
        fbeta_curve(np.zeros((2, 1)), truth)
