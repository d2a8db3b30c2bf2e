"""COCO panoptic: a PNG per image whose colours are ids, and one JSON that says what they are."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Final

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from specray.tables.exports.annotations import AnnotatedImage, Skipped
from specray.tables.exports.categories import Category
from specray.tables.exports.coco import coco_document, encode_json, image_piece, short_score
from specray.tables.exports.labels import label_map
from specray.tables.exports.names import Names
from specray.tables.exports.output import Document, File, Piece, Place
from specray.tables.exports.png import colour_png

FOLDER: Final = "panoptic/"


@dataclass(frozen=True)
class Panoptic:
    """``panoptic.json`` and ``panoptic/*.png``; the ids in an image are index + 1, 0 is void.

    Area and box are those of the pixels in the PNG. A segment that others hide altogether has
    none, and is not listed.
    """

    categories: tuple[Category, ...]
    names: Names

    part_images: ClassVar[int] = 1
    part_bytes: ClassVar[None] = None

    @property
    def documents(self) -> tuple[Document, ...]:
        """The JSON, or several of them."""
        kinds = [
            {"id": c.id, "name": c.name, "supercategory": "segment", "isthing": int(c.is_thing)}
            for c in self.categories
        ]
        return (coco_document("panoptic.json", kinds),)

    def part(
        self, place: Place, images: Iterable[AnnotatedImage]
    ) -> Iterator[File | Piece | Skipped]:
        """A PNG and two entries for each image."""
        for image in images:
            name = f"{self.names.stem(image.key)}.png"
            labels = label_map(image, [a.index + 1 for a in image.annotations])
            yield File(FOLDER + name, colour_png(labels))
            yield image_piece(image)
            segments = _segments_info(image, labels)
            entry = {"image_id": image.id, "file_name": name, "segments_info": segments}
            yield Piece("annotations", encode_json(entry))

    def files(self) -> Iterator[File]:
        """None."""
        yield from ()


def _segments_info(image: AnnotatedImage, labels: NDArray[np.uint32]) -> list[dict[str, Any]]:
    areas = np.bincount(labels.ravel())
    boxes = ndimage.find_objects(labels.view(np.int32))
    found = []
    for annotation in image.annotations:
        label = annotation.index + 1
        if label < len(areas) and areas[label]:
            rows, columns = boxes[label - 1]
            size = [columns.stop - columns.start, rows.stop - rows.start]
            entry = {
                "id": label,
                "category_id": annotation.category.id,
                "area": int(areas[label]),
                "bbox": [columns.start, rows.start, *size],
                "iscrowd": 0,
                "score": short_score(annotation.score),
            }
            found.append(entry)
    return found
