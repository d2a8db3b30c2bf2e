from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from specray.errors import UserError
from specray.semantics import Codebook, codebook_file
from tests.semantics.cases import FEATURES, blobs, codebook, medoid

POINTS, LABELS = blobs(6, 900, spread=0.8)
BOOK = codebook(POINTS, 6)
REDUCED = codebook(POINTS, 6, pca=5, whiten=True, spherical=False)


@pytest.mark.parametrize("book", [BOOK, REDUCED], ids=["unit", "whitened"])
def test_fitted_points_are_assigned_to_the_classes_that_they_made(book: Codebook) -> None:
    found = book.assign(POINTS)
    np.testing.assert_array_equal(np.bincount(found.classes), book.sizes)
    for k in range(6):
        radius = found.distance[found.classes == k].mean()
        np.testing.assert_allclose(radius, book.radii[k], rtol=1e-5)
    assert np.square(found.distance.astype(float)).mean() == pytest.approx(book.quality.inertia)


@settings(max_examples=40, deadline=None)
@given(st.sets(st.integers(0, 899), min_size=1, max_size=50), st.sampled_from([BOOK, REDUCED]))
def test_an_assignment_depends_on_its_own_feature_alone(rows: set[int], book: Codebook) -> None:
    some = sorted(rows)
    alone, together = book.assign(POINTS[some]), book.assign(POINTS)
    np.testing.assert_array_equal(alone.classes, together.classes[some])
    np.testing.assert_array_equal(alone.confidence, together.confidence[some])
    np.testing.assert_array_equal(alone.distance, together.distance[some])


def test_confidence_is_low_between_classes_and_high_at_their_middle() -> None:
    between = BOOK.means[:1] / np.linalg.norm(BOOK.means[0]) + BOOK.means[1:2] / np.linalg.norm(
        BOOK.means[1]
    )
    found = BOOK.assign(np.concatenate([between, BOOK.means]))
    assert found.confidence[0] < 0.05
    assert (found.confidence[1:] > 0.9).all()
    assert found.classes[1:].tolist() == list(range(6))
    assert found.confidence.dtype == np.float32


def test_one_class_is_certain() -> None:
    book = codebook(POINTS, 1)
    found = book.assign(POINTS[:5])
    assert found.classes.tolist() == [0] * 5 and (found.confidence == 1).all()
    only = book.summary()
    assert only["classes"][0]["nearest"] is None and only["balance"] == 1.0


def test_means_are_those_of_the_unit_features() -> None:
    classes = BOOK.assign(3 * POINTS).classes
    for k in range(6):
        np.testing.assert_allclose(BOOK.means[k], POINTS[classes == k].mean(axis=0), atol=1e-5)


def test_medoids_are_the_points_nearest_to_their_centroid() -> None:
    found = BOOK.assign(POINTS)
    for k in range(6):
        own = np.flatnonzero(found.classes == k)
        assert BOOK.medoids[k] == medoid(int(own[found.distance[own].argmin()]))


def test_bytes_give_the_same_codebook() -> None:
    for book in (BOOK, REDUCED.renamed({2: "Straße 🚗"}), codebook(POINTS, 1)):
        again = Codebook.from_bytes(book.to_bytes())
        assert again.to_bytes() == book.to_bytes()
        assert again.summary() == book.summary()
        assert (again.names, again.medoids, again.provenance, again.next_id) == (
            book.names,
            book.medoids,
            book.provenance,
            book.next_id,
        )
        np.testing.assert_array_equal(again.assign(POINTS).classes, book.assign(POINTS).classes)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_damaged_bytes_are_refused_in_one_line_or_are_no_damage(data: st.DataObject) -> None:
    whole = REDUCED.to_bytes()
    kind = data.draw(st.sampled_from(["flip", "cut", "insert"]))
    at = data.draw(st.integers(0, len(whole) - 1))
    if kind == "flip":
        other = data.draw(st.integers(1, 255))
        damaged = whole[:at] + bytes([whole[at] ^ other]) + whole[at + 1 :]
    elif kind == "cut":
        damaged = whole[:at]
    else:
        damaged = whole[:at] + data.draw(st.binary(min_size=1, max_size=9)) + whole[at:]
    try:
        survived = Codebook.from_bytes(damaged)
    except UserError as error:
        assert "\n" not in str(error)
    else:
        assert survived.to_bytes() == whole


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=200))
def test_foreign_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(UserError, match="no codebook"):
        Codebook.from_bytes(data)


def changed(**fields: Any) -> Codebook:
    return Codebook(**{**vars(BOOK), **fields})


@pytest.mark.parametrize(
    "fields",
    [
        {"radii": BOOK.radii * np.nan},
        {"centroids": BOOK.centroids[:5]},
        {"centroids": BOOK.centroids[:, :7]},
        {"means": BOOK.means.astype(np.float64)},
        {"ids": np.zeros(6, np.int64)},
        {"ids": np.arange(-1, 5)},
        {"next_id": 5},
        {"sizes": BOOK.sizes * 0},
        {"merges": BOOK.merges[:3]},
        {"medoids": BOOK.medoids[:2]},
    ],
)
def test_a_codebook_that_contradicts_itself_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="no codebook"):
        Codebook.from_bytes(changed(**fields).to_bytes())


def test_another_version_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codebook_file, "FORMAT", replace(codebook_file.FORMAT, version=2))
    data = BOOK.to_bytes()
    monkeypatch.undo()
    with pytest.raises(UserError, match="version 2; this specray reads 1"):
        Codebook.from_bytes(data)


def test_the_summary_is_json_and_says_what_was_fitted() -> None:
    summary = json.loads(json.dumps(REDUCED.summary(), allow_nan=False))
    assert summary["source"] == "superpixels"
    assert (summary["pca"], summary["whiten"], summary["spherical"]) == (5, True, False)
    assert (summary["dimensions"], summary["points"], summary["fitted"]) == (32, 900, 900)
    assert len(summary["restarts"]) == 3 and summary["inertia"] == min(summary["restarts"])
    assert 0.9 < summary["balance"] <= 1
    assert [row[3] for row in summary["merges"]][-1] == 900
    assert sum(entry["points"] for entry in summary["classes"]) == 900
    assert summary["classes"][0]["medoid"]["bbox"][0] == 0.0
    for entry in summary["classes"]:
        assert entry["nearest"] != entry["id"]
    assert summary["curve"] == [] and summary["choice"] is None


def test_names_are_added_and_replaced_but_never_for_a_class_that_is_not() -> None:
    book = BOOK.renamed({0: "road", 3: "sky"}).renamed({3: "tree"})
    assert book.names == {0: "road", 3: "tree"}
    assert [entry["name"] for entry in book.summary()["classes"]][:4] == [
        "road",
        None,
        None,
        "tree",
    ]
    with pytest.raises(UserError, match="no class 6"):
        BOOK.renamed({6: "car"})


def test_other_features_are_refused_by_the_first_difference() -> None:
    BOOK.require({**FEATURES, "blocks": (11,)})
    Codebook.from_bytes(BOOK.to_bytes()).require(FEATURES)
    with pytest.raises(UserError, match="backbone was 'tiny', is 'large'"):
        BOOK.require({**FEATURES, "backbone": "large"})


def test_the_digest_is_of_what_decides_labels() -> None:
    assert BOOK.renamed({0: "road"}).digest == BOOK.digest
    assert Codebook.from_bytes(BOOK.to_bytes()).digest == BOOK.digest
    assert changed(ids=BOOK.ids[::-1].copy()).digest != BOOK.digest != REDUCED.digest
