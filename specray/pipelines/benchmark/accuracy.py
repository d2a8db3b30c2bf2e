"""Objects against ground truth on small labelled sets, beside the trivial answer.

The sets are not part of the project: folders ``davis2016_val``, ``kangaroo`` and ``coco_tiny``
in the layouts of their publishers, below one root.
"""

from __future__ import annotations

import dataclasses
import xml.etree.ElementTree as ET
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import get_args

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
from specray.masks import RefineConfig
from specray.masks.config import Refine
from specray.pipelines.benchmark.coco import coco_images
from specray.pipelines.config import SegmentConfig
from specray.pipelines.engine import Engine
from specray.pipelines.masking import Masking
from specray.pipelines.masks_apart import make_masks
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
    refine: str
    """How the masks were refined."""
    images: int
    specray: float
    centred_box: float | None


def accuracy_rows(root: Path, config: SegmentConfig, backbone: Backbone) -> Iterator[Score]:
    """Score the objects that a configuration finds, with each refinement; absent sets are left out.

    CorLoc: share of images whose object 0 has IoU >= 0.5 with a true box. Foreground IoU: union
    of all objects against the mask, mean over the frames of a sequence, then over sequences.
    IoU to crf: union of all objects against that of the exact refinement, mean over the images.
    """
    config = dataclasses.replace(config, methods=("objects",))
    for name, read in DATASETS.items():
        if (root / name).is_dir():
            yield from _scores(name, read(root / name), config, backbone)


@dataclass
class _Sums:
    """Of one way to refine."""

    boxes: CorLoc = field(default_factory=CorLoc)
    groups: dict[str, ForegroundSums] = field(default_factory=lambda: defaultdict(ForegroundSums))
    to_exact: ForegroundSums = field(default_factory=ForegroundSums)


def _scores(
    name: str, images: Iterator[Labelled], config: SegmentConfig, backbone: Backbone
) -> Iterator[Score]:
    engine = Engine(config, backbone, "cpu", masks=False)
    cell = config.spectral.cell(backbone.patch_size)
    maskings = _maskings(config, cell)
    sums = {refine: _Sums() for refine in maskings}
    trivial, count = _Sums(), 0
    for image in images:
        count += 1
        prepared = prepare(str(image.path), decode(image.path.read_bytes(), max_pixels=2**26))
        row = engine([prepared])[0]
        size = (prepared.height, prepared.width)
        rows = {refine: row | make_masks(maskings[refine], prepared, row) for refine in maskings}
        exact = _foreground(rows["crf"])
        trivial.boxes += corloc(centred_box(*size, BOX_SIDE), image.boxes)
        for refine, found in rows.items():
            box = xywh_boxes([found["segments"][0]["bbox"]])[0]
            if refine == "none":
                box = _whole_cells(box, row, cell)
            sums[refine].boxes += corloc(box, image.boxes)
            sums[refine].to_exact += foreground(_foreground(found), exact)
        if image.mask is not None:
            group = image.path.parent.name
            trivial.groups[group] += foreground(centred_mask(*size, MASK_SIDE), image.mask)
            for refine, found in rows.items():
                sums[refine].groups[group] += foreground(_foreground(found), image.mask)
    for refine, of in sums.items():
        ours, box = of.boxes.finish(), trivial.boxes.finish()
        yield Score(name, "CorLoc", refine, count, _percent(ours), _percent(box))
        if of.groups:
            iou, centred = (100 * mean_of_groups(x.groups.values()).iou for x in (of, trivial))
            yield Score(name, "foreground IoU", refine, count, _percent(iou), _percent(centred))
        to_exact = 100 * of.to_exact.finish().iou
        yield Score(name, "IoU to crf", refine, count, _percent(to_exact), None)


def _maskings(config: SegmentConfig, cell: int) -> dict[str, Masking]:
    kinds = get_args(Refine)
    configs = (dataclasses.replace(config, refinement=RefineConfig(kind)) for kind in kinds)
    return {kind: Masking(each, cell) for kind, each in zip(kinds, configs, strict=True)}


def _foreground(row: Row) -> NDArray[np.bool_]:
    """(H, W) union of the objects."""
    union: NDArray[np.uint8] = coco_mask.decode(
        coco_mask.merge([s["rle"] for s in row["segments"]])
    )
    return union.astype(np.bool_)


def _whole_cells(box: Boxes, row: Row, cell: int) -> Boxes:
    """The box (4,) xyxy without the strip beyond the last whole cell (DSM's protocol).

    Our masks and boxes reach the border of the image; the reference's boxes end with the grid.
    """
    end = np.array([row["grid_w"], row["grid_h"]] * 2) * cell
    inside: Boxes = np.minimum(box, end)
    return inside


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
        for path, instances in coco_images(root, split):
            boxes = [each["bbox"] for each in instances if not each["iscrowd"]]
            if boxes:
                yield Labelled(path, coco_boxes(boxes))


DATASETS: dict[str, Callable[[Path], Iterator[Labelled]]] = {
    "davis2016_val": _davis,
    "kangaroo": _kangaroo,
    "coco_tiny": _coco,
}
