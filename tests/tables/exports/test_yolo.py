"""Polygons of YOLO-seg, rasterised by others."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import skimage.draw
import yaml
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy import ndimage

from specray.sources import LocalStore
from specray.tables.exports import CATEGORIES, AnnotatedImage, Skipped, StemCounter
from specray.tables.exports.outlines import outlines
from specray.tables.exports.yolo import Yolo
from tests.tables.exports.cases import (
    METHODS,
    Mask,
    annotated,
    cases,
    coins,
    drawn,
    export,
    masks_of,
)

Polygon = NDArray[np.float64]


def exported(folder: Path, images: list[AnnotatedImage], method: str = "object") -> list[Skipped]:
    counter = StemCounter()
    counter.add([image.key for image in images])
    return export(Yolo(CATEGORIES[method], counter.names()), images, LocalStore(str(folder)))


def polygons_in(path: Path, height: int, width: int) -> list[tuple[int, Polygon]]:
    """Class and corners (V, 2) in pixels, x before y, as YOLO's loaders read a line."""
    found = []
    for line in path.read_text().splitlines():
        number, *values = line.split()
        shares = np.array(values, dtype=np.float32).reshape(-1, 2)
        assert shares.min() >= 0 and shares.max() <= 1 and len(shares) >= 3
        found.append((int(number), shares.astype(np.float64) * (width, height)))
    return found


def by_centres(polygon: Polygon, shape: tuple[int, ...]) -> Mask:
    found: Mask = skimage.draw.polygon2mask(shape, polygon[:, ::-1] - 0.5)
    return found


def with_outline(polygon: Polygon, shape: tuple[int, ...]) -> Mask:
    height, width = shape
    image = Image.new("1", (width, height))
    ImageDraw.Draw(image).polygon([tuple(corner) for corner in polygon - 0.5], fill=1)
    return np.asarray(image)


def iou(a: Mask, b: Mask) -> float:
    return float((a & b).sum() / (a | b).sum())


@pytest.mark.parametrize("method", METHODS)
def test_masks_come_back_exactly_by_the_centres_of_pixels(method: str, tmp_path: Path) -> None:
    exported(tmp_path, cases(method), method)
    assert yaml.safe_load((tmp_path / "data.yaml").read_text())["names"] == {0: method}
    for image in cases(method):
        path = tmp_path / "labels" / f"{image.key.removesuffix('.jpg')}.txt"
        polygons = polygons_in(path, image.height, image.width)
        for (number, polygon), mask in zip(polygons, masks_of(image), strict=True):
            assert number == 0
            assert np.array_equal(by_centres(polygon, mask.shape), mask)


def test_a_rasteriser_that_draws_the_line_too_is_a_pixel_off_at_most(tmp_path: Path) -> None:
    masks = [mask for mask in coins() if mask.sum() > 500]
    assert len(masks) > 10
    image = annotated("a.jpg", masks, masks[0].shape)
    exported(tmp_path, [image])
    polygons = polygons_in(tmp_path / "labels" / "a.txt", image.height, image.width)
    for (_, polygon), mask in zip(polygons, masks, strict=True):
        found = with_outline(polygon, mask.shape)
        assert iou(found, mask) > 0.8
        if len(outlines(mask)) == 1:  # without bridges
            wider = ndimage.binary_dilation(mask, np.ones((3, 3)))
            narrower = ndimage.binary_erosion(mask, np.ones((3, 3)))
            assert not (found & ~wider).any() and not (narrower & ~found).any()


def test_six_digits_are_exact_up_to_sides_of_100_000_pixels(tmp_path: Path) -> None:
    mask = np.zeros((1, 100_000), dtype=bool)
    mask[0, [0, 7, 33_333, 99_998]] = True
    exported(tmp_path, [annotated("a.jpg", [mask], mask.shape)])
    ((_, polygon),) = polygons_in(tmp_path / "labels" / "a.txt", *mask.shape)
    corners = np.array([0, 1, 7, 8, 33_333, 33_334, 99_998, 99_999])
    assert np.abs(polygon[:, :1] - corners).min(axis=1).max() < 0.1
    assert np.abs(polygon[:, :1] - corners).min(axis=0).max() < 0.1


def test_classes_count_from_0_as_data_yaml_names_them(tmp_path: Path) -> None:
    masks = [drawn("##.."), drawn("..#."), drawn("...#")]
    exported(tmp_path, [annotated("a.jpg", masks, (1, 4), "region")], "region")
    data = yaml.safe_load((tmp_path / "data.yaml").read_text())
    numbers = [number for number, _ in polygons_in(tmp_path / "labels" / "a.txt", 1, 4)]
    assert [data["names"][number] for number in numbers] == ["background", "region", "region"]
    assert (tmp_path / data["train"]).is_file()
    assert (tmp_path / data["val"]).is_file()


def test_labels_lie_where_yolo_looks_for_those_of_the_listed_images(tmp_path: Path) -> None:
    keys = ["a/b.jpg", "c.d.PNG", "empty.jpg"]
    assert exported(tmp_path, [annotated(key, [], (2, 2)) for key in keys]) == []
    listed = (tmp_path / "train.txt").read_text().splitlines()
    assert listed == [f"./images/{key}" for key in keys]
    for line in listed:  # as Ultralytics does it
        path = str(tmp_path / line)
        labels = "/labels/".join(path.rsplit("/images/", 1)).rsplit(".", 1)[0] + ".txt"
        assert Path(labels).read_bytes() == b""


@pytest.mark.parametrize(
    "keys",
    [["x.jpg", "x.png"], ["x.jpg", "X.jpg"], ["../x.jpg", "a//x.jpg"], ["a\nb.jpg", "n\0.jpg"]],
)
def test_images_whose_labels_yolo_could_not_find_are_refused_by_name(
    keys: list[str], tmp_path: Path
) -> None:
    images = [annotated(key, [drawn("#")], (1, 1)) for key in ["good.jpg", *keys]]
    skipped = exported(tmp_path, images)
    assert [(image.key, image.code, image.masks) for image in skipped] == [
        (key, "no_own_name", 1) for key in keys
    ]
    assert [path.name for path in (tmp_path / "labels").rglob("*.txt")] == ["good.txt"]
    assert (tmp_path / "train.txt").read_text() == "./images/good.jpg\n"
