"""PASCAL VOC: boxes of XML files, segmentations of palette PNGs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from specray.datasets.voc_boxes import voc_detection, voc_xml
from specray.datasets.voc_segmentation import voc_segmentation
from specray.errors import UserError
from tests.datasets.writing import BLOCK, voc_xml_text, write_png, write_text


def test_detection(tmp_path: Path) -> None:
    write_text(tmp_path / "ImageSets/Main/trainval.txt", "000005", "2012_000001  1")
    write_text(tmp_path / "Annotations/000005.xml", voc_xml_text((1, 1, 500, 375), (9, 8, 20, 30)))
    write_text(tmp_path / "Annotations/2012_000001.xml", voc_xml_text())
    dataset = voc_detection(str(tmp_path))
    assert dataset.keys() == ["000005.jpg", "2012_000001.jpg"]
    assert dataset.kinds == {"boxes"} and dataset.images == str(tmp_path / "JPEGImages")
    truths = dataset.truths(dataset.keys())
    boxes = truths.of("000005.jpg", ["boxes"]).boxes
    assert boxes is not None
    assert boxes.tolist() == [[0, 0, 500, 375], [8, 7, 20, 30]], "difficult ones, but no parts"
    nothing = truths.of("2012_000001.jpg", ["boxes"]).boxes
    assert nothing is not None and nothing.shape == (0, 4)
    with pytest.raises(UserError, match=r"there is no ImageSets/Main/test.txt in"):
        voc_detection(str(tmp_path), split="test").keys()


BOMB = '<!DOCTYPE a [<!ENTITY b "c"><!ENTITY d "&b;&b;">]><annotation>&d;</annotation>'


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (BOMB.encode(), "DOCTYPE"),
        (f'<?xml version="1.0" encoding="UTF-16"?>{BOMB}'.encode("utf-16"), "DOCTYPE"),
        (b'<!DOCTYPE annotation SYSTEM "file:///etc/passwd"><annotation/>', "DOCTYPE"),
        (b"<annotation><object></annotation>", "ParseError"),
        (b"<annotation><object/></annotation>", "no <bndbox>"),
        (b"<annotation><object><bndbox/></object></annotation>", "could not convert"),
        (b"<html/>", "begins with <html>"),
        (b"", "ParseError"),
    ],
)
def test_damaged_and_hostile_xml(tmp_path: Path, data: bytes, fault: str) -> None:
    (tmp_path / "x.xml").write_bytes(data)
    dataset = voc_xml(str(tmp_path))
    with pytest.raises(UserError, match=f"x.xml in .*{fault}"):
        dataset.truths(["x.jpg"]).of("x.jpg", ["boxes"])


@pytest.fixture
def segmentation(tmp_path: Path) -> Path:
    classes = np.zeros((4, 6), np.uint8)
    classes[BLOCK] = 20
    classes[1, 2], classes[0, 0] = 255, 1
    objects = np.where(classes == 20, 2, classes).astype(np.uint8)
    for name in ("2007_000001", "2007_000002"):
        write_png(tmp_path / f"SegmentationClass/{name}.png", classes, palette=True)
        write_png(tmp_path / f"SegmentationObject/{name}.png", objects, palette=True)
    return tmp_path


def test_segmentation(segmentation: Path) -> None:
    write_text(segmentation / "ImageSets/Segmentation/val.txt", "2007_000002")
    dataset = voc_segmentation(str(segmentation))
    assert dataset.keys() == ["2007_000002.jpg"]
    assert dataset.images == str(segmentation / "JPEGImages")
    assert len(dataset.categories) == 21
    assert (dataset.categories[0], dataset.categories[20]) == ("background", "tvmonitor")
    key = "2007_000002.jpg"
    truth = dataset.truths([key]).of(key, dataset.kinds)
    assert dataset.kinds == {"classes", "instances", "mask"}
    assert truth.classes is not None and truth.mask is not None and truth.instances is not None
    assert (truth.classes[1, 3], truth.classes[1, 2], truth.classes[0, 0]) == (20, 255, 1)
    assert np.count_nonzero(truth.mask) == 6 and not truth.mask[1, 2]
    assert [each["area"] for each in truth.instances] == [1, 5]
    assert truth.boxes is None


def test_without_its_list_a_split_is_an_error_and_all_files_are_the_default(
    segmentation: Path,
) -> None:
    assert voc_segmentation(str(segmentation)).keys() == ["2007_000001.jpg", "2007_000002.jpg"]
    fault = "there is no ImageSets/Segmentation/val.txt in .* leave --split out"
    with pytest.raises(UserError, match=fault):
        voc_segmentation(str(segmentation), split="val").keys()
    with pytest.raises(UserError, match=r"there is no ImageSets/Segmentation/val.txt in"):
        voc_segmentation(str(segmentation / "SegmentationClass")).keys()


def test_real_segmentations(assets: Path) -> None:
    dataset = voc_segmentation(str(assets / "data/voc_labelme_sample"))
    assert dataset.keys() == ["2011_000003.jpg", "2011_000006.jpg", "2011_000025.jpg"]
    key = "2011_000006.jpg"
    truth = dataset.truths([key]).of(key, ["classes", "instances", "mask"])
    assert truth.classes is not None and truth.mask is not None and truth.instances is not None
    assert np.unique(truth.classes).tolist() == [0, 9, 15, 18, 255]
    assert len(truth.instances) == 6
    assert sum(each["area"] for each in truth.instances) == np.count_nonzero(truth.mask)


def test_real_boxes(assets: Path) -> None:
    dataset = voc_xml(str(assets / "data/kangaroo/annotations"))
    keys = dataset.keys()
    truths = dataset.truths(keys)
    found = [truths.of(key, ["boxes"]).boxes for key in keys]
    assert len(found) == 163 and sum(len(boxes) for boxes in found if boxes is not None) == 263
    boxes = truths.of("00001.jpg", ["boxes"]).boxes
    assert boxes is not None and boxes.tolist() == [[232, 88, 386, 262], [133, 104, 341, 253]]
