"""Rows of an output as annotated images: the one view of them that all formats are made from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

import pyarrow as pa
import pyarrow.compute as pc
from pycocotools import mask as coco_mask

from specray.masks.rle import RLE
from specray.tables.classes import LabelClass
from specray.tables.exports.categories import (
    CLASS,
    Category,
    class_categories,
    segment_category,
)
from specray.tables.rows import Row


@dataclass(frozen=True)
class Annotation:
    """A segment that is exported."""

    id: int
    """1-based position among all segments of the output, of whatever method."""
    method: str
    index: int
    score: float
    bbox: tuple[float, ...]
    """[x, y, width, height] as the method gave it; not tight if the method says so."""
    area: int
    rle: RLE
    category: Category


@dataclass(frozen=True)
class AnnotatedImage:
    """An image and its segments, by method and rising index."""

    id: int
    """1-based position in the manifest."""
    key: str
    etag: str | None
    height: int
    width: int
    annotations: tuple[Annotation, ...]


@dataclass(frozen=True)
class Skipped:
    """An image that is not exported, and why."""

    key: str
    code: str
    """`specray.errors.ErrorCode` of the row, or what the format has against the image."""
    message: str
    masks: int = 0
    """Segments that are not exported with it."""


def annotated_images(
    rows: pa.Table,
    methods: frozenset[str],
    first_image: int,
    first_segment: int,
    classes: Iterable[LabelClass] = (),
) -> Iterator[AnnotatedImage | Skipped]:
    """The images of a shard, one by one.

    Parameters
    ----------
    rows
        Consecutive rows of the segment schema, or of the label schema.
    methods
        Of the ``segments`` column, to keep.
    first_image, first_segment
        The id of the first image, and of its first segment.
    classes
        Of a label run. Masks of ids that stand for one class are put together.
    """
    of_class = class_categories(classes)
    segment_id = first_segment
    for image_id, row in enumerate(_by_row(rows), start=first_image):
        segments = row["segments"] or []
        if row["error"] is not None:
            yield Skipped(row["key"], row["error"]["code"], row["error"]["message"])
        else:
            found = [
                _annotation(segment, segment_id + place, of_class)
                for place, segment in enumerate(segments)
                if segment["method"] in methods
            ]
            if of_class:
                found = _one_per_class(found)
            found.sort(key=lambda annotation: (annotation.method, annotation.index))
            yield AnnotatedImage(
                image_id, row["key"], row["etag"], row["height"], row["width"], tuple(found)
            )
        segment_id += len(segments)


def count_segments(rows: pa.Table) -> int:
    """Segments of all methods in a table of rows."""
    return pc.sum(pc.list_value_length(rows["segments"])).as_py() or 0


def _by_row(rows: pa.Table) -> Iterator[Row]:
    for batch in rows.to_batches(max_chunksize=16):  # as Python objects masks take a lot
        yield from batch.to_pylist()


def _annotation(segment: Row, annotation_id: int, of_class: Mapping[int, Category]) -> Annotation:
    method, index = segment["method"], segment["index"]
    return Annotation(
        id=annotation_id,
        method=method,
        index=index,
        score=segment["score"],
        bbox=tuple(segment["bbox"]),
        area=segment["area"],
        rle=segment["rle"],
        category=of_class[index] if method == CLASS else segment_category(method, index),
    )


def _one_per_class(annotations: Iterable[Annotation]) -> list[Annotation]:
    """The masks of each category as one, whose index is the class."""
    by_category: dict[Category, list[Annotation]] = {}
    for annotation in annotations:
        by_category.setdefault(annotation.category, []).append(annotation)
    return [_union(category.id - 1, parts) for category, parts in by_category.items()]


def _union(index: int, parts: list[Annotation]) -> Annotation:
    first, *others = parts
    if not others:
        return replace(first, index=index)
    rle = coco_mask.merge([part.rle for part in parts])
    areas = [part.area for part in parts]
    weighted = sum(part.score * area for part, area in zip(parts, areas, strict=True))
    return replace(
        first,
        index=index,
        score=weighted / sum(areas),
        bbox=tuple(coco_mask.toBbox(rle).tolist()),
        area=int(coco_mask.area(rle)),
        rle=rle,
    )
