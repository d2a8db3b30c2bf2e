"""Masks of saliency and of videos, birds, and one's own maps of instances."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from specray.datasets import Dataset
from specray.datasets.cub import cub
from specray.datasets.davis import davis2016
from specray.datasets.instance_maps import instance_maps
from specray.datasets.masks import own_masks
from specray.datasets.saliency import dut_omron, duts, ecssd
from specray.errors import UserError
from tests.datasets.writing import BLOCK, BLOCK_BOX, write_png, write_text


@pytest.mark.parametrize(
    ("opened", "images", "masks"),
    [
        (duts, "DUTS-TE/DUTS-TE-Image", "DUTS-TE/DUTS-TE-Mask"),
        (ecssd, "images", "ground_truth_mask"),
        (dut_omron, "DUT-OMRON-image", "pixelwiseGT-new-PNG"),
    ],
)
def test_saliency(
    tmp_path: Path, opened: Callable[[str], Dataset], images: str, masks: str
) -> None:
    write_png(tmp_path / masks / "0001.png", BLOCK)
    dataset = opened(str(tmp_path))
    assert (dataset.keys(), dataset.images) == (["0001.jpg"], str(tmp_path / images))
    assert dataset.kinds == {"mask", "boxes"} and dataset.categories == ()
    truth = dataset.truths(["0001.jpg"]).of("0001.jpg", ["mask", "boxes"])
    assert truth.mask is not None and (truth.mask == BLOCK).all()
    assert truth.boxes is not None and truth.boxes.tolist() == BLOCK_BOX


def test_duts_has_a_part_for_training(tmp_path: Path) -> None:
    write_png(tmp_path / "DUTS-TR/DUTS-TR-Mask/x.png", BLOCK)
    assert duts(str(tmp_path), split="tr").images == str(tmp_path / "DUTS-TR/DUTS-TR-Image")
    with pytest.raises(UserError, match=r"DUTS-TE/DUTS-TE-Mask ends in .png"):
        duts(str(tmp_path)).keys()


def test_davis(tmp_path: Path) -> None:
    lines = [
        f"/JPEGImages/480p/{frame}.jpg /Annotations/480p/{frame}.png"
        for frame in ("cows/00000", "bear/00001")
    ]
    write_text(tmp_path / "ImageSets/480p/val.txt", *lines)
    write_png(tmp_path / "Annotations/480p/cows/00000.png", BLOCK)
    dataset = davis2016(str(tmp_path))
    assert dataset.keys() == ["bear/00001.jpg", "cows/00000.jpg"]
    assert dataset.images == str(tmp_path / "JPEGImages/480p")
    assert [*map(dataset.group, dataset.keys())] == ["bear", "cows"]
    truths = dataset.truths(dataset.keys())
    boxes = truths.of("cows/00000.jpg", ["boxes"]).boxes
    assert boxes is not None and boxes.tolist() == BLOCK_BOX
    with pytest.raises(UserError, match=r"no bear/00001.png in .*Annotations/480p"):
        truths.of("bear/00001.jpg", ["mask"])
    write_text(tmp_path / "ImageSets/480p/train.txt", "bear/00001")
    with pytest.raises(UserError, match=r"ImageSets/480p/train.txt in .* or damaged"):
        davis2016(str(tmp_path), split="train").keys()


@pytest.fixture
def birds(tmp_path: Path) -> Path:
    keys = ("001.Albatross/A_0046_18.jpg", "002.Auklet/B_0001.jpg")
    write_text(tmp_path / "images.txt", *(f"{i} {key}" for i, key in enumerate(keys, 1)))
    write_text(tmp_path / "train_test_split.txt", "1 0", "2 1")
    write_text(tmp_path / "bounding_boxes.txt", "1 1.0 0.0 4.0 3.5", "2 0.0 0.0 1.0 1.0")
    votes = np.where(BLOCK, 153, 102).astype(np.uint8)  # of five annotators three, or two
    write_png(tmp_path / "segmentations/001.Albatross/A_0046_18.png", votes)
    return tmp_path


def test_cub(birds: Path) -> None:
    dataset = cub(str(birds))
    assert dataset.keys() == ["001.Albatross/A_0046_18.jpg"]
    assert dataset.kinds == {"boxes", "mask"} and dataset.images == str(birds / "images")
    assert cub(str(birds), split="train").keys() == ["002.Auklet/B_0001.jpg"]
    (key,) = dataset.keys()
    assert dataset.group(key) is None
    truth = dataset.truths([key]).of(key, ["boxes", "mask"])
    assert truth.boxes is not None and truth.boxes.tolist() == [[1.0, 0.0, 5.0, 3.5]]
    assert truth.mask is not None and (truth.mask == BLOCK).all()


@pytest.mark.parametrize(
    ("name", "lines", "fault"),
    [
        ("train_test_split.txt", ["1 0"], "images.txt in .* damaged .KeyError: '2'"),
        ("bounding_boxes.txt", ["1 1 2 3"], "bounding_boxes.txt .* without 5 columns"),
        ("bounding_boxes.txt", ["1 a b c d", "2 0 0 1 1"], "could not convert"),
        ("images.txt", [], "images.txt in .* is empty"),
    ],
)
def test_lists_of_cub_must_fit(birds: Path, name: str, lines: list[str], fault: str) -> None:
    write_text(birds / name, *lines)
    with pytest.raises(UserError, match=fault):
        cub(str(birds)).keys()


def test_instance_maps(tmp_path: Path) -> None:
    ids = np.zeros((4, 6), np.uint8)
    ids[BLOCK] = 2
    ids[0, 0] = 255
    write_png(tmp_path / "x.png", ids)
    write_png(tmp_path / "y.png", ids.astype(np.uint16))
    dataset = instance_maps(str(tmp_path))
    assert dataset.kinds == {"instances", "boxes", "mask"}
    truths = dataset.truths(dataset.keys())
    truth = truths.of("x.jpg", ["instances", "boxes", "mask"])
    assert truth.instances is not None and truth.boxes is not None and truth.mask is not None
    assert [(each["iscrowd"], each["area"]) for each in truth.instances] == [(0, 6), (1, 1)]
    assert truth.instances[0]["bbox"] == [2, 1, 3, 2]
    assert truth.boxes.tolist() == BLOCK_BOX
    assert np.count_nonzero(truth.mask) == 7
    wide = truths.of("y.jpg", ["boxes"])
    assert wide.instances is None and wide.boxes is not None
    assert wide.boxes.tolist() == [*BLOCK_BOX, [0, 0, 1, 1]], "16 bits have no crowds"


def test_real_masks_of_davis(assets: Path) -> None:
    dataset = own_masks(str(assets / "data/davis2016_val/masks"))
    keys = dataset.keys()
    assert len(keys) == 277 and len({dataset.group(key) for key in keys}) == 20
    truth = dataset.truths(["libby/00030.jpg"]).of("libby/00030.jpg", ["mask", "boxes"])
    assert truth.mask is not None and truth.boxes is not None
    assert truth.mask.shape == (480, 854) and len(truth.boxes) == 1


def test_real_instance_maps_of_coco(assets: Path) -> None:
    crowds = instances = 0
    for split in ("train2017", "val2017"):
        dataset = instance_maps(str(assets / f"data/coco_tiny/instances_{split}"))
        keys = dataset.keys()
        truths = dataset.truths(keys)
        for key in keys:
            found = truths.of(key, ["instances"]).instances or ()
            crowds += sum(each["iscrowd"] for each in found)
            instances += sum(1 - each["iscrowd"] for each in found)
    # several crowds of an image are one there, and what others hide has no number
    assert 0 < crowds <= 10 and 800 < instances <= 842
