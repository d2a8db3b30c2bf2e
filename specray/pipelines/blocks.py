"""The blocks of Arrow that travel between the stages of the streaming pass.

The stream has `shard_size` places per shard, and what a shard does not need of them are rows with
a null ``key``. So every shard starts at a multiple of `shard_size`, and cutting the stream into
blocks of equal numbers of rows, which Ray Data does well, cuts it into shards. A stage returns one
row per row that it got, in the same order.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

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

PIXELS: Final = (
    # null where there is an error
    pa.field("pixels_h", pa.int32()),
    pa.field("pixels_w", pa.int32()),
    pa.field("pixels", pa.large_binary()),
    # null also where masks are refined at the size of the above
    pa.field("fine_h", pa.int32()),
    pa.field("fine_w", pa.int32()),
    pa.field("fine", pa.large_binary()),
)
"""Of a `Prepared` image."""

DECODED: Final = pa.schema(
    [
        *LISTED,
        *(SEGMENTS.field(name) for name in ("size", "etag", "width", "height")),
        *PIXELS,
        SEGMENTS.field("error"),
    ]
)

SEGMENTED: Final = pa.schema([*list(LISTED)[:2], *(f.with_nullable(True) for f in SEGMENTS)])

SPECTRA: Final = pa.schema(
    [
        *SEGMENTED,
        pa.field("vectors", pa.list_(pa.float32())),  # K x grid_h x grid_w eigenvectors
        *PIXELS,
    ]
)
"""What an accelerator hands to the CPUs that make the masks: these need the ``features``, also
where the output does not."""

RECEIPT: Final = pa.schema(
    [
        pa.field("name", pa.string()),
        pa.field("counts", pa.string()),  # `ShardCounts.to_json`, of the file
        pa.field("done", pa.string()),  # of the rows that were done now
    ]
)
"""What the commit of a shard returns."""


def images_of(block: pa.Table) -> Iterator[tuple[int, Prepared]]:
    """The images of a block of `DECODED` or `SPECTRA`, each with its place; nothing is copied."""
    for i in np.flatnonzero(block["pixels"].is_valid().to_numpy()).tolist():
        yield (
            i,
            Prepared(
                key=block["key"][i].as_py(),
                pixels=_pixels(block, "pixels", i),
                height=block["height"][i].as_py(),
                width=block["width"][i].as_py(),
                fine=_pixels(block, "fine", i) if block["fine"][i].is_valid else None,
            ),
        )


def _pixels(block: pa.Table, name: str, i: int) -> NDArray[np.uint8]:
    """(H, W, 3)."""
    shape = (block[f"{name}_h"][i].as_py(), block[f"{name}_w"][i].as_py(), 3)
    return np.frombuffer(block[name][i].as_buffer(), np.uint8).reshape(shape)
