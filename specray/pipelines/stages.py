"""The stages of the streaming pass, as Ray Data runs them on blocks of Arrow.

``manifest rows -> Decode -> Segment -> Commit -> receipts``. Every stage returns one row
per row that it got, in the same order; Commit returns one row per shard.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import ray
import torch

from specray.backbones import build_backbone
from specray.errors import ImageError, UserError
from specray.pipelines.config import SegmentConfig
from specray.pipelines.engine import Engine, Prepared, check_grid, prepare
from specray.pipelines.weights import load_weights
from specray.sources import Blob, Store, decode, image_size, resized_size
from specray.tables.rows import Row, error_row, table_of
from specray.tables.schema import ERROR
from specray.tables.shards import commit_shard, shard_name

FETCH_THREADS = 8
"""Objects that one decoding task requests at a time: latency of the store, not CPU."""

LISTED = pa.schema(
    [
        pa.field("key", pa.string()),
        pa.field("listed_size", pa.int64()),
        pa.field("listed_etag", pa.string()),
        pa.field("shard", pa.int64()),
    ]
)
"""A row of the manifest on its way: what was listed, and the shard it belongs to."""

_TRAVELLING = LISTED.names[1:]

DECODED = pa.schema(
    [
        *LISTED,
        pa.field("size", pa.int64()),
        pa.field("etag", pa.string()),
        pa.field("width", pa.int32()),
        pa.field("height", pa.int32()),
        pa.field("resized_width", pa.int32()),
        pa.field("resized_height", pa.int32()),
        pa.field("pixels_h", pa.int32()),
        pa.field("pixels_w", pa.int32()),
        pa.field("pixels", pa.large_binary()),
        pa.field("error", ERROR),
    ]
)


@dataclass(frozen=True)
class Decode:
    """Manifest rows to pixels, cropped to whole patches; faults become ``error``."""

    store: Store
    config: SegmentConfig
    patch_size: int

    def __call__(self, listed: pa.Table) -> pa.Table:
        rows = listed.to_pylist()
        with ThreadPoolExecutor(FETCH_THREADS) as pool:
            blobs = pool.map(self._fetch, [row["key"] for row in rows])
            decoded = [
                row | self._decode(row["key"], blob) for row, blob in zip(rows, blobs, strict=True)
            ]
        return pa.Table.from_pylist(decoded, schema=DECODED)

    def _fetch(self, key: str) -> Blob | ImageError:
        try:
            return self.store.read(key)
        except ImageError as error:
            return error

    def _decode(self, key: str, blob: Blob | ImageError) -> Row:
        if isinstance(blob, ImageError):
            return {"error": error_row(blob)}
        row: Row = {"size": len(blob.data), "etag": blob.etag}
        images = self.config.images
        try:
            height, width = image_size(blob.data)
            row |= {"height": height, "width": width}
            if height * width <= images.max_pixels:  # else decode refuses, with the better reason
                seen = resized_size(height, width, images.image_size)
                cell = self.config.spectral.cell(self.patch_size)
                check_grid(*seen, self.patch_size, images.max_patches, cell)
            image = decode(blob.data, max_pixels=images.max_pixels, short_side=images.image_size)
        except ImageError as error:
            return row | {"error": error_row(error)}
        prepared = prepare(key, image, self.patch_size)
        return row | {
            "height": image.height,
            "width": image.width,
            "resized_height": prepared.resized_height,
            "resized_width": prepared.resized_width,
            "pixels_h": prepared.pixels.shape[0],
            "pixels_w": prepared.pixels.shape[1],
            "pixels": prepared.pixels.tobytes(),
        }


class Segment:
    """The actor that holds the backbone: pixels to rows of the output."""

    def __init__(
        self,
        config: SegmentConfig,
        weights_sha256: str | None,
        device: str,
        tally: Any,
    ) -> None:
        torch.set_num_threads(1)
        weights = load_weights(config.features, config.run.endpoint)
        if weights.sha256 != weights_sha256:
            raise UserError(f"{weights.source} changed since the run began; start it again")
        backbone = build_backbone(config.features, weights.data, weights.source, device)
        self._engine = Engine(config, backbone, device)
        self._tally = tally

    def __call__(self, decoded: pa.Table) -> pa.Table:
        table = table_of(segment_rows(decoded, self._engine))
        self._tally.add.remote(table.num_rows, table.num_rows - table["error"].null_count)
        for name in _TRAVELLING:
            table = table.append_column(LISTED.field(name), decoded[name])
        return table


def segment_rows(decoded: pa.Table, engine: Engine) -> list[Row]:
    """Rows of the output for a decoded batch; those with an ``error`` pass through."""
    good = np.flatnonzero(decoded["error"].is_null().to_numpy()).tolist()
    found = dict(zip(good, engine(list(_images(decoded, good))), strict=True))
    columns = ["key", "size", "etag", "width", "height", "error"]
    return [row | found.get(i, {}) for i, row in enumerate(decoded.select(columns).to_pylist())]


def _images(decoded: pa.Table, positions: list[int]) -> Iterator[Prepared]:
    for i in positions:
        row = {name: decoded[name][i] for name in DECODED.names}
        shape = (row["pixels_h"].as_py(), row["pixels_w"].as_py(), 3)
        yield Prepared(
            key=row["key"].as_py(),
            pixels=np.frombuffer(row["pixels"].as_buffer(), np.uint8).reshape(shape),
            height=row["height"].as_py(),
            width=row["width"].as_py(),
            resized_height=row["resized_height"].as_py(),
            resized_width=row["resized_width"].as_py(),
        )


@dataclass(frozen=True)
class Commit:
    """Exactly one shard's rows to its file; a receipt comes back."""

    store: Store
    fingerprint: str

    def __call__(self, rows: pa.Table) -> pa.Table:
        shards = set(rows["shard"].to_pylist())
        if len(shards) != 1:  # Ray cut the stream elsewhere: never write what was not planned
            raise RuntimeError(f"a commit got rows of shards {sorted(shards)}")
        listed = pa.table(
            {"key": rows["key"], "size": rows["listed_size"], "etag": rows["listed_etag"]}
        )
        name = shard_name(listed, self.fingerprint)
        counts = commit_shard(self.store, name, rows.drop_columns(_TRAVELLING))
        return pa.Table.from_pylist([{"shard": shards.pop(), "name": name, **asdict(counts)}])


class _Tally:
    """Counts images as they are done: for the progress line and the rate, not for the result."""

    def __init__(self, actors: int) -> None:
        self._warming = actors  # until each has finished a batch, start-up is part of the time
        self._images = 0
        self._errors = 0
        self._warm: tuple[int, float] | None = None
        self._last = 0.0

    def add(self, images: int, errors: int) -> None:
        """Report a finished batch."""
        self._images += images
        self._errors += errors
        self._last = time.monotonic()
        self._warming -= 1
        if self._warming == 0:
            self._warm = self._images, self._last

    def read(self) -> tuple[int, int]:
        """Images and errors so far."""
        return self._images, self._errors

    def rate(self) -> float | None:
        """Images per second once every actor was warm; None if the run was too short."""
        if self._warm is None or self._last == self._warm[1]:
            return None
        return (self._images - self._warm[0]) / (self._last - self._warm[1])


Tally: Any = ray.remote(num_cpus=0)(_Tally)
