"""From the results of an image to its row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from specray.errors import ImageError
from specray.tables.schema import SEGMENTS

if TYPE_CHECKING:  # decoding makes rows without torch
    from specray.masks import Segment

Row = dict[str, Any]


def segment_row(segment: Segment) -> Row:
    """A segment as a value of the ``segments`` column."""
    return {
        "method": segment.method,
        "index": segment.index,
        "score": segment.score,
        "bbox": list(segment.bbox),
        "area": segment.area,
        "rle": segment.rle,
        "feature": segment.feature,
    }


def error_row(error: ImageError) -> Row:
    """A fault as a value of the ``error`` column."""
    return {"code": str(error.code), "stage": str(error.stage), "message": error.message}


def table_of(rows: Sequence[Row]) -> pa.Table:
    """Rows as a table of the schema; what a row does not name is null."""
    return pa.Table.from_pylist(list(rows), schema=SEGMENTS)


def conformed(rows: pa.Table, schema: pa.Schema) -> pa.Table:
    """Rows with all columns of a schema; what an older file does not have is null."""
    for field in schema:
        if field.name not in rows.column_names:
            rows = rows.append_column(field, pa.nulls(rows.num_rows, field.type))
    return rows.select(schema.names)
