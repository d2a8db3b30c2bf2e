"""PASCAL VOC, of the classes of a label run: PNGs with a palette."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import ClassVar

from specray.tables.exports.annotations import AnnotatedImage
from specray.tables.exports.categories import Category
from specray.tables.exports.index import INDEX, index_piece
from specray.tables.exports.labels import label_map
from specray.tables.exports.names import Names
from specray.tables.exports.output import Document, File, Piece, Place
from specray.tables.exports.png import palette_png
from specray.tables.exports.voc import CLASSES, STEMS, labelmap


@dataclass(frozen=True)
class VocClasses:
    """The folders of a PASCAL VOC segmentation set, without photographs and without objects.

    In ``SegmentationClass`` class i is i + 1, and 0 is what has no class; nothing is 255, "void".
    ``labelmap.txt`` names the classes by their colours, as CVAT and Datumaro read them.
    """

    categories: tuple[Category, ...]
    names: Names

    documents: ClassVar[tuple[Document, ...]] = (INDEX, STEMS)
    part_images: ClassVar[int] = 1
    part_bytes: ClassVar[None] = None

    def part(self, place: Place, images: Iterable[AnnotatedImage]) -> Iterator[File | Piece]:
        """A PNG and two lines for each image."""
        for image in images:
            labels = [annotation.category.id for annotation in image.annotations]
            stem = self.names.stem(image.key)
            yield File(f"{CLASSES}{stem}.png", palette_png(label_map(image, labels)))
            yield index_piece(image, stem, labels)
            yield Piece("stems", stem.encode())

    def files(self) -> Iterator[File]:
        """The names of the classes."""
        # what names are made of there: a colon ends one, and so does a line
        names = {c.id: " ".join(c.name.replace(":", " ").split()) for c in self.categories}
        nothing = "unlabelled" if "background" in names.values() else "background"
        yield labelmap({0: nothing, **names})
