"""A PNG of 16 bits per image: the pixels are the segments."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import ClassVar, Final

from specray.tables.exports.annotations import AnnotatedImage, Skipped
from specray.tables.exports.index import INDEX, index_piece, too_many
from specray.tables.exports.labels import label_map
from specray.tables.exports.names import Names
from specray.tables.exports.output import Document, File, Piece, Place
from specray.tables.exports.png import MAX_GREY_LABEL, grey_png

FOLDER: Final = "ids/"


@dataclass(frozen=True)
class Ids:
    """``ids/*.png``: 0 is no segment, else index + 1; ``images.jsonl`` has keys and scores."""

    names: Names

    documents: ClassVar[tuple[Document, ...]] = (INDEX,)
    part_images: ClassVar[int] = 1
    part_bytes: ClassVar[None] = None

    def part(
        self, place: Place, images: Iterable[AnnotatedImage]
    ) -> Iterator[File | Piece | Skipped]:
        """A PNG and a line for each image."""
        for image in images:
            labels = [annotation.index + 1 for annotation in image.annotations]
            if max(labels, default=0) > MAX_GREY_LABEL:
                yield too_many(image, MAX_GREY_LABEL, "use --format coco")
                continue
            stem = self.names.stem(image.key)
            yield File(f"{FOLDER}{stem}.png", grey_png(label_map(image, labels)))
            yield index_piece(image, stem, labels)

    def files(self) -> Iterator[File]:
        """None."""
        yield from ()
