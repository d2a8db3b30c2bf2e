"""The blocks of Arrow that travel between the stages of the streaming pass.

The stream has `shard_size` places per shard, and what a shard does not need of them are rows with
a null ``key``. So every shard starts at a multiple of `shard_size`, and cutting the stream into
blocks of equal numbers of rows, which Ray Data does well, cuts it into shards. A stage returns one
row per row that it got, in the same order.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import pyarrow as pa

from specray.pipelines.preparing import Prepared
from specray.tables.schema import SEGMENTS

LISTED: Final = pa.schema(
    [
        pa.field("shard", pa.string()),  # its name
        pa.field("shard_rows", pa.int32()),  # of the whole shard, also where few are done again
        pa.field("key", pa.string()),  # of the image to do; null: an unused place
    ]
)
"""A place of the stream."""

DECODED: Final = pa.schema(
    [
        *LISTED,
        *(SEGMENTS.field(name) for name in ("size", "etag", "width", "height")),
        pa.field("resized_width", pa.int32()),
        pa.field("resized_height", pa.int32()),
        pa.field("pixels_h", pa.int32()),
        pa.field("pixels_w", pa.int32()),
        pa.field("pixels", pa.large_binary()),  # null where there is an error
        SEGMENTS.field("error"),
    ]
)

SEGMENTED: Final = pa.schema([*list(LISTED)[:2], *(f.with_nullable(True) for f in SEGMENTS)])

RECEIPT: Final = pa.schema(
    [
        pa.field("name", pa.string()),
        pa.field("counts", pa.string()),  # `ShardCounts.to_json`
    ]
)
"""What the commit of a shard returns."""


def images_of(decoded: pa.Table) -> Iterator[tuple[int, Prepared]]:
    """The decoded images of a block, each with its place; their pixels are not copied."""
    for i in np.flatnonzero(decoded["pixels"].is_valid().to_numpy()).tolist():
        row: dict[str, Any] = {name: decoded[name][i] for name in DECODED.names}
        shape = (row["pixels_h"].as_py(), row["pixels_w"].as_py(), 3)
        yield (
            i,
            Prepared(
                key=row["key"].as_py(),
                pixels=np.frombuffer(row["pixels"].as_buffer(), np.uint8).reshape(shape),
                height=row["height"].as_py(),
                width=row["width"].as_py(),
                resized_height=row["resized_height"].as_py(),
                resized_width=row["resized_width"].as_py(),
            ),
        )
