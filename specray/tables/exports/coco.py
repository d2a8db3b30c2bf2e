"""COCO instances: one JSON with compressed run-length encodings."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from pycocotools import mask as coco_mask

from specray.tables.exports.annotations import AnnotatedImage, Annotation
from specray.tables.exports.categories import Category
from specray.tables.exports.output import Document, File, Piece, Place


@dataclass(frozen=True)
class Coco:
    """``instances.json``, for `pycocotools.coco.COCO` and everything that reads the same.

    ``file_name`` is the key. Masks lie in the upright picture, and so are ``width`` and ``height``:
    who reads photographs must apply their EXIF orientation, as OpenCV does and
    `PIL.ImageOps.exif_transpose` does for Pillow. Boxes are tight.
    """

    categories: tuple[Category, ...]

    part_images: ClassVar[int] = 1
    part_bytes: ClassVar[None] = None

    @property
    def documents(self) -> tuple[Document, ...]:
        """The one file, or several of them."""
        kinds = [{"id": c.id, "name": c.name, "supercategory": "segment"} for c in self.categories]
        return (coco_document("instances.json", kinds),)

    def part(self, place: Place, images: Iterable[AnnotatedImage]) -> Iterator[Piece]:
        """An entry for each image, and one for each of its masks."""
        for image in images:
            yield image_piece(image)
            for annotation in image.annotations:
                yield Piece("annotations", encode_json(_entry(image, annotation)))

    def files(self) -> Iterator[File]:
        """None."""
        yield from ()


def coco_document(name: str, categories: Sequence[dict[str, Any]]) -> Document:
    """The frame of a COCO file with the streams ``images`` and ``annotations``."""
    # no date and no path: equal masks make equal bytes
    info = {"description": "Segments found by specray", "version": "1"}
    head = encode_json({"info": info, "licenses": [], "categories": categories})
    heads = (head[:-1] + b',"images":[\n', b'\n],"annotations":[\n')
    return Document(name, ("images", "annotations"), heads, b",\n", b"\n]}\n", splits=True)


def image_piece(image: AnnotatedImage) -> Piece:
    """The entry of an image."""
    size = {"width": image.width, "height": image.height}
    return Piece("images", encode_json({"id": image.id, "file_name": image.key, **size}))


def encode_json(value: Any) -> bytes:
    """In ASCII: readers open JSON in whatever encoding their machine prefers."""
    return json.dumps(value, separators=(",", ":"), allow_nan=False).encode()


def short_score(score: float) -> float:
    """A float32 as the shortest decimal that gives it back."""
    return float(str(np.float32(score)))


def _entry(image: AnnotatedImage, annotation: Annotation) -> dict[str, Any]:
    rle = annotation.rle
    return {
        "id": annotation.id,
        "image_id": image.id,
        "category_id": annotation.category.id,
        "iscrowd": 0,
        "area": annotation.area,
        "bbox": coco_mask.toBbox(rle).tolist(),
        "score": short_score(annotation.score),
        "segmentation": {"size": rle["size"], "counts": rle["counts"].decode()},
    }
