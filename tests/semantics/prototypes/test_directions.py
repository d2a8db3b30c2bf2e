"""Principal directions against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.decomposition import PCA

from specray.semantics.prototypes.directions import Moments, principal_directions

ROWS = np.random.default_rng(0).standard_normal((500, 12)) * np.arange(1, 13) + 7


def test_directions_are_those_of_pca() -> None:
    expected = PCA(5).fit(ROWS).components_
    found = principal_directions(Moments.of(ROWS), 5)
    assert np.abs(np.einsum("kc,kc->k", found, expected)).min() > 1 - 1e-9


def test_moments_of_parts_add_up_to_those_of_the_whole() -> None:
    parts = [Moments.of(part) for part in np.array_split(ROWS, 7)]
    total = sum(parts[1:], parts[0])
    whole = Moments.of(ROWS)
    assert total.count == whole.count
    np.testing.assert_allclose(total.outer, whole.outer, rtol=1e-12)
    found, expected = (principal_directions(each, 4) for each in (total, whole))
    np.testing.assert_allclose(found, expected, atol=1e-9)


def test_signs_are_set() -> None:
    found = principal_directions(Moments.of(ROWS), 12)
    assert (found[np.arange(12), np.abs(found).argmax(axis=1)] > 0).all()


def test_more_classes_than_channels_are_refused() -> None:
    with pytest.raises(ValueError, match="as many channels"):
        principal_directions(Moments.of(ROWS), 13)
