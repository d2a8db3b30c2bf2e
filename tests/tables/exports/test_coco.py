"""instances.json is what COCO's own readers take for a ground truth."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from faster_coco_eval import COCO as FasterCOCO
from faster_coco_eval import COCOeval_faster
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from specray.sources import LocalStore
from specray.tables.exports import CATEGORIES
from specray.tables.exports.coco import Coco
from tests.tables.exports.cases import METHODS, annotated, cases, drawn, export, masks_of


def exported(folder: Path, method: str = "object", **changes: Any) -> Path:
    images = changes.get("images", cases(method))
    export(Coco(CATEGORIES[method]), images, LocalStore(str(folder)))
    return folder / "instances.json"


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("reader", [COCO, FasterCOCO])
def test_masks_come_back_from_its_readers(reader: Any, method: str, tmp_path: Path) -> None:
    found = reader(str(exported(tmp_path, method)))
    images = cases(method)
    assert found.getImgIds() == [image.id for image in images]
    for image in images:
        entry = found.imgs[image.id]
        assert (entry["file_name"], entry["height"], entry["width"]) == (
            image.key,
            image.height,
            image.width,
        )
        annotations = found.loadAnns(found.getAnnIds(imgIds=[image.id]))
        masks = [found.annToMask(annotation) for annotation in annotations]
        assert np.array_equal(masks, masks_of(image)) or not image.annotations
        for annotation, mask, source in zip(annotations, masks, image.annotations, strict=True):
            rows, columns = np.nonzero(mask)
            x, y = columns.min(), rows.min()
            assert annotation["bbox"] == [x, y, columns.max() + 1 - x, rows.max() + 1 - y]
            assert (annotation["id"], annotation["iscrowd"]) == (source.id, 0)
            assert annotation["area"] == mask.sum()
            assert found.cats[annotation["category_id"]]["name"] == method
            assert np.float32(annotation["score"]) == np.float32(source.score)


@pytest.mark.parametrize("kind", ["segm", "bbox"])
@pytest.mark.parametrize(
    ("reader", "evaluation"), [(COCO, COCOeval), (FasterCOCO, COCOeval_faster)]
)
def test_evaluated_against_itself_it_is_perfect(
    reader: Any, evaluation: Any, kind: str, tmp_path: Path
) -> None:
    path = exported(tmp_path)
    truth = reader(str(path))
    detections = truth.loadRes(json.loads(path.read_text())["annotations"])
    result = evaluation(truth, detections, kind)
    result.evaluate()
    result.accumulate()
    result.summarize()
    assert result.stats[0] == pytest.approx(1)


def test_boxes_are_tight_where_the_method_gave_others(tmp_path: Path) -> None:
    mask = drawn("....", ".##.", "....")
    image = annotated("a.jpg", [mask], mask.shape)
    object.__setattr__(image.annotations[0], "bbox", (0.0, 0.0, 4.0, 3.0))
    (annotation,) = json.loads(exported(tmp_path, images=[image]).read_text())["annotations"]
    assert annotation["bbox"] == [1, 1, 2, 1]


def test_region_0_is_background_and_all_others_are_of_one_category(tmp_path: Path) -> None:
    masks = [drawn("##", ".."), drawn("..", "#."), drawn("..", ".#")]
    image = annotated("a.jpg", masks, (2, 2), "region")
    tree = json.loads(exported(tmp_path, "region", images=[image]).read_text())
    names = {category["id"]: category["name"] for category in tree["categories"]}
    found = [names[annotation["category_id"]] for annotation in tree["annotations"]]
    assert found == ["background", "region", "region"]


def test_the_file_is_ascii_and_counts_are_what_pycocotools_makes(tmp_path: Path) -> None:
    image = annotated("日本/é\n\u202e.jpg", [drawn("#.#")], (1, 3))
    text = exported(tmp_path, images=[image]).read_bytes().decode("ascii")
    tree = json.loads(text)
    assert tree["images"][0]["file_name"] == image.key
    rle = tree["annotations"][0]["segmentation"]
    assert coco_mask.decode(rle).tolist() == [[1, 0, 1]]
