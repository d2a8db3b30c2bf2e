"""The `datasets` library reads the folder, offline, and decodes photographs and label maps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml
from PIL import Image
from pycocotools import mask as coco_mask

from specray.sources import LocalStore
from specray.tables.exports import CATEGORIES, AnnotatedImage, Skipped
from specray.tables.exports.huggingface import HuggingFace
from tests.pipelines.photographs import encode, rotated
from tests.tables.exports.cases import METHODS, annotated, cases, drawn, export, masks_of


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)


def with_photograph(image: AnnotatedImage, photographs: LocalStore, data: bytes) -> None:
    photographs.write(image.key, data)
    object.__setattr__(image, "etag", photographs.read(image.key).etag)


def photographed(folder: Path, method: str = "object") -> tuple[list[AnnotatedImage], LocalStore]:
    """The cases, each with a picture of its size."""
    photographs = LocalStore(str(folder / "photographs"))
    images = cases(method)
    for image in images:
        picture = Image.new("RGB", (image.width, image.height), (image.id, 0, 0))
        with_photograph(image, photographs, encode(picture, "PNG"))
    return images, photographs


def exported(
    folder: Path,
    images: list[AnnotatedImage],
    photographs: LocalStore,
    parts: int = 2,
    method: str = "object",
) -> list[Skipped]:
    made_by = HuggingFace(CATEGORIES[method], photographs)
    return export(made_by, images, LocalStore(str(folder)), parts)


def load(folder: Path, cache: Path) -> Any:
    return datasets.load_dataset(str(folder), cache_dir=str(cache))


@pytest.mark.parametrize("method", METHODS)
def test_photographs_and_masks_come_back(method: str, tmp_path: Path) -> None:
    images, photographs = photographed(tmp_path, method)
    assert exported(tmp_path / "out", images, photographs, 3, method) == []
    found = load(tmp_path / "out", tmp_path / "cache")
    assert list(found) == ["train"]
    assert found["train"]["key"][:] == [image.key for image in images]
    for image, row in zip(images, found["train"], strict=True):
        assert row["image"].size == row["label_map"].size == (image.width, image.height)
        assert row["image"].getpixel((0, 0)) == (image.id, 0, 0)
        labels = np.asarray(row["label_map"])
        assert set(np.unique(labels)) - {0} == {a.index + 1 for a in image.annotations}
        for entry, mask in zip(row["objects"], masks_of(image), strict=True):
            size = [row["height"], row["width"]]
            rle = {"size": size, "counts": entry["rle_counts"]}
            assert np.array_equal(coco_mask.decode(rle), mask)
            assert np.array_equal(labels == entry["index"] + 1, mask)
            assert entry["bbox"] == coco_mask.toBbox({"size": size, **rle}).tolist()
            assert entry["area"] == mask.sum()


@pytest.mark.parametrize("method", METHODS)
def test_categories_are_a_class_label(method: str, tmp_path: Path) -> None:
    images, photographs = photographed(tmp_path, method)
    exported(tmp_path / "out", images, photographs, method=method)
    features = load(tmp_path / "out", tmp_path / "cache")["train"].features
    assert features["objects"].feature["category"].names == [method]
    assert isinstance(features["image"], datasets.Image)
    assert isinstance(features["label_map"], datasets.Image)


def test_a_rotated_photograph_and_its_masks_lie_in_one_frame(tmp_path: Path) -> None:
    photographs = LocalStore(str(tmp_path / "photographs"))
    width, height = 96, 128  # upright; the file lies on its side
    image = annotated("a.jpg", [np.ones((height, width), dtype=bool)], (height, width))
    with_photograph(image, photographs, rotated())
    exported(tmp_path / "out", [image], photographs)
    (row,) = load(tmp_path / "out", tmp_path / "cache")["train"]
    assert row["image"].size == row["label_map"].size == (width, height)


def test_photographs_that_are_gone_or_changed_are_left_out_by_name(tmp_path: Path) -> None:
    images, photographs = photographed(tmp_path)
    gone, changed, *rest = images
    photographs.delete(gone.key)
    photographs.write(changed.key, b"another")
    skipped = exported(tmp_path / "out", images, photographs, parts=len(images))
    assert [(s.key, s.code, s.masks) for s in skipped] == [
        (gone.key, "missing", len(gone.annotations)),
        (changed.key, "changed", len(changed.annotations)),
    ]
    found = load(tmp_path / "out", tmp_path / "cache")["train"]
    assert found["key"][:] == [image.key for image in rest]


def test_many_segments_take_a_label_map_of_16_bits(tmp_path: Path) -> None:
    photographs = LocalStore(str(tmp_path / "photographs"))
    image = annotated("a.jpg", list(np.eye(300, dtype=bool)[:, None]), (1, 300))
    with_photograph(image, photographs, encode(Image.new("RGB", (300, 1)), "PNG"))
    exported(tmp_path / "out", [image], photographs)
    (row,) = load(tmp_path / "out", tmp_path / "cache")["train"]
    assert np.asarray(row["label_map"]).tolist() == [list(range(1, 301))]


def test_an_odd_key_is_data_and_no_path(tmp_path: Path) -> None:
    photographs = LocalStore(str(tmp_path / "photographs"))
    image = annotated("a\n:b.jpg", [drawn("#")], (1, 1))
    (tmp_path / "photographs").mkdir()
    (tmp_path / "photographs" / image.key).write_bytes(encode(Image.new("RGB", (1, 1)), "PNG"))
    object.__setattr__(image, "etag", None)
    exported(tmp_path / "out", [image], photographs, parts=1)
    (row,) = pq.read_table(tmp_path / "out" / "data").to_pylist()
    assert (row["key"], row["image"]["path"]) == ("a\n:b.jpg", None)


def test_the_card_names_the_data_files(tmp_path: Path) -> None:
    exported(tmp_path, [], LocalStore(str(tmp_path / "photographs")))
    _, front, text = (tmp_path / "README.md").read_text().split("---\n", 2)
    (config,) = yaml.safe_load(front)["configs"]
    assert config["data_files"] == [{"split": "train", "path": "data/train-*"}]
    assert "pycocotools" in text
