"""COCO's annotations of one image: boxes, polygons and run-length encodings."""

from __future__ import annotations

import math
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from PIL import Image
from pycocotools import mask as coco_mask

from specray.datasets.base import Kind, Truth
from specray.datasets.folder import Folder
from specray.evaluation import TrueInstance, coco_boxes
from specray.evaluation.boxes import Boxes
from specray.masks.rle import RLE, run_edges

USED: Final = ("segmentation", "bbox", "area", "iscrowd")
"""What is kept of an annotation."""


@dataclass(frozen=True)
class Annotated:
    """The annotations of an image, as they are in the file."""

    size: tuple[int, int]
    """Height and width."""
    annotations: tuple[Mapping[str, Any], ...] = ()
    """With the keys of `USED` that they have."""
    number: int | None = None
    """The id of the image in the file."""


@dataclass(frozen=True)
class Annotations:
    """Reads the annotations of images that a file has.

    Parameters
    ----------
    folder, name
        Of the file, for messages.
    """

    folder: Folder
    name: str

    def __call__(self, image: Annotated, wanted: Container[Kind]) -> Truth:
        """Boxes without crowds, instances with them, and the mask of all together.

        Instances have no ``rle`` where there is a box alone.
        """
        boxes = mask = None
        found: tuple[TrueInstance, ...] = ()
        with self.folder.damaged(self.name, "file of COCO annotations"):
            if "boxes" in wanted:
                boxes = _boxes(image)
            if "instances" in wanted or "mask" in wanted:
                found = tuple(_instance(each, image.size) for each in image.annotations)
            if "mask" in wanted:
                mask = _union(found, image.size)
        instances = found if "instances" in wanted else None
        return Truth(image.size, boxes=boxes, mask=mask, instances=instances)


def segmentation_rle(segmentation: Any, size: tuple[int, int]) -> RLE:
    """The mask that COCO encodes as polygons, as runs, or as compressed runs.

    Parameters
    ----------
    segmentation
        A list of polygons [x, y, x, y, ...], or {"size": [height, width], "counts": ...}.
    size
        Height and width of the image.

    Raises
    ------
    ValueError, TypeError, KeyError
        It is none of these, or of another size.
    """
    if isinstance(segmentation, Mapping):
        return _runs(segmentation, size)
    return _polygons(segmentation, size)


def checked_size(height: Any, width: Any) -> tuple[int, int]:
    """Height and width of an image, if they are some.

    Raises
    ------
    ValueError
        They are not, or too large for a mask: Pillow's limit.
    """
    if type(height) is not int or type(width) is not int or min(height, width) < 1:
        raise ValueError(f"an image of {width!r} x {height!r} pixels")
    if Image.MAX_IMAGE_PIXELS is not None and height * width > 2 * Image.MAX_IMAGE_PIXELS:
        raise ValueError(f"an image of {width} x {height} pixels is too large")
    return height, width


def _runs(segmentation: Mapping[str, Any], size: tuple[int, int]) -> RLE:
    if tuple(segmentation["size"]) != size:
        raise ValueError(f"a mask of {segmentation['size']} pixels in an image of {list(size)}")
    counts = segmentation["counts"]
    if isinstance(counts, str | bytes):
        rle = RLE(
            size=list(size), counts=counts.encode("ascii") if isinstance(counts, str) else counts
        )
        _check_compressed(rle)
        return rle
    runs, pixels = np.asarray(counts), math.prod(size)
    in_range = runs.dtype.kind in "iu" and ((runs >= 0) & (runs <= pixels)).all()
    if not in_range or runs.sum() != pixels:
        raise ValueError("runs that do not fill their image")
    return _rle(coco_mask.frPyObjects({"size": list(size), "counts": runs.tolist()}, *size), size)


def _check_compressed(rle: RLE) -> None:
    """Stop what pycocotools would decode beyond the end of the mask."""
    codes = np.frombuffer(rle["counts"], np.uint8).astype(np.int64) - 48
    ends = np.flatnonzero(codes & 32 == 0)
    whole = len(ends) and ends[-1] == len(codes) - 1 and np.diff(ends, prepend=-1).max() <= 7
    if not whole or (codes < 0).any() or (codes > 63).any():
        raise ValueError("runs that are cut off")
    edges = run_edges(rle)
    if (np.diff(edges) < 0).any() or edges[-1] != math.prod(rle["size"]):
        raise ValueError("runs that do not fill their image")


def _polygons(segmentation: Sequence[Sequence[float]], size: tuple[int, int]) -> RLE:
    # one of fewer than three corners has no pixels, and pycocotools takes four numbers for a box
    polygons = [polygon for polygon in segmentation if len(polygon) >= 6]
    if not polygons:
        return _rle(coco_mask.encode(np.zeros(size, np.uint8, order="F")), size)
    far = 10 * max(size)  # its memory grows with the length of the outline
    if any(len(each) % 2 or not np.abs(np.asarray(each, float)).max() < far for each in polygons):
        raise ValueError("a polygon of an odd number of values, or far outside of its image")
    return _rle(coco_mask.merge(coco_mask.frPyObjects(polygons, *size)), size)


def _rle(encoded: Mapping[str, Any], size: tuple[int, int]) -> RLE:
    return RLE(size=list(size), counts=encoded["counts"])


def _instance(annotation: Mapping[str, Any], size: tuple[int, int]) -> TrueInstance:
    bbox = _bbox(annotation, size)
    crowd = int(bool(annotation.get("iscrowd", 0)))
    if not annotation.get("segmentation"):  # annotated for detection alone
        area = float(annotation.get("area", bbox[2] * bbox[3]))
        return TrueInstance(bbox=bbox, area=area, iscrowd=crowd)
    rle = segmentation_rle(annotation["segmentation"], size)
    area = float(annotation.get("area", coco_mask.area(rle)))
    return TrueInstance(rle=rle, bbox=bbox, area=area, iscrowd=crowd)


def _bbox(annotation: Mapping[str, Any], size: tuple[int, int]) -> list[float]:
    """[x, y, width, height], that of the mask if none is annotated."""
    values = annotation.get("bbox")
    if values is None:
        values = coco_mask.toBbox(segmentation_rle(annotation["segmentation"], size))
    bbox = [float(value) for value in values]
    if len(bbox) != 4 or not np.isfinite(bbox).all():
        raise ValueError(f"a box of {bbox}")
    return bbox


def _boxes(image: Annotated) -> Boxes:
    counted = (each for each in image.annotations if not each.get("iscrowd", 0))
    return coco_boxes([_bbox(each, image.size) for each in counted])


def _union(found: Sequence[TrueInstance], size: tuple[int, int]) -> Any:
    masks = [each["rle"] for each in found if "rle" in each]
    if not masks:
        return np.zeros(size, np.bool_)
    return coco_mask.decode(coco_mask.merge(masks)).astype(np.bool_)
