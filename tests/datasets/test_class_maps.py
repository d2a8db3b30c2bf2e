"""Label maps: one's own, Cityscapes, COCO-Stuff, CamVid, Potsdam-3."""

from __future__ import annotations

import io
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from specray.datasets import Dataset, DatasetConfig, LabelSpace
from specray.datasets.camvid import camvid
from specray.datasets.cityscapes import cityscapes
from specray.datasets.class_maps import own_maps
from specray.datasets.coco_stuff import coco_stuff
from specray.datasets.label_spaces import ISPRS, numbered
from specray.datasets.potsdam import main, potsdam, write_photographs
from specray.errors import UserError
from tests.datasets.writing import write_png, write_text


def classes(dataset: Dataset, key: str) -> list[list[int]]:
    found = dataset.truths([key]).of(key, ["classes"]).classes
    assert found is not None and found.dtype == np.uint8
    values: list[list[int]] = found.tolist()
    return values


def test_own_maps(tmp_path: Path) -> None:
    write_png(tmp_path / "a/x.png", [[0, 1, 2, 3]])
    write_png(tmp_path / "y.png", [[1, 255]], palette=True)
    config = DatasetConfig(truth=str(tmp_path), truth_classes=3)
    dataset = config.open()
    assert dataset.kinds == {"classes"} and dataset.images is None
    assert dataset.categories == ("0", "1", "2")
    assert dataset.keys() == ["a/x.png", "y.png"]
    assert classes(dataset, "a/x.jpg") == [[0, 1, 2, 255]]
    assert classes(dataset, "y.tif") == [[1, 255]]
    assert dataset.truths(["y.png"]).of("y.png", []).classes is None


@pytest.mark.parametrize("pixels", [np.zeros((2, 2, 3), np.uint8), np.full((2, 2), 300, np.uint16)])
def test_maps_must_have_numbers_of_8_bits(tmp_path: Path, pixels: np.ndarray) -> None:
    write_png(tmp_path / "x.png", pixels)
    with pytest.raises(UserError, match=r"x.png in .* must"):
        classes(own_maps(str(tmp_path), space=numbered(2)), "x.png")


def test_cityscapes(tmp_path: Path) -> None:
    city = tmp_path / "gtFine/val/ulm"
    write_png(city / "ulm_000000_000019_gtFine_labelIds.png", [[7, 33, 6, 255]])
    write_png(city / "ulm_000000_000019_gtFine_instanceIds.png", [[1, 1, 1, 1]])
    dataset = cityscapes(str(tmp_path))
    key = "ulm/ulm_000000_000019_leftImg8bit.png"
    assert dataset.keys() == [key]
    assert dataset.images == str(tmp_path / "leftImg8bit/val")
    assert classes(dataset, key) == [[0, 26, 255, 255]]
    assert len(dataset.categories) == 27 and dataset.group(key) is None
    with pytest.raises(UserError, match=r"gtFine/train ends in _gtFine_labelIds.png"):
        cityscapes(str(tmp_path), split="train").keys()


def test_coco_stuff_takes_the_curated_list_or_another_or_all(tmp_path: Path) -> None:
    for name in ("000000000001", "000000000002", "000000000003"):
        write_png(tmp_path / f"annotations/val2017/{name}.png", [[*range(182), 255]])
    dataset = coco_stuff(str(tmp_path))
    assert dataset.keys() == [f"00000000000{i}.jpg" for i in (1, 2, 3)]
    assert dataset.images == str(tmp_path / "images/val2017")
    found = classes(dataset, "000000000001.jpg")[0]
    assert set(found[:182]) == set(range(27)) and found[182] == 255
    assert (found[0], found[71], found[181]) == (9, 0, 24)
    write_text(tmp_path / "curated/val2017/Coco164kFull_Stuff_Coarse_7.txt", "000000000002")
    assert coco_stuff(str(tmp_path)).keys() == ["000000000002.jpg"]
    write_text(tmp_path / "list.txt", "images/val2017/000000000003.jpg", "")
    names = str(tmp_path / "list.txt")
    assert coco_stuff(str(tmp_path), names=names).keys() == ["000000000003.jpg"]
    with pytest.raises(UserError, match=r"--list: there is no other.txt"):
        coco_stuff(str(tmp_path), names=str(tmp_path / "other.txt")).keys()


