"""YOLO segmentation: a text file of polygons per image."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import ClassVar, Final

import numpy as np
import yaml
from pycocotools import mask as coco_mask

from specray.tables.exports.annotations import AnnotatedImage, Annotation, Skipped
from specray.tables.exports.categories import Category
from specray.tables.exports.names import Names
from specray.tables.exports.outlines import Loop, one_polygon, outlines
from specray.tables.exports.output import Document, File, Piece, Place, lines

FOLDER: Final = "labels/"

_HEADER: Final = """\
# Put the photographs (or a link to their folder) into images/ beside this file; train.txt names
# those that have labels.
"""


@dataclass(frozen=True)
class Yolo:
    """``labels/*.txt``, ``train.txt`` and ``data.yaml``, for Ultralytics and what reads the same.

    A line is a mask: its class and one polygon along the edges of its pixels, relative to the sides
    of the upright picture, to 6 digits. Holes and further parts hang on bridges of no width, as
    those of Ultralytics' own converter do. The polygon is exact for whoever asks for the centres of
    pixels; a rasteriser that also draws the line itself (OpenCV's, Pillow's) adds up to a pixel
    around it and along the bridges. Exact outlines are long: polygons of all
    regions of a photograph took 280 KB.

    YOLO finds ``labels/a/b.txt`` by the name of ``images/a/b.jpg``. An image whose file cannot be
    called so, or that shares it with another (``b.png``), is not exported.
    """

    categories: tuple[Category, ...]
    names: Names

    documents: ClassVar[tuple[Document, ...]] = (lines("train.txt", "photographs"),)
    part_images: ClassVar[int] = 1
    part_bytes: ClassVar[None] = None

    def part(
        self, place: Place, images: Iterable[AnnotatedImage]
    ) -> Iterator[File | Piece | Skipped]:
        """A file and a line for each image."""
        for image in images:
            stem = self.names.own_stem(image.key)
            if stem is None:
                message = "its labels need a name of their own; rename the image or use coco"
                yield Skipped(image.key, "no_own_name", message, masks=len(image.annotations))
                continue
            x, y = _digits(image.width), _digits(image.height)
            rows = [self._line(annotation, x, y) for annotation in image.annotations]
            yield File(f"{FOLDER}{stem}.txt", "".join(rows).encode())
            yield Piece("photographs", f"./images/{image.key}".encode())

    def files(self) -> Iterator[File]:
        """What a training run is pointed at."""
        names = {number: category.name for number, category in enumerate(self.categories)}
        data = {"train": "train.txt", "val": "train.txt", "names": names}
        yield File("data.yaml", (_HEADER + yaml.safe_dump(data, sort_keys=False)).encode())

    def _line(self, annotation: Annotation, x: list[str], y: list[str]) -> str:
        mask = coco_mask.decode(annotation.rle).view(np.bool_)
        polygon: Loop = one_polygon(outlines(mask))
        corners = " ".join(f"{x[i]} {y[j]}" for i, j in polygon.tolist())
        return f"{self.categories.index(annotation.category)} {corners}\n"


def _digits(side: int) -> list[str]:
    """Every grid line of a side, as a share of it."""
    return [f"{place / side:.6f}".rstrip("0").rstrip(".") for place in range(side + 1)]
