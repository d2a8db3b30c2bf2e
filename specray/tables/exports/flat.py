"""Parquet with one row per mask, for DuckDB, Polars and pandas."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Final

import pyarrow as pa
import pyarrow.parquet as pq

from specray.tables.exports.annotations import AnnotatedImage, Annotation
from specray.tables.exports.output import Document, File, Place

MASKS: Final = pa.schema(
    [
        pa.field("mask_id", pa.int64(), nullable=False),
        pa.field("image_id", pa.int64(), nullable=False),
        pa.field("key", pa.string(), nullable=False),
        pa.field("etag", pa.string()),
        # pixels of the image, after EXIF rotation
        pa.field("width", pa.int32(), nullable=False),
        pa.field("height", pa.int32(), nullable=False),
        pa.field("method", pa.string(), nullable=False),
        pa.field("category", pa.string(), nullable=False),
        pa.field("index", pa.int32(), nullable=False),
        pa.field("score", pa.float32(), nullable=False),
        # as in the shards: tight unless the method says otherwise
        pa.field("bbox_x", pa.float32(), nullable=False),
        pa.field("bbox_y", pa.float32(), nullable=False),
        pa.field("bbox_width", pa.float32(), nullable=False),
        pa.field("bbox_height", pa.float32(), nullable=False),
        pa.field("area", pa.int64(), nullable=False),
        # COCO compressed RLE of size [height, width]
        pa.field("rle_counts", pa.string(), nullable=False),
    ]
)

_BATCH: Final = 8192
"""Rows that are Python objects at a time."""


@dataclass(frozen=True)
class Flat:
    """``masks-00000-of-00004.parquet``: the ``segments`` column, unnested.

    ``pycocotools.mask.decode({"size": [height, width], "counts": rle_counts})`` gives a mask.
    """

    documents: ClassVar[tuple[Document, ...]] = ()
    part_images: ClassVar[int] = 4096
    part_bytes: ClassVar[None] = None

    def part(self, place: Place, images: Iterable[AnnotatedImage]) -> Iterator[File]:
        """One file."""
        batch: list[dict[str, Any]] = []
        buffer = io.BytesIO()
        with pq.ParquetWriter(buffer, MASKS, compression="zstd") as writer:
            for image in images:
                batch += [_row(image, annotation) for annotation in image.annotations]
                if len(batch) >= _BATCH:
                    writer.write_table(pa.Table.from_pylist(batch, MASKS))
                    batch.clear()
            writer.write_table(pa.Table.from_pylist(batch, MASKS))
        yield File(part_name("masks", place), buffer.getvalue())

    def files(self) -> Iterator[File]:
        """None."""
        yield from ()


def part_name(stem: str, place: Place) -> str:
    """As Hugging Face names the files of a data set."""
    return f"{stem}-{place.index:05}-of-{place.parts:05}.parquet"


def _row(image: AnnotatedImage, annotation: Annotation) -> dict[str, Any]:
    x, y, width, height = annotation.bbox
    return {
        "mask_id": annotation.id,
        "image_id": image.id,
        "key": image.key,
        "etag": image.etag,
        "width": image.width,
        "height": image.height,
        "method": annotation.method,
        "category": annotation.category.name,
        "index": annotation.index,
        "score": annotation.score,
        "bbox_x": x,
        "bbox_y": y,
        "bbox_width": width,
        "bbox_height": height,
        "area": annotation.area,
        "rle_counts": annotation.rle["counts"].decode(),
    }
