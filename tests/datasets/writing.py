"""Tiny datasets in the layouts of their publishers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image

BLOCK = np.zeros((4, 6), np.bool_)
BLOCK[1:3, 2:5] = True
"""A mask whose box is [2, 1, 5, 3]."""
BLOCK_BOX = [[2.0, 1.0, 5.0, 3.0]]


def write_text(path: Path, *lines: str) -> None:
    """Write lines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines))


def write_json(path: Path, tree: Any) -> None:
    """Write JSON."""
    write_text(path, json.dumps(tree))


def write_png(path: Path, values: ArrayLike, palette: bool = False) -> None:
    """Write numbers of 8 or 16 bits, booleans as 0 and 255, or colours."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.asarray(values)
    if pixels.dtype == np.bool_:
        pixels = pixels.astype(np.uint8) * 255
    image = Image.fromarray(pixels if pixels.dtype == np.uint16 else pixels.astype(np.uint8))
    if palette:
        image.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0] + [7] * 759)
    image.save(path)


def voc_xml_text(*corners: tuple[float, float, float, float]) -> str:
    """An annotation of PASCAL VOC with these boxes."""
    objects = "".join(
        f"<object><name>dog</name><difficult>1</difficult><bndbox><xmax>{c[2]}</xmax>"
        f"<xmin>{c[0]}</xmin><ymin>{c[1]}</ymin><ymax> {c[3]} </ymax></bndbox>"
        "<part><name>head</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>2</xmax><ymax>2</ymax>"
        "</bndbox></part></object>"
        for c in corners
    )
    return f"<annotation><folder>VOC</folder>{objects}</annotation>"


def runs(mask: NDArray[np.bool_]) -> dict[str, Any]:
    """COCO's uncompressed run lengths of a mask."""
    flat = mask.ravel(order="F").astype(int)
    changes = np.flatnonzero(np.diff(np.concatenate([[0], flat, [1 - flat[-1]]])))
    counts = np.diff(np.concatenate([[0], changes])).tolist()
    return {"size": list(mask.shape), "counts": counts}


def coco_tree() -> dict[str, Any]:
    """Three images of 6 x 4 pixels: a polygon and a crowd; a box; nothing."""
    return {
        "images": [
            {"id": 3, "file_name": "c.jpg", "height": 4, "width": 6},
            {"id": 1, "file_name": "a.jpg", "height": 4, "width": 6},
            {"id": 2, "file_name": "b.jpg", "height": 4, "width": 6},
        ],
        "annotations": [
            {
                **{"id": 1, "image_id": 1, "category_id": 1, "iscrowd": 0, "area": 5.5},
                "bbox": [1.6, 0.7, 3.2, 2.2],
                "segmentation": [[2, 1, 5, 1, 5, 3, 2, 3]],
            },
            {
                **{"id": 2, "image_id": 1, "category_id": 1, "iscrowd": 1, "area": 6},
                "bbox": [0, 0, 6, 1],
                "segmentation": runs(np.arange(24).reshape(4, 6) < 6),
            },
            {
                **{"id": 3, "image_id": 2, "category_id": 1, "iscrowd": 0, "area": 4},
                "bbox": [0, 0, 2, 2],
            },
        ],
        "categories": [{"id": 1, "name": "dog"}],
    }


def video_tree() -> dict[str, Any]:
    """Two videos; in the first two objects, the second of which leaves after the first frame."""
    other = np.zeros((4, 6), np.bool_)
    other[0, 0] = True
    return {
        "videos": [
            {
                **{"id": 1, "height": 4, "width": 6},
                "file_names": ["v1/00000.jpg", "v1/00005.jpg"],
            },
            {"id": 2, "height": 4, "width": 6, "file_names": ["v2/00000.jpg"]},
        ],
        "annotations": [
            {
                **{"id": 1, "video_id": 1, "category_id": 1, "iscrowd": 0},
                "segmentations": [runs(BLOCK), runs(BLOCK)],
                "bboxes": [[2, 1, 3, 2], [2, 1, 3, 2]],
                "areas": [6, 6],
            },
            {
                **{"id": 2, "video_id": 1, "category_id": 1, "iscrowd": 0},
                "segmentations": [runs(other), None],
                "bboxes": [[0, 0, 1, 1], None],
                "areas": [1, None],
            },
        ],
    }
