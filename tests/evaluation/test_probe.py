"""The linear probe in closed form, against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.linear_model import Ridge, RidgeClassifier

from specray.evaluation import ProbeSums, classify, probe_sums
from specray.evaluation.probe import ONE
from tests.evaluation.shards import sums_in_any_order

CLASSES, CHANNELS, ROWS = 5, 12, 400
Features = NDArray[np.float64]


def sample(seed: int = 0, classes: int = CLASSES) -> tuple[Features, NDArray[np.int64]]:
    """Rows of length 1 around a direction per class, far from the origin."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, classes, ROWS)
    features = random.normal(random.normal(0, 1, (classes, CHANNELS))[labels] + 0.5, 1.0)
    return features / np.linalg.norm(features, axis=1, keepdims=True), labels


def rounded(features: Features, bound: float = 1.0) -> Features:
    return np.rint(features / bound * ONE) / ONE * bound


@pytest.mark.parametrize("bound", [1.0, 2.5])
@pytest.mark.parametrize("ridge", [1e-3, 1.0, 30.0])
def test_weights_are_those_of_ridge_regression(ridge: float, bound: float) -> None:
    features, labels = sample()
    weights = probe_sums(features, labels, CLASSES, bound).solve(ridge)
    oracle = Ridge(alpha=ridge).fit(rounded(features, bound), np.eye(CLASSES)[labels])
    expected = np.vstack([oracle.coef_.T, oracle.intercept_])
    np.testing.assert_allclose(weights, expected, atol=1e-10)
    unrounded = Ridge(alpha=ridge).fit(features, np.eye(CLASSES)[labels])
    np.testing.assert_allclose(weights[:-1], unrounded.coef_.T, atol=1e-4)


@pytest.mark.parametrize("classes", [2, CLASSES])
def test_classes_are_those_of_the_ridge_classifier(classes: int) -> None:
    features, labels = sample(0, classes)
    weights = probe_sums(features, labels, classes).solve(ridge=1.0)
    oracle = RidgeClassifier(alpha=1.0).fit(features, labels)
    others, _ = sample(1)
    found = classify(others, weights)
    np.testing.assert_array_equal(found, oracle.predict(others))
    assert len(np.unique(found)) == classes
    assert (classify(features, weights) == labels).mean() > 0.6


def test_sums_are_the_same_however_rows_are_divided() -> None:
    features, labels = sample()
    whole = probe_sums(features, labels, CLASSES)
    chunks = np.array_split(np.arange(ROWS), 23)
    for total in sums_in_any_order([probe_sums(features[c], labels[c], CLASSES) for c in chunks]):
        np.testing.assert_array_equal(total.gram, whole.gram)
        np.testing.assert_array_equal(total.moment, whole.moment)
        np.testing.assert_array_equal(total.solve(1.0), whole.solve(1.0))


def test_sums_are_exact_where_floats_are_not() -> None:
    rows = 40_000
    random = np.random.default_rng(0)
    features = np.where(random.random((rows, 2)) < 0.5, 1.0, 1 - 1 / ONE).astype(np.float32)
    sums = probe_sums(features, np.zeros(rows, dtype=np.int64), 1)
    ints = (features.astype(np.float64) * ONE).astype(np.int64)
    expected = sum(a * b for a, b in ints.tolist())
    assert sums.gram[0, 1] == sums.gram[1, 0] == expected
    assert sums.gram[2, 2] == rows * ONE**2
    assert sums.moment[0, 0] == ints[:, 0].sum()


def test_answer_of_a_row_does_not_depend_on_the_rows_beside_it() -> None:
    random = np.random.default_rng(0)
    half = random.normal(size=(500, 192)).astype(np.float32)
    features = np.hstack([half, half[:, ::-1]])
    weights = random.normal(size=(385, 27))
    # the same products in the opposite order: equal but for what floats would make of their sum
    weights[:, 13] = np.append(weights[-2::-1, 4], weights[-1, 4])
    together = classify(features, weights)
    apart = np.concatenate([classify(features[i : i + 1], weights) for i in range(500)])
    np.testing.assert_array_equal(together, apart)
    assert 4 in together and 13 not in together
    plain = features.astype(np.float64) @ weights[:-1] + weights[-1]
    best = plain.max(axis=1) - plain[np.arange(500), together]
    assert best.max() < 1e-3


def test_features_of_any_scale_give_the_classes_of_unit_ones() -> None:
    features, labels = sample()
    unit = probe_sums(features, labels, CLASSES, bound=1.0).solve(ridge=1e-2)
    tenfold = probe_sums(8 * features, labels, CLASSES, bound=8.0).solve(ridge=64e-2)
    np.testing.assert_allclose(8 * tenfold[:-1], unit[:-1], atol=1e-10)
    np.testing.assert_array_equal(classify(8 * features, tenfold), classify(features, unit))


def test_a_constant_feature_changes_nothing() -> None:
    features, labels = sample()
    more = np.hstack([features, np.full((ROWS, 1), 0.75), np.zeros((ROWS, 1))])
    weights = probe_sums(more, labels, CLASSES).solve(1.0)
    np.testing.assert_allclose(weights[-3:-1], 0, atol=1e-9)
    expected = probe_sums(features, labels, CLASSES).solve(1.0)
    np.testing.assert_allclose(weights[:-3], expected[:-1], atol=1e-9)


def test_nothing_to_classify_is_no_class() -> None:
    assert classify(np.empty((0, 3)), np.ones((4, 2))).shape == (0,)


def test_what_does_not_fit_is_refused() -> None:
    features, labels = sample()
    for wrong in (features * 10, features * np.nan):
        with pytest.raises(ValueError, match="exceed"):
            probe_sums(wrong, labels, CLASSES)
    for beyond in (labels - 1, labels + 1):
        with pytest.raises(ValueError, match=r"not in \[0, 5\)"):
            probe_sums(features, beyond, CLASSES)
    with pytest.raises(ValueError, match="labels"):
        probe_sums(features, labels[1:], CLASSES)
    sums = probe_sums(features, labels, CLASSES)
    for ridge in (0.0, -1.0, float("nan")):
        with pytest.raises(ValueError, match="no solution"):
            sums.solve(ridge)
    nothing: ProbeSums = probe_sums(features[:0], labels[:0], CLASSES)
    with pytest.raises(ValueError, match="of 0 rows"):
        nothing.solve(1.0)
    with pytest.raises(ValueError, match="bounds"):
        sums + probe_sums(features, labels, CLASSES, bound=2.0)
