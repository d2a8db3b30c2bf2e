"""PASCAL VOC: PNGs with a palette, of the objects and of their classes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar, Final

import numpy as np

from specray.tables.exports.annotations import AnnotatedImage, Annotation, Skipped
from specray.tables.exports.categories import BACKGROUND, Category
from specray.tables.exports.index import INDEX, index_piece, too_many
from specray.tables.exports.labels import label_map
from specray.tables.exports.names import Names
from specray.tables.exports.output import Document, File, Piece, Place, lines
from specray.tables.exports.png import MAX_PALETTE_LABEL, palette_png, pascal_palette

OBJECTS: Final = "SegmentationObject/"
CLASSES: Final = "SegmentationClass/"
STEMS: Final = lines("ImageSets/Segmentation/train.txt", "stems")


@dataclass(frozen=True)
class Voc:
    """The folders of a PASCAL VOC segmentation set, without its photographs.

    0 is the background in both PNGs, as everywhere in VOC, and so is region 0. In
    ``SegmentationObject`` object or instance i is i + 1 and region i is i; in ``SegmentationClass``
    all of them are 1. ``ImageSets/Segmentation/train.txt`` names the images without suffix,
    ``labelmap.txt`` the classes as CVAT and Datumaro read them.
    """

    categories: tuple[Category, ...]
    names: Names

    documents: ClassVar[tuple[Document, ...]] = (INDEX, STEMS)
    part_images: ClassVar[int] = 1
    part_bytes: ClassVar[None] = None

    def part(
        self, place: Place, images: Iterable[AnnotatedImage]
    ) -> Iterator[File | Piece | Skipped]:
        """Two PNGs and two lines for each image."""
        for image in images:
            labels = [_label(annotation) for annotation in image.annotations]
            if max(labels, default=0) > MAX_PALETTE_LABEL:
                yield too_many(image, MAX_PALETTE_LABEL, "use --format ids")
                continue
            stem = self.names.stem(image.key)
            objects = label_map(image, labels)
            yield File(f"{OBJECTS}{stem}.png", palette_png(objects))
            yield File(f"{CLASSES}{stem}.png", palette_png((objects > 0).astype(np.uint32)))
            yield index_piece(image, stem, labels)
            yield Piece("stems", stem.encode())

    def files(self) -> Iterator[File]:
        """The names of the classes."""
        foreground = [c.name for c in self.categories if c != BACKGROUND]
        yield labelmap(dict(enumerate(["background", *foreground])))


def labelmap(names: Mapping[int, str]) -> File:
    """``labelmap.txt``: the class of each label, known by its colour."""
    palette = pascal_palette()
    rows = ["# label:color_rgb:parts:actions"]
    for label, name in names.items():
        colour = ",".join(map(str, palette[3 * label : 3 * label + 3]))
        rows.append(f"{name}:{colour}::")
    return File("labelmap.txt", "\n".join([*rows, ""]).encode())


def _label(annotation: Annotation) -> int:
    """Region 0 is the background, so that region i stays i."""
    return annotation.index + (0 if annotation.method == "region" else 1)
