"""Classes of a label run in every format, read back by the readers of each."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import datasets
import duckdb
import numpy as np
import pytest
import skimage.draw
import yaml
from faster_coco_eval import COCO as FasterCOCO
from PIL import Image
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from specray.errors import UserError
from specray.sources import LocalStore
from specray.tables.classes import LabelClass
from specray.tables.exports import AnnotatedImage, FormatName, Names, build_format, check_labels
from tests.pipelines.photographs import encode
from tests.tables.exports.cases import CLASSES, classified, drawn, export
from tests.tables.exports.png_reader import read_grey_16

NAMES = {2: "sky", 7: "class 7", 19: "road: left", 30: "background"}
IMAGES = [
    classified("a.jpg", {2: drawn("##...", "##..."), 19: drawn("..##.", "...#.")}, 1),
    classified("b.jpg", {7: drawn("#..#"), 19: drawn(".##.")}, 2),
]
MAPS = {"a": [[3, 3, 20, 20, 0], [3, 3, 0, 20, 0]], "b": [[8, 20, 20, 8]]}
"""Class + 1 of every pixel, 0 where there is none."""


def exported(folder: Path, name: FormatName, images: list[AnnotatedImage] = IMAGES) -> None:
    photographs = LocalStore(str(folder / "photographs"))
    made_by = build_format(name, "class", CLASSES, Names(), photographs)
    assert export(made_by, images, LocalStore(str(folder))) == []


@pytest.mark.parametrize("reader", [COCO, FasterCOCO])
def test_coco_knows_a_class_as_category_id_plus_1(reader: Any, tmp_path: Path) -> None:
    exported(tmp_path, "coco")
    found = reader(str(tmp_path / "instances.json"))
    assert {i: c["name"] for i, c in found.cats.items()} == {i + 1: n for i, n in NAMES.items()}
    for image, expected in zip(IMAGES, MAPS.values(), strict=True):
        painted = sum(
            found.annToMask(each).astype(int) * each["category_id"]
            for each in found.loadAnns(found.getAnnIds(imgIds=[image.id]))
        )
        assert np.array_equal(painted, expected)


def test_classes_are_stuff_to_coco_panoptic(tmp_path: Path) -> None:
    exported(tmp_path, "panoptic")
    tree = json.loads((tmp_path / "panoptic.json").read_text())
    assert [(c["id"], c["name"], c["isthing"]) for c in tree["categories"]] == [
        (i + 1, name, 0) for i, name in NAMES.items()
    ]
    for entry, expected in zip(tree["annotations"], MAPS.values(), strict=True):
        with Image.open(tmp_path / "panoptic" / entry["file_name"]) as image:
            painted = np.asarray(image).astype(int) @ [1, 256, 65536]
        assert np.array_equal(painted, expected)
        assert {s["category_id"] for s in entry["segments_info"]} == set(np.unique(expected)) - {0}
        assert all(s["id"] == s["category_id"] for s in entry["segments_info"])


def test_pixels_of_voc_are_id_plus_1_and_its_labelmap_knows_them_by_colour(tmp_path: Path) -> None:
    exported(tmp_path, "voc")
    assert not (tmp_path / "SegmentationObject").exists()
    rows = (tmp_path / "labelmap.txt").read_text().splitlines()[1:]
    by_colour = {tuple(map(int, row.split(":")[1].split(","))): row.split(":")[0] for row in rows}
    assert list(by_colour.values()) == ["unlabelled", "sky", "class 7", "road left", "background"]
    assert all(len(row.split(":")) == 4 for row in rows)
    for name, expected in MAPS.items():
        with Image.open(tmp_path / "SegmentationClass" / f"{name}.png") as image:
            assert image.mode == "P"
            assert np.array_equal(np.asarray(image), expected)
            colours = np.asarray(image.convert("RGB"))
        plain = {0: "unlabelled"} | {i + 1: n.replace(":", "") for i, n in NAMES.items()}
        shown = [[by_colour[tuple(colour)] for colour in row] for row in colours.tolist()]
        assert shown == [[plain[label] for label in row] for row in expected]


def test_pixels_of_ids_are_id_plus_1_and_the_index_names_them(tmp_path: Path) -> None:
    exported(tmp_path, "ids")
    lines = (tmp_path / "images.jsonl").read_text().splitlines()
    for line, expected in zip(lines, MAPS.values(), strict=True):
        entry = json.loads(line)
        assert np.array_equal(read_grey_16(tmp_path / "ids" / f"{entry['name']}.png"), expected)
        found = {s["label"]: (s["index"], s["category"]) for s in entry["segments"]}
        assert found == {i: (i - 1, NAMES[i - 1]) for i in np.unique(expected).tolist() if i}


def test_parquet_has_the_class_as_index_and_its_name_as_category(tmp_path: Path) -> None:
    exported(tmp_path, "parquet")
    query = f"""
        SELECT key, method, "index", category, rle_counts, height, width
        FROM '{tmp_path}/*.parquet' ORDER BY image_id, "index"
    """
    painted = {name: np.zeros_like(expected) for name, expected in MAPS.items()}
    for key, method, index, category, counts, *size in duckdb.execute(query).fetchall():
        assert (method, category) == ("class", NAMES[index])
        mask = coco_mask.decode({"size": size, "counts": counts})
        painted[key.removesuffix(".jpg")] += mask * (index + 1)
    assert {name: found.tolist() for name, found in painted.items()} == MAPS


def test_hugging_face_has_the_names_as_a_class_label_and_maps_of_id_plus_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    photographs = LocalStore(str(tmp_path / "out" / "photographs"))
    images = []
    for image in IMAGES:
        picture = Image.new("RGB", (image.width, image.height))
        photographs.write(image.key, encode(picture, "PNG"))
        images.append(replace(image, etag=photographs.read(image.key).etag))
    exported(tmp_path / "out", "hf", images)
    parquet = str(tmp_path / "out" / "data" / "*.parquet")
    found = datasets.load_dataset("parquet", data_files=parquet, cache_dir=str(tmp_path / "cache"))
    label = found["train"].features["objects"].feature["category"]
    assert label.names == list(NAMES.values())
    for row, expected in zip(found["train"], MAPS.values(), strict=True):
        assert np.array_equal(np.asarray(row["label_map"]), expected)
        named = {entry["index"]: label.int2str(entry["category"]) for entry in row["objects"]}
        assert named == {i - 1: NAMES[i - 1] for i in np.unique(expected).tolist() if i}
    assert "(the class; " in (tmp_path / "out" / "README.md").read_text()


def test_yolo_counts_classes_without_gaps_and_names_them(tmp_path: Path) -> None:
    exported(tmp_path, "yolo")
    names = yaml.safe_load((tmp_path / "data.yaml").read_text())["names"]
    assert names == dict(enumerate(NAMES.values()))
    ids = {name: i for i, name in NAMES.items()}
    for name, expected in MAPS.items():
        painted = np.zeros_like(expected)
        for line in (tmp_path / "labels" / f"{name}.txt").read_text().splitlines():
            number, *values = line.split()
            corners = np.reshape(values, (-1, 2)).astype(float) * painted.shape[::-1] - 0.5
            mask = skimage.draw.polygon2mask(painted.shape, corners[:, ::-1])
            painted[mask] = ids[names[int(number)]] + 1
        assert painted.tolist() == expected


@pytest.mark.parametrize(("name", "largest"), [("voc", 253), ("ids", 65534), ("hf", 65534)])
def test_a_class_that_pixels_cannot_hold_is_one_clear_line(name: Any, largest: int) -> None:
    check_labels(name, [LabelClass(largest, "last", (largest,))])
    one_more = [LabelClass(0, "first", (0,)), LabelClass(largest + 1, "more", (largest + 1,))]
    match = f"--format {name} holds classes up to {largest}, and there is a class {largest + 1}; "
    with pytest.raises(UserError, match=match):
        check_labels(name, one_more)
    check_labels("coco", one_more)
