"""What all datasets have in common."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

from specray.datasets import DatasetConfig, stem
from specray.datasets.masks import own_masks
from specray.errors import UserError
from tests.datasets.writing import BLOCK, BLOCK_BOX, write_png


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("top.png", "a/0.png", "a/1.png"):
        write_png(tmp_path / name, BLOCK)
    return tmp_path


def test_keys_of_one_stem_are_one_image(folder: Path) -> None:
    dataset = own_masks(str(folder))
    assert dataset.keys() == ["a/0.png", "a/1.png", "top.png"]
    truths = dataset.truths(["a/0.jpg", "nowhere.jpg"])
    for key in ("a/0.jpg", "a/0.webp", "a/0"):
        assert stem(key) == "a/0"
        truth = truths.of(key, ["mask"])
        assert truth.mask is not None and (truth.mask == BLOCK).all() and truth.boxes is None
    with pytest.raises(UserError, match=r"nothing of nowhere.jpg"):
        truths.of("nowhere.jpg", ["mask"])


def test_truths_carry_no_more_than_their_images(folder: Path) -> None:
    dataset = own_masks(str(folder))
    truths = pickle.loads(pickle.dumps(dataset.truths(["a/1.jpg"])))
    assert list(truths.records) == ["a/1"]
    assert truths.of("a/1.jpg", iter(["boxes"])).boxes.tolist() == BLOCK_BOX


def test_groups_are_the_folders_of_masks(folder: Path) -> None:
    dataset = own_masks(str(folder))
    assert [*map(dataset.group, dataset.keys())] == ["a", "a", None]


def test_files_are_named_if_they_are_missing_or_damaged(folder: Path) -> None:
    truths = own_masks(str(folder)).truths(["a/0.jpg", "a/1.jpg", "top.jpg"])
    (folder / "a/0.png").unlink()
    (folder / "a/1.png").write_bytes((folder / "a/1.png").read_bytes()[:-20])
    (folder / "top.png").write_bytes(b"GIF89a")
    faults = {"a/0.jpg": "there is no a/0.png in", "a/1.jpg": "a/1.png .* is no PNG, or damaged"}
    for key, fault in {**faults, "top.jpg": "top.png .* is no PNG, or damaged"}.items():
        with pytest.raises(UserError, match=fault) as caught:
            truths.of(key, ["mask"])
        assert "\n" not in str(caught.value) and str(folder) in str(caught.value)


def test_a_folder_without_files_is_an_error(tmp_path: Path) -> None:
    dataset = DatasetConfig(truth=str(tmp_path), dataset="masks").open()
    with pytest.raises(UserError, match=f"no file in {tmp_path} ends in .png"):
        dataset.keys()


def test_masks_of_several_kinds_of_png(tmp_path: Path) -> None:
    grey = np.array([[0, 127, 128, 255]], np.uint8)
    write_png(tmp_path / "grey.png", grey)
    write_png(tmp_path / "colour.png", np.repeat(grey[..., None], 3, axis=2))
    write_png(tmp_path / "wide.png", grey.astype(np.uint16) * 257)
    write_png(tmp_path / "ones.png", grey > 127)
    write_png(tmp_path / "palette.png", [[0, 0, 1, 2]], palette=True)
    write_png(tmp_path / "zero-one.png", [[0, 0, 1, 1]])
    truths = own_masks(str(tmp_path)).truths(own_masks(str(tmp_path)).keys())
    for name in ("grey", "colour", "wide", "ones", "palette", "zero-one"):
        mask = truths.of(name, ["mask"]).mask
        assert mask is not None and mask.dtype == np.bool_, name
        assert mask.tolist() == [[False, False, True, True]], name


def test_an_empty_mask_has_no_box(tmp_path: Path) -> None:
    write_png(tmp_path / "x.png", np.zeros((4, 6)))
    boxes = own_masks(str(tmp_path)).truths(["x.jpg"]).of("x.jpg", ["boxes"]).boxes
    assert boxes is not None and boxes.shape == (0, 4)
