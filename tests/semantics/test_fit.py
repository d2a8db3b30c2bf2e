from __future__ import annotations

import numpy as np
import pytest

from specray.errors import UserError
from specray.semantics import ClusterConfig, fit
from tests.semantics.cases import FEATURES, blobs

POINTS, _ = blobs(5, 800)
AUTO = ClusterConfig(min_classes=3, max_classes=9, restarts=3)


def test_the_number_of_classes_is_chosen_and_explained() -> None:
    lines: list[str] = []
    book = fit(POINTS, config=AUTO, seed=0, features=FEATURES, total=12345, progress=lines.append)
    summary = book.summary()
    assert len(book.ids) == 5
    assert [point["classes"] for point in summary["curve"]] == list(range(3, 10))
    assert "5" in summary["choice"] and len(lines) > 7
    assert (summary["points"], summary["fitted"]) == (12345, 800)


def test_the_same_seed_gives_the_same_bytes_and_the_points_stay_as_they_were() -> None:
    points = 7 * POINTS.astype(np.float16)
    before = points.copy()
    books = [
        fit(points, config=ClusterConfig(classes=4), seed=seed, features=FEATURES).to_bytes()
        for seed in (0, 0, 1)
    ]
    assert books[0] == books[1] != books[2]
    np.testing.assert_array_equal(points, before)


def test_points_that_may_be_overwritten_become_their_projection_and_give_the_same_classes() -> None:
    points = 7 * POINTS
    config = ClusterConfig(classes=4)
    kept = fit(points, config=config, seed=0, features=FEATURES)
    taken = fit(points, config=config, seed=0, features=FEATURES, in_place=True)
    assert taken.digest == kept.digest
    np.testing.assert_allclose(taken.means, kept.means, atol=1e-6)
    np.testing.assert_array_equal(points, kept.space.project(7 * POINTS))


def test_no_features_and_too_few_are_refused() -> None:
    with pytest.raises(UserError, match="no feature"):
        fit(POINTS[:0], config=AUTO, seed=0, features=FEATURES)
    with pytest.raises(UserError, match="at most --classes 3"):
        fit(POINTS[:3], config=ClusterConfig(classes=4), seed=0, features=FEATURES)
