"""Rows of an output as annotated images: the one view of them that all formats are made from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from specray.masks.rle import RLE
from specray.tables.rows import Row


@dataclass(frozen=True)
class Category:
    """What a format calls the kind of a segment."""

    id: int
    """From 1 up, as COCO counts."""
    name: str
    is_thing: bool = True
    """False where there is at most one in an image: what COCO panoptic calls stuff."""


OBJECT: Final = Category(1, "object")
BACKGROUND: Final = Category(1, "background", is_thing=False)
REGION: Final = Category(2, "region")
INSTANCE: Final = Category(1, "instance")

CATEGORIES: Final = {
    "object": (OBJECT,),
    "region": (BACKGROUND, REGION),
    "instance": (INSTANCE,),
}
"""Of each method of the ``segments`` column. An index is a rank within its image and means nothing
across images, except region 0, the background; so it makes no category."""


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

    @property
    def category(self) -> Category:
        """Of `CATEGORIES`."""
        is_background = (self.method, self.index) == ("region", 0)
        return BACKGROUND if is_background else _FOREGROUND[self.method]


_FOREGROUND: Final = {"object": OBJECT, "region": REGION, "instance": INSTANCE}


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
    rows: pa.Table, methods: frozenset[str], first_image: int, first_segment: int
) -> Iterator[AnnotatedImage | Skipped]:
    """The images of a shard, one by one.

    Parameters
    ----------
    rows
        Consecutive rows of the segment schema.
    methods
        Of the ``segments`` column, to keep.
    first_image, first_segment
        The id of the first image, and of its first segment.
    """
    segment_id = first_segment
    for image_id, row in enumerate(_by_row(rows), start=first_image):
        segments = row["segments"] or []
        if row["error"] is not None:
            yield Skipped(row["key"], row["error"]["code"], row["error"]["message"])
        else:
            found = [
                _annotation(segment, segment_id + place)
                for place, segment in enumerate(segments)
                if segment["method"] in methods
            ]
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


def _annotation(segment: Row, annotation_id: int) -> Annotation:
    return Annotation(
        id=annotation_id,
        method=segment["method"],
        index=segment["index"],
        score=segment["score"],
        bbox=tuple(segment["bbox"]),
        area=segment["area"],
        rle=segment["rle"],
    )
