"""Crops and label maps: the right part of the photograph, the right pixels of the class."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from pycocotools import mask as coco_mask

from specray.tables.colours import class_colour
from specray.tables.report.classes.crops import (
    TILE,
    crop_name,
    draw_crop,
    scale_for,
    window_of,
)
from specray.tables.report.classes.maps import class_overlay
from specray.tables.report.pictures import Pixels
from specray.tables.rows import Row

INK = (1, 2, 3)


def region(mask: NDArray[np.bool_], bbox: list[float], key: str = "a.png") -> Row:
    rle = coco_mask.encode(np.asfortranarray(mask, dtype=np.uint8))
    return {
        "key": key,
        "height": mask.shape[0],
        "width": mask.shape[1],
        "bbox": bbox,
        "rle": rle,
    }


@st.composite
def boxes(draw: st.DrawFn) -> Row:
    height, width = draw(st.integers(1, 3000)), draw(st.integers(1, 3000))
    left, top = draw(st.integers(0, width - 1)), draw(st.integers(0, height - 1))
    size = draw(st.integers(1, width - left)), draw(st.integers(1, height - top))
    return {"height": height, "width": width, "bbox": [float(x) for x in (left, top, *size)]}


@given(boxes())
def test_a_window_holds_its_region_and_lies_within_the_image(region: Row) -> None:
    window = window_of(region)
    x, y, width, height = region["bbox"]
    slack = 1e-6
    assert 0 <= window.left <= x + slack and 0 <= window.top <= y + slack
    assert x + width <= window.left + window.width + slack <= region["width"] + 2 * slack
    assert y + height <= window.top + window.height + slack <= region["height"] + 2 * slack
    assert max(a / b for a, b in zip(window.tile, TILE, strict=True)) == 1
    assert 0 < scale_for(region) <= 1


def photograph_of(assets: Path) -> Pixels:
    images = sorted((assets / "data" / "camvid" / "test" / "images").glob("*.jpg"))
    return np.asarray(Image.open(images[100]).convert("RGB"))


@pytest.mark.parametrize("scale", [1, 2])
def test_a_crop_shows_the_class_as_the_photograph_has_it(assets: Path, scale: int) -> None:
    photograph = photograph_of(assets)
    height, width = photograph.shape[0] * scale, photograph.shape[1] * scale
    mask = np.zeros((height, width), dtype=np.bool_)
    box = [100 * scale, 120 * scale, 96 * scale, 96 * scale]
    mask[box[1] : box[1] + box[3], box[0] : box[0] + box[2]] = True
    shown = region(mask, [float(value) for value in box])
    crop = draw_crop(photograph, shown, INK).astype(int)
    assert crop.shape == (*TILE, 3)
    # the window is 192 x 144 pixels of the photograph around the middle of the box
    wanted = photograph[96:240, 52:244].astype(int)
    inside, outside = np.s_[44:100, 68:124], np.s_[:20, :]
    assert np.abs(crop[inside] - wanted[inside]).max() <= 1
    grey = wanted.mean(axis=2)
    assert np.ptp(crop[outside], axis=2).max() == 0
    assert np.corrcoef(crop[outside][..., 0].ravel(), grey[outside].ravel())[0, 1] > 0.99
    assert np.ptp(crop[outside]) < 0.5 * np.ptp(grey[outside])


def test_the_outline_of_a_class_is_drawn_in_its_colour_inside_of_it() -> None:
    mask = np.zeros((144, 192), dtype=np.bool_)
    mask[40:100, 60:140] = True
    crop = draw_crop(np.full((144, 192, 3), 200, np.uint8), region(mask, [0, 0, 192, 144]), INK)
    inked = (crop == INK).all(axis=2)
    core = np.zeros_like(mask)
    core[42:98, 62:138] = True
    assert np.array_equal(inked, mask & ~core)
    assert (crop[core] == 200).all()


def test_the_corners_of_a_region_are_marked() -> None:
    mask = np.ones((144, 192), dtype=np.bool_)
    photograph = np.full((144, 192, 3), 100, np.uint8)
    shown = region(mask, [56.0, 48.0, 80.0, 48.0])
    window, scale = window_of(shown), TILE[0] / window_of(shown).height
    top, left = (48 - window.top) * scale, (56 - window.left) * scale
    crop = draw_crop(photograph, shown, INK)
    white = np.argwhere((crop == 255).all(axis=2))
    assert np.abs(white.min(axis=0) - (top, left)).max() <= 2
    assert np.abs(white.max(axis=0) - (top + 48 * scale, left + 80 * scale)).max() <= 2
    assert not (crop[60:84, 70:122] == 255).any()


def test_a_region_without_a_mask_or_a_photograph_is_drawn_too() -> None:
    shown = region(np.zeros((40, 64), dtype=np.bool_), [8.0, 8.0, 8.0, 8.0]) | {"rle": None}
    assert draw_crop(None, shown, INK).shape == (*TILE, 3)


def test_a_crop_of_the_same_region_is_one_file_and_says_nothing_of_the_key() -> None:
    mask = np.zeros((40, 64), dtype=np.bool_)
    one = crop_name(region(mask, [8.0, 8.0, 8.0, 8.0], "<b>.png"), 7)
    assert one == crop_name(region(mask, [8.0, 8.0, 8.0, 8.0], "<b>.png"), 7)
    assert one != crop_name(region(mask, [8.0, 8.0, 8.0, 9.0], "<b>.png"), 7)
    assert "b" not in one.replace("webp", "").strip("0123456789abcdef-.")


def test_classes_are_coloured_by_id_and_the_rest_is_grey() -> None:
    ids = np.zeros((40, 64), dtype=np.int64)
    ids[:, 20:40], ids[:, 40:] = 5, -1
    segments = [region(ids == i, []) | {"index": i} for i in (0, 5)]
    picture = class_overlay(np.full((40, 64, 3), 120, np.uint8), segments).astype(int)
    for class_id in (0, 5):
        pixels = picture[ids == class_id]
        wanted = 0.65 * np.array(class_colour(class_id)) + 0.35 * 120
        assert np.abs(np.median(pixels, axis=0) - wanted).max() <= 1
    assert np.ptp(picture[ids == -1], axis=1).max() == 0
