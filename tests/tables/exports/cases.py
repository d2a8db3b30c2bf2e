"""Images with masks of every shape, and exports of them, that the tests of the formats share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import skimage.data
import skimage.filters
import skimage.measure
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from specray.masks import RLE
from specray.sources import LocalStore
from specray.tables.classes import LabelClass
from specray.tables.exports import (
    CLASS,
    AnnotatedImage,
    Annotation,
    File,
    Format,
    Piece,
    Place,
    Skipped,
    assemble,
    class_category,
    segment_category,
)

Mask = NDArray[np.bool_]

METHODS = ("object", "instance")
"""Whose masks have to come back from every format."""


def rle_of(mask: Mask) -> RLE:
    """By the reference encoder."""
    found: RLE = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
    return found


def annotated(
    key: str,
    masks: Sequence[Mask],
    size: tuple[int, ...],
    method: str = "object",
    image_id: int = 1,
) -> AnnotatedImage:
    """An image with these masks, numbered as the only one that has any."""
    annotations = [
        Annotation(
            id=100 * image_id + index,
            method=method,
            index=index,
            score=float(np.float32(1 / (index + 1.7))),
            bbox=tuple(coco_mask.toBbox(rle_of(mask)).tolist()),
            area=int(mask.sum()),
            rle=rle_of(mask),
            category=segment_category(method, index),
        )
        for index, mask in enumerate(masks)
    ]
    height, width = size
    return AnnotatedImage(image_id, key, "etag", height, width, tuple(annotations))


CLASSES = (
    LabelClass(2, "sky", (2,)),
    LabelClass(7, "class 7", (7,)),
    LabelClass(19, "road: left", (5, 19)),
    LabelClass(30, "background", (30,)),
)
"""Of a label run: with gaps, with one that stands for two, and with names that formats mind."""


def classified(key: str, masks: Mapping[int, Mask], image_id: int = 1) -> AnnotatedImage:
    """An image with the masks of these classes, of which there is at least one."""
    size = next(iter(masks.values())).shape
    image = annotated(key, list(masks.values()), size, "object", image_id)
    by_id = {each.id: class_category(each) for each in CLASSES}
    classes = [
        replace(annotation, method=CLASS, index=found, category=by_id[found])
        for annotation, found in zip(image.annotations, masks, strict=True)
    ]
    return replace(image, annotations=tuple(classes))


def coins() -> list[Mask]:
    """The coins of a real photograph, with the ragged borders and holes of a threshold."""
    grey = skimage.data.coins()
    labels = skimage.measure.label(grey > skimage.filters.threshold_otsu(grey))
    sizes = np.bincount(labels.ravel())
    return [labels == label for label in np.argsort(-sizes[1:])[:40] + 1]


def drawn(*rows: str) -> Mask:
    """A mask out of lines of ``#`` and ``.``."""
    return np.array([[character == "#" for character in row] for row in rows])


MASKS: dict[str, list[Mask]] = {
    "photograph": coins(),
    "single pixels": [
        drawn("#...", "....", "...."),
        drawn("....", "..#.", "...."),
        drawn("....", "....", "...#"),
    ],
    "touching every border": [
        drawn("#####", "#...#", "#...#", "#####"),
        drawn(".....", ".###.", ".###.", "....."),
    ],
    "with holes": [drawn("#######", "#.###.#", "#######", "#.#.#.#", "#######")],
    "in parts": [drawn("##...#", "##...#", "......", "#.#.#."), drawn(*3 * ["......"], "...#.#")],
    "touching at corners": [
        drawn("#.#.", ".#.#", "#.#.", ".#.#"),
        drawn(".#.#", "#.#.", ".#.#", "#..."),
    ],
    "an island in a lake": [
        drawn("#######", "#.....#", "#.###.#", "#.#.#.#", "#.###.#", "#.....#", "#######")
    ],
    "the whole image": [np.ones((7, 5), dtype=bool)],
    "one row": [drawn("##..#..###"), drawn("..##......")],
    "one column": [drawn(*"##..#..###"), drawn(*"..##......")],
    "one pixel in all": [drawn("#")],
    "none": [],
}
"""Disjoint masks of an image."""


def cases(method: str = "object") -> list[AnnotatedImage]:
    """An image for each of `MASKS`; every second index of instances is missing, as it may be."""
    images = [
        annotated(f"{name}.jpg", masks, masks[0].shape if masks else (4, 6), method, number)
        for number, (name, masks) in enumerate(MASKS.items(), start=1)
    ]
    step = 2 if method == "instance" else 1
    return [replace(image, annotations=image.annotations[::step]) for image in images]


def masks_of(image: AnnotatedImage) -> list[Mask]:
    """What a round trip has to give back."""
    return [coco_mask.decode(annotation.rle) != 0 for annotation in image.annotations]


def export(
    format_: Format, images: Iterable[AnnotatedImage], store: LocalStore, parts: int = 2
) -> list[Skipped]:
    """Write an export as the job does, in so many parts; returns what was skipped."""
    images = list(images)
    skipped: list[Skipped] = []
    cuts = np.linspace(0, len(images), parts + 1).astype(int).tolist()
    found: list[Any] = [
        item
        for index, (start, stop) in enumerate(pairwise(cuts))
        for item in format_.part(Place(index, parts), images[start:stop])
    ]
    for item in [*found, *format_.files()]:
        if isinstance(item, File):
            store.write(item.key, item.data)
    skipped += [item for item in found if isinstance(item, Skipped)]
    for document in format_.documents:
        with assemble(document, store) as assembly:
            for piece in (item for item in found if isinstance(item, Piece)):
                entries = dict.fromkeys(document.streams, b"") | {piece.stream: piece.data}
                assembly.add(entries)
            assembly.finish()
    return skipped
