"""What the edit job takes of a segment table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final

import pyarrow as pa

from specray.pipelines.blocks import LISTED
from specray.sources import Store
from specray.tables.rows import Row
from specray.tables.schema import EDITS, MASKS, RLE

PLACES: Final = pa.schema(
    [
        *LISTED,
        *(EDITS.field(name) for name in ("size", "etag", "width", "height")),
        pa.field("cell", pa.float64()),  # side of the mask's cells in pixels; 0: no cells
        pa.field("masks", pa.list_(RLE)),  # of the objects to cut out
        EDITS.field("error"),  # of the segment table
    ]
)
"""A place of the stream."""

_OF_PLACES: Final = pa.schema(list(PLACES)[2:])


@dataclass(frozen=True)
class Wanted:
    """Which masks of a segment table are edited, and how to take them.

    Parameters
    ----------
    store
        The output of the segment job.
    all_objects
        All objects of an image, or object 0 alone.
    cells
        Masks are made of cells of the grid.
    """

    store: Store
    all_objects: bool
    cells: bool

    schema: ClassVar = PLACES
    row_bytes: ClassVar = 4000
    columns: ClassVar = (
        *("key", "size", "etag", "width", "height", "grid_h", "grid_w", "error"),
        *MASKS,
    )

    def __call__(self, rows: pa.Table) -> pa.Table:
        """Rows to places."""
        places = [self._place(row) for row in rows.to_pylist()]
        return pa.Table.from_pylist(places, schema=_OF_PLACES)

    def _place(self, row: Row) -> Row:
        objects = [s for s in row["segments"] or () if s["method"] == "object"]
        chosen = [s["rle"] for s in objects if self.all_objects or s["index"] == 0]
        cell = 0.0
        if self.cells and row["error"] is None:
            cell = max(row["height"] / row["grid_h"], row["width"] / row["grid_w"])
        kept = {name: row[name] for name in ("key", "size", "etag", "width", "height", "error")}
        return kept | {"cell": cell, "masks": chosen}
