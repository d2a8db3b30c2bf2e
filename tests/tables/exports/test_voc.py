"""The PNGs of PASCAL VOC: palettes, 0 for the background, never 255."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from specray.sources import LocalStore
from specray.tables.exports import CATEGORIES, AnnotatedImage, Names
from specray.tables.exports.png import pascal_palette
from specray.tables.exports.voc import Voc
from tests.tables.exports.cases import METHODS, annotated, cases, drawn, export, masks_of


def pixels(path: Path) -> NDArray[np.uint8]:
    with Image.open(path) as image:
        assert image.mode == "P"
        return np.asarray(image)


def exported(folder: Path, images: list[AnnotatedImage], method: str = "object") -> None:
    assert export(Voc(CATEGORIES[method], Names()), images, LocalStore(str(folder))) == []


@pytest.mark.parametrize("method", METHODS)
def test_masks_come_back_from_the_objects_and_their_union_from_the_classes(
    method: str, tmp_path: Path
) -> None:
    exported(tmp_path, cases(method), method)
    assert f"\n{method}:128,0,0::\n" in (tmp_path / "labelmap.txt").read_text()
    for image in cases(method):
        name = f"{image.key.removesuffix('.jpg')}.png"
        objects = pixels(tmp_path / "SegmentationObject" / name)
        classes = pixels(tmp_path / "SegmentationClass" / name)
        assert objects.shape == classes.shape == (image.height, image.width)
        assert set(np.unique(objects)) - {0} == {a.index + 1 for a in image.annotations}
        for annotation, mask in zip(image.annotations, masks_of(image), strict=True):
            assert np.array_equal(objects == annotation.index + 1, mask)
        assert np.array_equal(classes, objects > 0)


def test_region_0_is_the_background_of_both(tmp_path: Path) -> None:
    masks = [drawn("##..."), drawn("..##."), drawn("....#")]
    exported(tmp_path, [annotated("a.jpg", masks, (1, 5), "region")], "region")
    assert pixels(tmp_path / "SegmentationObject" / "a.png").tolist() == [[0, 0, 1, 1, 2]]
    assert pixels(tmp_path / "SegmentationClass" / "a.png").tolist() == [[0, 0, 1, 1, 1]]


def test_the_list_names_every_image_as_its_files_are_called(tmp_path: Path) -> None:
    exported(tmp_path, [annotated(key, [], (2, 2)) for key in ("a/b.jpg", "c.d.png", "../e.jpg")])
    text = (tmp_path / "ImageSets" / "Segmentation" / "train.txt").read_text()
    *plain, odd = text.splitlines()
    assert plain == ["a/b", "c.d"]
    assert odd.startswith("odd/e~")
    assert all(
        (tmp_path / "SegmentationObject" / f"{stem}.png").is_file() for stem in [*plain, odd]
    )


def test_colours_are_those_of_pascal_voc(tmp_path: Path) -> None:
    exported(tmp_path, [annotated("a.jpg", [drawn("#.")], (1, 2))])
    with Image.open(tmp_path / "SegmentationObject" / "a.png") as image:
        assert np.asarray(image.convert("RGB")).tolist() == [[[128, 0, 0], [0, 0, 0]]]
    # 1 aeroplane, 2 bicycle, 15 person, 20 tv monitor, 255 void: from the development kit
    colours = np.reshape(pascal_palette(), (256, 3))[[1, 2, 15, 20, 255]].tolist()
    assert colours == [[128, 0, 0], [0, 128, 0], [192, 128, 128], [0, 64, 128], [224, 224, 192]]


def test_254_segments_fit_and_more_are_refused_with_the_remedy(tmp_path: Path) -> None:
    masks = list(np.eye(255, dtype=bool)[:, None])
    exported(tmp_path, [annotated("a.jpg", masks[:254], (1, 255))])
    assert pixels(tmp_path / "SegmentationObject" / "a.png").tolist() == [[*range(1, 255), 0]]
    images = [annotated("a.jpg", masks, (1, 255)), annotated("b.jpg", [], (1, 1))]
    other = LocalStore(str(tmp_path / "other"))
    (skipped,) = export(Voc(CATEGORIES["object"], Names()), images, other)
    assert (skipped.key, skipped.code) == ("a.jpg", "too_many_segments")
    assert "--format ids" in skipped.message
    names = [path.name for path in (tmp_path / "other").rglob("*.png")]
    assert names == ["b.png", "b.png"]
