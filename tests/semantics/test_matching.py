from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from specray.errors import UserError
from specray.semantics import Codebook
from tests.semantics.cases import FEATURES, blobs, codebook

POINTS, LABELS = blobs(8, 1600, dimensions=48)
OLD = codebook(POINTS, 8).renamed({0: "road", 5: "sky"})


def blob_of(book: Codebook, points: np.ndarray, labels: np.ndarray) -> dict[int, int]:
    """Id of the class to the blob that most of its points are from."""
    classes = book.assign(points).classes
    return {int(k): int(np.bincount(labels[classes == k]).argmax()) for k in np.unique(classes)}


def test_another_order_of_the_classes_gets_the_old_ids() -> None:
    order = np.random.default_rng(0).permutation(8)
    new = replace(
        OLD,
        centroids=OLD.centroids[order],
        means=OLD.means[order],
        sizes=OLD.sizes[order],
        names={},
    ).matched(OLD)
    np.testing.assert_array_equal(new.ids, order)
    np.testing.assert_array_equal(new.assign(POINTS).classes, OLD.assign(POINTS).classes)
    assert new.names == OLD.names and new.next_id == 8


def test_new_images_of_the_same_classes_get_the_old_ids() -> None:
    clean, labels = blobs(8, 900, dimensions=48, spread=0.6)
    rng = np.random.default_rng(5)
    order = rng.permutation(900)
    more = clean[order] + 0.02 * rng.standard_normal((900, 48))
    new = codebook(more, 8, seed=3).matched(OLD)
    assert blob_of(new, more, labels[order]) == blob_of(OLD, POINTS, LABELS)
    assert new.names == {0: "road", 5: "sky"}


def test_a_class_that_is_gone_is_not_given_to_another_and_never_again() -> None:
    truth = blob_of(OLD, POINTS, LABELS)
    fewer = truth[5] != LABELS
    shrunk = codebook(POINTS[fewer], 7, seed=1).matched(OLD)
    assert sorted(shrunk.ids.tolist()) == [0, 1, 2, 3, 4, 6, 7]
    assert shrunk.names == {0: "road"} and shrunk.next_id == 8
    grown = codebook(POINTS, 8, seed=2).matched(shrunk)
    assert set(grown.ids.tolist()) - set(shrunk.ids.tolist()) == {8}
    assert grown.next_id == 9


def test_classes_that_were_not_there_get_ids_above_all_others() -> None:
    truth = blob_of(OLD, POINTS, LABELS)
    known = np.isin(LABELS, [truth[k] for k in range(6)])
    old = codebook(POINTS[known], 6)
    new = codebook(POINTS, 8, seed=4).matched(old)
    assert sorted(new.ids.tolist()) == list(range(8))
    before, after = blob_of(old, POINTS[known], LABELS[known]), blob_of(new, POINTS, LABELS)
    assert {k: after[k] for k in range(6)} == before
    assert new.next_id == 8


def test_an_unlike_class_takes_no_old_id() -> None:
    other, _ = blobs(8, 1600, dimensions=48, seed=77)
    new = codebook(other, 8).matched(OLD)
    assert sorted(new.ids.tolist()) == list(range(8, 16))
    assert new.names == {} and new.next_id == 16


def test_a_name_of_its_own_wins() -> None:
    new = codebook(POINTS, 8).renamed({0: "asphalt"}).matched(OLD)
    assert new.names == {0: "asphalt", 5: "sky"}


def test_a_single_class_matches_a_single_class() -> None:
    assert codebook(POINTS[:800], 1).matched(codebook(POINTS[800:], 1)).ids.tolist() == [0]


def test_other_features_are_refused() -> None:
    other = replace(OLD, provenance={"features": {**FEATURES, "source": "objects"}})
    with pytest.raises(UserError, match="source"):
        other.matched(OLD)
