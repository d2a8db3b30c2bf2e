"""Pixels of ids/*.png are index + 1, for whoever reads 16 bits."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from specray.sources import LocalStore
from specray.tables.exports import Names
from specray.tables.exports.ids import Ids
from tests.tables.exports.cases import METHODS, annotated, cases, export, masks_of
from tests.tables.exports.png_reader import read_grey_16


@pytest.mark.parametrize("method", METHODS)
def test_masks_come_back(method: str, tmp_path: Path) -> None:
    assert export(Ids(Names()), cases(method), LocalStore(str(tmp_path))) == []
    for image in cases(method):
        labels = read_grey_16(tmp_path / "ids" / f"{image.key.removesuffix('.jpg')}.png")
        assert labels.shape == (image.height, image.width)
        assert set(np.unique(labels)) - {0} == {a.index + 1 for a in image.annotations}
        for annotation, mask in zip(image.annotations, masks_of(image), strict=True):
            assert np.array_equal(labels == annotation.index + 1, mask)


@pytest.mark.parametrize("method", METHODS)
def test_the_index_names_the_file_of_every_key_and_its_segments(
    method: str, tmp_path: Path
) -> None:
    images = cases(method)
    export(Ids(Names()), images, LocalStore(str(tmp_path)))
    entries = [json.loads(line) for line in (tmp_path / "images.jsonl").read_text().splitlines()]
    assert [(entry["image_id"], entry["key"]) for entry in entries] == [
        (image.id, image.key) for image in images
    ]
    for entry, image in zip(entries, images, strict=True):
        assert [(s["category"], s["index"], s["score"]) for s in entry["segments"]] == [
            (method, a.index, pytest.approx(a.score)) for a in image.annotations
        ]
        labels = read_grey_16(tmp_path / "ids" / f"{entry['name']}.png")
        assert {s["label"]: s["area"] for s in entry["segments"]} == {
            label: (labels == label).sum() for label in np.unique(labels) if label
        }


def test_the_highest_label_is_65535_and_one_more_is_refused_by_name(tmp_path: Path) -> None:
    image = annotated("a.jpg", [np.ones((1, 1), dtype=bool)], (1, 1))
    (last,) = image.annotations
    object.__setattr__(last, "index", 65534)
    assert export(Ids(Names()), [image], LocalStore(str(tmp_path))) == []
    assert read_grey_16(tmp_path / "ids" / "a.png").tolist() == [[65535]]
    object.__setattr__(last, "index", 65535)
    (skipped,) = export(Ids(Names()), [image], LocalStore(str(tmp_path / "more")))
    assert (skipped.key, skipped.code, skipped.masks) == ("a.jpg", "too_many_segments", 1)
    assert not (tmp_path / "more" / "ids").exists()
