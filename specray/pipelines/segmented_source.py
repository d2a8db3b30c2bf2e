"""Ray Data's source of the places of an edit's stream: rows of a segment table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import pyarrow as pa
from ray.data import Datasource, ReadTask
from ray.data.block import BlockMetadata

from specray.errors import UserError
from specray.pipelines.blocks import LISTED
from specray.sources import Store
from specray.tables.commit import read_shard
from specray.tables.rows import Row
from specray.tables.schema import EDITS, RLE
from specray.tables.shards import Shard

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

_COLUMNS: Final = (
    "key",
    "size",
    "etag",
    "width",
    "height",
    "grid_h",
    "grid_w",
    "segments",
    "error",
)

_ROW_BYTES: Final = 4000
"""About what a place takes."""


@dataclass(frozen=True)
class Wanted:
    """Which rows and masks of a segment table are edited, and how to take them.

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


class SegmentedSource(Datasource):
    """The places of the planned shards, `places` for each, in order.

    Parameters
    ----------
    wanted
        What to read.
    shards
        Shards to do, each with the name of the shard of segments that has its rows.
    places
        At least as many as any shard has rows.
    """

    def __init__(self, wanted: Wanted, shards: Sequence[tuple[Shard, str]], places: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._wanted = wanted
        self._shards = shards
        self._places = places

    def estimate_inmemory_data_size(self) -> int:
        """Bytes of all rows."""
        return _ROW_BYTES * self._places * len(self._shards)

    def get_read_tasks(
        self, parallelism: int, per_task_row_limit: int | None = None, data_context: object = None
    ) -> list[ReadTask]:
        """One task per shard."""
        metadata = BlockMetadata(
            num_rows=self._places,
            size_bytes=_ROW_BYTES * self._places,
            input_files=None,
            exec_stats=None,
        )
        return [
            ReadTask(
                partial(_read, self._wanted, shard, source, self._places), metadata, schema=PLACES
            )
            for shard, source in self._shards
        ]


def _read(wanted: Wanted, shard: Shard, source: str, places: int) -> Iterator[pa.Table]:
    rows = read_shard(wanted.store, source, _COLUMNS)
    if rows is None:
        raise UserError(
            f"{source} in {wanted.store.uri} is gone; run the same specray segment command again,"
            " then this one"
        )
    found = [
        _place(wanted, row)
        for row in rows.to_pylist()
        if shard.again is None or row["key"] in shard.again
    ]
    listed: dict[str, Any] = {"shard": shard.name, "shard_rows": shard.rows}
    unused: list[Row] = [{}] * (places - len(found))
    yield pa.Table.from_pylist([listed | place for place in [*found, *unused]], schema=PLACES)


def _place(wanted: Wanted, row: Row) -> Row:
    objects = [s for s in row["segments"] or () if s["method"] == "object"]
    chosen = [s["rle"] for s in objects if wanted.all_objects or s["index"] == 0]
    cell = 0.0
    if wanted.cells and row["error"] is None:
        cell = max(row["height"] / row["grid_h"], row["width"] / row["grid_w"])
    kept = {name: row[name] for name in ("key", "size", "etag", "width", "height", "error")}
    return kept | {"cell": cell, "masks": chosen}
