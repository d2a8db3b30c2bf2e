"""panoptic.json and its PNGs after the format on cocodataset.org: id = R + 256 G + 65536 B."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from specray.sources import LocalStore
from specray.tables.exports import CATEGORIES, AnnotatedImage, Names, StemCounter
from specray.tables.exports.panoptic import Panoptic
from tests.tables.exports.cases import METHODS, annotated, cases, drawn, export, masks_of


def exported(folder: Path, images: list[AnnotatedImage], method: str = "object") -> Any:
    export(Panoptic(CATEGORIES[method], Names()), images, LocalStore(str(folder)))
    return json.loads((folder / "panoptic.json").read_text())


def ids_in(path: Path) -> NDArray[np.int64]:
    with Image.open(path) as image:
        assert image.mode == "RGB"
        red, green, blue = np.asarray(image).astype(np.int64).transpose(2, 0, 1)
    found: NDArray[np.int64] = red + 256 * green + 65536 * blue
    return found


@pytest.mark.parametrize("method", METHODS)
def test_masks_come_back_by_the_ids_of_the_json(method: str, tmp_path: Path) -> None:
    tree = exported(tmp_path, cases(method), method)
    things = {c["id"]: c["name"] for c in tree["categories"] if c["isthing"]}
    sizes = {entry["id"]: (entry["height"], entry["width"]) for entry in tree["images"]}
    for image, entry in zip(cases(method), tree["annotations"], strict=True):
        assert entry["image_id"] == image.id
        ids = ids_in(tmp_path / "panoptic" / entry["file_name"])
        assert ids.shape == sizes[image.id] == (image.height, image.width)
        segments = entry["segments_info"]
        assert set(np.unique(ids)) - {0} == {segment["id"] for segment in segments}
        for segment, mask in zip(segments, masks_of(image), strict=True):
            assert np.array_equal(ids == segment["id"], mask)
            assert things[segment["category_id"]] == method


@pytest.mark.parametrize("method", METHODS)
def test_what_the_json_says_of_a_segment_is_what_the_png_shows(method: str, tmp_path: Path) -> None:
    tree = exported(tmp_path, cases(method), method)
    categories = {category["id"] for category in tree["categories"]}
    for entry in tree["annotations"]:
        ids = ids_in(tmp_path / "panoptic" / entry["file_name"])
        for segment in entry["segments_info"]:
            rows, columns = np.nonzero(ids == segment["id"])
            x, y = columns.min(), rows.min()
            assert segment["area"] == len(rows)
            assert segment["bbox"] == [x, y, columns.max() + 1 - x, rows.max() + 1 - y]
            assert segment["category_id"] in categories
            assert segment["iscrowd"] == 0


def test_where_masks_overlap_the_lower_index_wins_and_a_hidden_one_is_not_listed(
    tmp_path: Path,
) -> None:
    masks = [drawn(".##."), drawn("##.."), drawn("..#.")]
    tree = exported(tmp_path, [annotated("a.jpg", masks, (1, 4))])
    (entry,) = tree["annotations"]
    assert ids_in(tmp_path / "panoptic" / "a.png").tolist() == [[2, 1, 1, 0]]
    assert [(s["id"], s["area"]) for s in entry["segments_info"]] == [(1, 2), (2, 1)]


def test_more_segments_than_a_byte_holds_keep_their_ids(tmp_path: Path) -> None:
    masks = list(np.eye(700, dtype=bool)[:, None])
    exported(tmp_path, [annotated("a.jpg", masks, (1, 700))])
    assert ids_in(tmp_path / "panoptic" / "a.png").tolist() == [list(range(1, 701))]


def test_there_is_at_most_one_segment_of_a_category_that_is_stuff(tmp_path: Path) -> None:
    masks = [drawn("##.."), drawn("..#."), drawn("...#")]
    tree = exported(tmp_path, [annotated("a.jpg", masks, (1, 4), "region")], "region")
    stuff = {c["id"]: c["name"] for c in tree["categories"] if not c["isthing"]}
    assert list(stuff.values()) == ["background"]
    found = [s["category_id"] for s in tree["annotations"][0]["segments_info"]]
    assert [category in stuff for category in found] == [True, False, False]


def test_images_of_one_stem_have_a_file_each(tmp_path: Path) -> None:
    counter = StemCounter()
    counter.add(["x.jpg", "x.png"])
    one = annotated("x.jpg", [drawn("#.")], (1, 2), image_id=1)
    two = annotated("x.png", [drawn(".#")], (1, 2), image_id=2)
    export(Panoptic(CATEGORIES["object"], counter.names()), [one, two], LocalStore(str(tmp_path)))
    tree = json.loads((tmp_path / "panoptic.json").read_text())
    found = [ids_in(tmp_path / "panoptic" / a["file_name"]).tolist() for a in tree["annotations"]]
    assert found == [[[1, 0]], [[0, 1]]]
