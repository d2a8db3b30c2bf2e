"""Objects against ground truth on small labelled sets, beside the trivial answer.

The sets are not part of the project: folders ``davis2016_val``, ``kangaroo`` and ``coco_tiny``
in the layouts of their publishers, below one root.
"""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pycocotools import mask as coco_mask

from specray.backbones import Backbone
from specray.evaluation import (
    CorLoc,
    ForegroundSums,
    centred_box,
    centred_mask,
    coco_boxes,
    corloc,
    foreground,
    mean_of_groups,
    voc_boxes,
    xywh_boxes,
)
from specray.pipelines.config import SegmentConfig
from specray.pipelines.engine import Engine
from specray.pipelines.preparing import prepare
from specray.sources import decode
from specray.tables.rows import Row

Boxes = NDArray[np.float64]

BOX_SIDE = 0.7
"""Side of the centred box that stands for no method at all, as a share of the image's."""
MASK_SIDE = 0.6
"""The same for masks; both are the best of a coarse search on these sets."""


@dataclass(frozen=True)
class Labelled:
    """An image with its ground truth."""

    path: Path
    boxes: Boxes
    """(M, 4) xyxy pixels."""
    mask: NDArray[np.bool_] | None = None
    """(H, W) foreground, where the set has masks."""


@dataclass(frozen=True)
class Score:
    """One figure of the accuracy table, in percent."""

    dataset: str
    metric: str
    images: int
    specray: float
    centred_box: float


def accuracy_rows(root: Path, config: SegmentConfig, backbone: Backbone) -> Iterator[Score]:
    """Score the objects that a configuration finds; sets that are absent are left out.

    CorLoc: share of images whose object 0 has IoU >= 0.5 with a true box. Foreground IoU: union
    of all objects against the mask, mean over the frames of a sequence, then over sequences.
    """
    engine = Engine(config, backbone, "cpu")
    for name, read in DATASETS.items():
        if (root / name).is_dir():
            yield from _scores(name, read(root / name), engine, backbone.patch_size)


def _scores(
    name: str, images: Iterator[Labelled], engine: Engine, patch_size: int
) -> Iterator[Score]:
    ours, trivial = CorLoc(), CorLoc()
    groups: dict[str, ForegroundSums] = defaultdict(ForegroundSums)
    trivial_groups: dict[str, ForegroundSums] = defaultdict(ForegroundSums)
    count = 0
    for image in images:
        count += 1
        row = _segment(image.path, engine, patch_size)
        objects = [s for s in row["segments"] if s["method"] == "object"]
        ours += corloc(_whole_patches(objects[0]["bbox"], row, patch_size), image.boxes)
        trivial += corloc(centred_box(row["height"], row["width"], BOX_SIDE), image.boxes)
        if image.mask is not None:
            found = coco_mask.decode(coco_mask.merge([s["rle"] for s in objects])).astype(bool)
            group = image.path.parent.name
            groups[group] += foreground(found, image.mask)
            centred = centred_mask(row["height"], row["width"], MASK_SIDE)
            trivial_groups[group] += foreground(centred, image.mask)
    yield Score(name, "CorLoc", count, _percent(ours.finish()), _percent(trivial.finish()))
    if groups:
        iou = mean_of_groups(groups.values()).iou
        centred_iou = mean_of_groups(trivial_groups.values()).iou
        yield Score(name, "foreground IoU", count, _percent(100 * iou), _percent(100 * centred_iou))


def _segment(path: Path, engine: Engine, patch_size: int) -> Row:
    image = decode(path.read_bytes(), max_pixels=2**26)
    return engine([prepare(str(path), image, patch_size)])[0]


def _whole_patches(bbox: list[float], row: Row, patch_size: int) -> Boxes:
    """The box (4,) xyxy without the strip beyond the last whole patch (DSM's protocol).

    Our masks and boxes reach the border of the image; the reference's boxes end with the grid.
    """
    end = np.array([row["grid_w"], row["grid_h"]] * 2) * patch_size
    box: Boxes = np.minimum(xywh_boxes([bbox])[0], end)
    return box


def _percent(value: float) -> float:
    return round(value, 2)


def _davis(root: Path) -> Iterator[Labelled]:
    """Every second frame of the sequences, in sorted order."""
    for path in sorted((root / "images").glob("*/*.jpg"))[::2]:
        truth = (root / "masks" / path.parent.name / path.name).with_suffix(".png")
        mask = np.asarray(Image.open(truth).convert("L")) > 127
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        box = [[columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]]
        yield Labelled(path, np.array(box, dtype=np.float64), mask)


def _kangaroo(root: Path) -> Iterator[Labelled]:
    """PASCAL VOC annotations."""
    for annotation in sorted((root / "annotations").glob("*.xml")):
        tree = ET.parse(annotation).getroot()
        sides = ("xmin", "ymin", "xmax", "ymax")
        boxes = [[float(b.findtext(s, "nan")) for s in sides] for b in tree.iter("bndbox")]
        yield Labelled(root / "images" / f"{annotation.stem}.jpg", voc_boxes(boxes))


def _coco(root: Path) -> Iterator[Labelled]:
    """COCO instances of both splits; crowds, and images without a box, are left out."""
    for split in ("train2017", "val2017"):
        (file,) = (root / "annotations").glob(f"instances_{split}*.json")
        tree = json.loads(file.read_text())
        boxes = defaultdict(list)
        for annotation in tree["annotations"]:
            if not annotation["iscrowd"]:
                boxes[annotation["image_id"]].append(annotation["bbox"])
        for image in sorted(tree["images"], key=lambda image: image["file_name"]):
            if image["id"] in boxes:
                yield Labelled(root / split / image["file_name"], coco_boxes(boxes[image["id"]]))


DATASETS: dict[str, Callable[[Path], Iterator[Labelled]]] = {
    "davis2016_val": _davis,
    "kangaroo": _kangaroo,
    "coco_tiny": _coco,
}
