"""COCO's JSON files: boxes, instances, panoptic maps."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from specray.datasets.annotations import segmentation_rle
from specray.datasets.coco import coco, coco_json
from specray.datasets.coco_panoptic import coco_panoptic
from specray.errors import UserError
from tests.datasets.writing import BLOCK, coco_tree, runs, write_json, write_png, write_text

SPLITS = ("train2017", "val2017")


def test_coco(tmp_path: Path) -> None:
    write_json(tmp_path / "annotations/instances_val2017.json", coco_tree())
    dataset = coco(str(tmp_path))
    assert dataset.keys() == ["a.jpg", "b.jpg", "c.jpg"], "one without annotations too"
    assert dataset.kinds == {"boxes", "instances"}
    assert dataset.images == str(tmp_path / "val2017")
    truth = dataset.truths(["a.jpg"]).of("a.jpg", ["boxes", "instances"])
    assert truth.boxes is not None and truth.boxes.tolist() == [[2, 1, 5, 3]], "rounded, no crowd"
    assert truth.instances is not None
    one, crowd = truth.instances
    assert (one["area"], one["iscrowd"], one["bbox"]) == (5.5, 0, [1.6, 0.7, 3.2, 2.2])
    assert (coco_mask.decode(one["rle"]) == BLOCK).all()
    assert crowd["iscrowd"] == 1 and coco_mask.area(crowd["rle"]) == 6
    (box,) = dataset.truths(["b.jpg"]).of("b.jpg", ["instances"]).instances or ()
    assert "rle" not in box and box["area"] == 4
    nothing = dataset.truths(["c.jpg"]).of("c.jpg", ["boxes", "instances"])
    assert nothing.boxes is not None and nothing.boxes.shape == (0, 4)
    assert nothing.instances == ()


def test_truths_of_coco_carry_their_own_annotations_only(tmp_path: Path) -> None:
    write_json(tmp_path / "own.json", coco_tree())
    dataset = coco_json(str(tmp_path / "own.json"))
    assert dataset.images is None
    truths = pickle.loads(pickle.dumps(dataset.truths(["b.png"])))
    assert list(truths.records) == ["b"] and len(truths.records["b"].annotations) == 1


def test_a_list_cuts_coco(tmp_path: Path) -> None:
    tree = coco_tree()
    for image in tree["images"]:
        image["file_name"] = f"COCO_train2014_{image['file_name']}"
    write_json(tmp_path / "annotations/instances_train2014.json", tree)
    names = tmp_path / "list.txt"
    write_text(names, "train2014/COCO_train2014_a.jpg", "COCO_train2014_c")
    dataset = coco(str(tmp_path), split="train2014", names=str(names))
    assert dataset.keys() == ["COCO_train2014_a.jpg", "COCO_train2014_c.jpg"]
    write_text(names, "COCO_train2014_a.jpg", "COCO_train2014_x.jpg")
    with pytest.raises(UserError, match=r"--list: 1 of 2 images .* such as COCO_train2014_x"):
        coco(str(tmp_path), split="train2014", names=str(names)).keys()


def test_missing_and_damaged_files_of_coco(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"there is no instances_val2017.json in .*annotations"):
        coco(str(tmp_path)).keys()
    file = tmp_path / "own.json"
    for text, fault in (
        ('{"images": [', "own.json in .* is no JSON, or damaged"),
        ("[]", "own.json in .* is no JSON object"),
        ("{}", "own.json in .* is no file of COCO annotations, or damaged .KeyError: 'images'"),
        ("[" * 100_000, "own.json in .* is no JSON"),
    ):
        file.write_text(text)
        with pytest.raises(UserError, match=fault) as caught:
            coco_json(str(file)).keys()
        assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    "change",
    [
        {"images": [{"id": 1, "file_name": "a.jpg", "height": 10**6, "width": 10**6}]},
        {"images": [{"id": 1, "file_name": "a.jpg", "height": None, "width": 6}]},
        {"images": [{"id": 9, "file_name": "a.jpg", "height": 4, "width": 6}]},
        {"images": [{"id": i, "file_name": "a.jpg", "height": 4, "width": 6} for i in (1, 2, 3)]},
    ],
)
def test_images_of_coco_must_fit(tmp_path: Path, change: dict[str, Any]) -> None:
    write_json(tmp_path / "own.json", coco_tree() | change)
    with pytest.raises(UserError, match=r"own.json in .* or damaged"):
        coco_json(str(tmp_path / "own.json")).keys()


def test_two_images_of_one_stem(tmp_path: Path) -> None:
    tree = coco_tree()
    tree["images"][0]["file_name"] = "a.png"
    write_json(tmp_path / "own.json", tree)
    with pytest.raises(UserError, match=r"two images of one name: a.png and a.jpg"):
        coco_json(str(tmp_path / "own.json")).keys()


def test_every_encoding_is_the_same_mask() -> None:
    compressed = coco_mask.encode(np.asfortranarray(BLOCK, np.uint8))
    text = {"size": [4, 6], "counts": compressed["counts"].decode()}
    for segmentation in ([[2, 1, 5, 1, 5, 3, 2, 3]], runs(BLOCK), compressed, text):
        rle = segmentation_rle(segmentation, (4, 6))
        assert rle == compressed
    empty = segmentation_rle([[1, 1, 2, 2]], (4, 6))
    assert coco_mask.area(empty) == 0, "two corners are no polygon"


@pytest.mark.parametrize(
    "segmentation",
    [
        {"size": [6, 4], "counts": [24]},
        {"size": [4, 6], "counts": [23]},
        {"size": [4, 6], "counts": [-1, 25]},
        {"size": [4, 6], "counts": [2**62, 2**62, 2**62, 2**62 + 24]},
        {"size": [4, 6], "counts": [2**70]},
        {"size": [4, 6], "counts": []},
        {"size": [4, 6], "counts": ""},
        {"size": [4, 6], "counts": "oooooooooooooo0"},
        {"size": [4, 6], "counts": "P"},
        {"size": [4, 6], "counts": "1o"},
        {"size": [4, 6], "counts": "\u00e9"},
        {"size": [4, 6], "counts": "9999"},
        [[0, 0, 1, 0, 1]],
        [[0, 0, 1, 0, 1, 1, 2]],
        [[0, 0, 1e9, 0, 1, 1]],
        [[0, 0, float("nan"), 0, 1, 1]],
        [["a", "b", "c", "d", "e", "f"]],
    ],
)
def test_wrong_encodings_are_refused(tmp_path: Path, segmentation: Any) -> None:
    if segmentation != [[0, 0, 1, 0, 1]]:  # not even three corners: no pixels
        with pytest.raises((ValueError, TypeError)):
            segmentation_rle(segmentation, (4, 6))
    tree = coco_tree()
    tree["annotations"][0]["segmentation"] = segmentation
    write_json(tmp_path / "own.json", tree)
    dataset = coco_json(str(tmp_path / "own.json"))
    boxes = dataset.truths(["a.jpg"]).of("a.jpg", ["boxes"]).boxes
    assert boxes is not None and len(boxes) == 1, "boxes do not depend on masks"
    if segmentation != [[0, 0, 1, 0, 1]]:
        with pytest.raises(UserError, match=r"own.json in .* or damaged"):
            dataset.truths(["a.jpg"]).of("a.jpg", ["instances"])


def panoptic_tree() -> dict[str, Any]:
    return {
        "images": [{"id": 7, "file_name": "a.jpg", "height": 1, "width": 4}],
        "annotations": [
            {
                "image_id": 7,
                "file_name": "a.png",
                "segments_info": [
                    {"id": 1 + 256 * 2 + 65536 * 3, "category_id": 90, "iscrowd": 0},
                    {"id": 5, "category_id": 4, "iscrowd": 1},
                ],
            }
        ],
        "categories": [{"id": 4, "name": "cat"}, {"id": 90, "name": "sky"}],
    }


def test_panoptic(tmp_path: Path) -> None:
    write_json(tmp_path / "annotations/panoptic_val2017.json", panoptic_tree())
    colours = [[[1, 2, 3], [5, 0, 0], [0, 0, 0], [5, 0, 0]]]
    write_png(tmp_path / "annotations/panoptic_val2017/a.png", colours)
    dataset = coco_panoptic(str(tmp_path))
    assert dataset.kinds == {"panoptic", "classes"} and dataset.categories == ("cat", "sky")
    assert (dataset.keys(), dataset.images) == (["a.jpg"], str(tmp_path / "val2017"))
    assert dataset.group("a.jpg") is None
    truths = pickle.loads(pickle.dumps(dataset.truths(["a.jpg"])))
    truth = truths.of("a.jpg", ["panoptic", "classes"])
    assert truth.classes.tolist() == [[1, 0, 255, 0]] and truth.classes.dtype == np.uint8
    assert truth.panoptic.ids.tolist() == [[197121, 5, 0, 5]]
    assert truth.panoptic.categories == {197121: 1, 5: 0}
    assert truth.panoptic.crowds == {5}


def test_panoptic_maps_must_fit_their_file(tmp_path: Path) -> None:
    tree = panoptic_tree()
    write_json(tmp_path / "annotations/panoptic_val2017.json", tree)
    png = tmp_path / "annotations/panoptic_val2017/a.png"
    for pixels, fault in (
        ([[[9, 0, 0]]], "a.png in .* damaged .KeyError: 9"),
        ([[9]], "a.png in .* no three channels"),
    ):
        write_png(png, pixels)
        with pytest.raises(UserError, match=fault):
            coco_panoptic(str(tmp_path)).truths(["a.jpg"]).of("a.jpg", ["panoptic"])
    tree["annotations"][0]["segments_info"][0]["category_id"] = 3
    write_json(tmp_path / "annotations/panoptic_val2017.json", tree)
    with pytest.raises(UserError, match=r"panoptic_val2017.json in .* or damaged"):
        coco_panoptic(str(tmp_path)).keys()
    tree["categories"] = [{"id": i, "name": str(i)} for i in range(255)]
    write_json(tmp_path / "annotations/panoptic_val2017.json", tree)
    assert coco_panoptic(str(tmp_path)).kinds == {"panoptic"}, "classes have 8 bits"


def test_real_annotations_have_the_masks_of_pycocotools(assets: Path) -> None:
    instances = crowds = boxes = images = 0
    for split in SPLITS:
        root = assets / "data/coco_tiny"
        dataset = coco(str(root), split=split)
        keys = dataset.keys()
        images += len(keys)
        truths = dataset.truths(keys)
        reference = COCO()
        reference.dataset = json.loads((root / f"annotations/instances_{split}.json").read_text())
        reference.createIndex()
        numbers = {image["file_name"]: image["id"] for image in reference.dataset["images"]}
        for key in keys:
            truth = truths.of(key, ["boxes", "instances"])
            assert truth.instances is not None and truth.boxes is not None
            theirs = reference.imgToAnns[numbers[key]]
            assert [each["rle"]["counts"] for each in truth.instances] == [
                reference.annToRLE(each)["counts"] for each in theirs
            ]
            crowds += sum(each["iscrowd"] for each in truth.instances)
            instances += sum(1 - each["iscrowd"] for each in truth.instances)
            boxes += len(truth.boxes)
    assert (images, instances, boxes, crowds) == (100, 842, 842, 10)
