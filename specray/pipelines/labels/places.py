"""What the label job takes of a segment table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final

import pyarrow as pa

from specray.pipelines.blocks import LISTED
from specray.pipelines.labels.config import Source
from specray.pipelines.labels.points import columns_of
from specray.sources import Store
from specray.tables.schema import LABELS, SEGMENTS

PLACES: Final = pa.schema(
    [
        *LISTED,
        *(LABELS.field(name) for name in ("size", "etag", "width", "height")),
        *(SEGMENTS.field(name) for name in ("grid_h", "grid_w", "segments", "features", "error")),
    ]
)
"""A place of the stream: it has ``segments``, or else ``features``, as the source wants them."""


@dataclass(frozen=True)
class LabelPlaces:
    """Rows of a segment table, with what is clustered of them.

    Parameters
    ----------
    store
        The output of the segment job.
    source
        What is clustered.
    """

    store: Store
    source: Source

    schema: ClassVar = PLACES

    @property
    def row_bytes(self) -> int:
        """About what 40 segments, or 900 patches, of some hundred channels take."""
        return 500_000 if self.source == "patches" else 30_000

    @property
    def columns(self) -> tuple[str, ...]:
        """Of the segment table."""
        needed = dict.fromkeys(columns_of(self.source))
        more = ("key", "size", "etag", "width", "height", "grid_h", "grid_w", "error")
        return tuple(needed | dict.fromkeys(more))

    def __call__(self, rows: pa.Table) -> pa.Table:
        """Rows to places."""
        fields = list(PLACES)[2:]
        unread = {field.name: pa.nulls(rows.num_rows, field.type) for field in fields}
        there = dict(zip(rows.column_names, rows.columns, strict=True))
        columns = {name: there.get(name, nulls) for name, nulls in unread.items()}
        return pa.table(columns).cast(pa.schema(fields))