def test_camvid(tmp_path: Path) -> None:
    write_png(tmp_path / "testannot/0001TP.png", [[*range(12)]])
    dataset = camvid(str(tmp_path))
    assert (dataset.keys(), dataset.images) == (["0001TP.png"], str(tmp_path / "test"))
    assert classes(dataset, "0001TP.png") == [[*range(11), 255]]
    assert (dataset.categories[0], dataset.categories[10]) == ("Sky", "Bicyclist")


@pytest.fixture
def tiles(tmp_path: Path) -> Path:
    """Two tiles in the layout of Potsdam-3, one of them for tests."""
    for number in range(2):
        for folder, name, values in (
            ("imgs", "img", np.full((3, 3, 4), number, np.uint8) + np.arange(4, dtype=np.uint8)),
            ("gt", "gt", np.array([[0, 1, 2, 3, 4, 5, 6]], np.uint8)),
        ):
            buffer = io.BytesIO()
            savemat(buffer, {name: values}, do_compression=True)
            (tmp_path / folder).mkdir(exist_ok=True)
            (tmp_path / folder / f"{number}.mat").write_bytes(buffer.getvalue())
    write_text(tmp_path / "labelled_test.txt", "1")
    return tmp_path


def test_potsdam(tiles: Path) -> None:
    dataset = potsdam(str(tiles))
    assert (dataset.keys(), dataset.images) == (["1.png"], None)
    assert classes(dataset, "1.png") == [[0, 1, 2, 2, 0, 1, 255]]
    assert dataset.categories == ("road", "building", "vegetation")
    with pytest.raises(UserError, match=r"there is no labelled_train.txt in"):
        potsdam(str(tiles), split="train").keys()


def test_photographs_of_potsdam_become_png(tiles: Path) -> None:
    assert main([str(tiles), str(tiles / "png")]) == 0
    with Image.open(tiles / "png/1.png") as image:
        assert np.asarray(image)[2, 2].tolist() == [1, 2, 3]
    assert potsdam(str(tiles)).images == str(tiles / "png")
    assert main([]) == 2
    (tiles / "imgs/1.mat").write_bytes(b"MATLAB 5.0 MAT-file" + bytes(300))
    with pytest.raises(UserError, match=r"1.mat in .* is no MATLAB file with 'img'"):
        write_photographs(str(tiles), str(tiles / "png"))
    assert main([str(tiles), str(tiles / "png")]) == 2


@pytest.mark.parametrize("values", [np.array([[0.5]]), np.array([[256]]), np.zeros((2, 2, 2))])
def test_labels_of_potsdam_are_whole_numbers_in_a_plane(tiles: Path, values: np.ndarray) -> None:
    buffer = io.BytesIO()
    savemat(buffer, {"gt": values})
    (tiles / "gt/1.mat").write_bytes(buffer.getvalue())
    with pytest.raises(UserError, match=r"1.mat in "):
        classes(potsdam(str(tiles)), "1.png")
    (tiles / "gt/1.mat").write_bytes(buffer.getvalue()[:200])
    with pytest.raises(UserError, match=r"1.mat in .* or damaged"):
        classes(potsdam(str(tiles)), "1.png")


@pytest.mark.parametrize(
    ("folder", "images", "space", "found"),
    [
        ("camvid/test/labels", 233, numbered(11), {*range(11), 255}),
        ("aerial_sample/potsdam/ann_dir", 1, ISPRS, {0, 1, 2, 255}),
    ],
)
def test_real_maps(
    assets: Path, folder: str, images: int, space: LabelSpace, found: set[int]
) -> None:
    dataset = own_maps(str(assets / "data" / folder), space=space)
    keys = dataset.keys()
    assert len(keys) == images
    truths = dataset.truths(keys)
    counts: Counter[int] = Counter()
    for key in keys[:40]:
        maps = truths.of(key, ["classes"]).classes
        assert maps is not None
        counts.update(np.unique(maps).tolist())
    assert counts.keys() == found
