"""Shards: the unit of work, of commit and of resume.

A shard is a run of consecutive rows of the manifest. Its file name is a function of
those rows and of the fingerprint of everything that decides the result, and a file
appears whole or not at all (`Store.write`). So whoever computes a shard, however often,
writes the same name with the same rows: repeating a shard cannot duplicate rows, and a
name that is there is work that is done.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from specray.sources import Store
from specray.tables.run import read_run
from specray.tables.schema import SEGMENTS

FOLDER: Final = "shards/"


@dataclass(frozen=True)
class ShardCounts:
    """What a shard holds; counts of shards add up."""

    images: int = 0
    errors: int = 0
    dense_fallbacks: int = 0
    segments: int = 0
    bytes: int = 0  # of the file

    def __add__(self, other: ShardCounts) -> ShardCounts:
        return ShardCounts(
            self.images + other.images,
            self.errors + other.errors,
            self.dense_fallbacks + other.dense_fallbacks,
            self.segments + other.segments,
            self.bytes + other.bytes,
        )


@dataclass(frozen=True)
class Shard:
    """A shard of a manifest: where its rows are listed, and the file that it becomes."""

    index: int
    part: str
    """Key of the manifest file."""
    row_group: int
    rows: int
    name: str
    """Key of the file, `shard_name`."""


def plan_shards(store: Store, parts: list[str], fingerprint: str) -> list[Shard]:
    """Every shard of a manifest, in order.

    Parameters
    ----------
    store
        Where the manifest is: the output, so that any machine can read it.
    parts
        Its files in order, as `write_manifest` returns them; a row group is a shard.
    fingerprint
        See `shard_name`.
    """
    shards: list[Shard] = []
    for part in parts:
        file = pq.ParquetFile(io.BytesIO(store.read(part).data))
        for group in range(file.num_row_groups):
            rows = file.read_row_group(group)
            name = shard_name(rows, fingerprint)
            shards.append(Shard(len(shards), part, group, rows.num_rows, name))
    return shards


def shard_name(manifest: pa.Table, fingerprint: str) -> str:
    """Key of the file of a shard, relative to the output.

    Parameters
    ----------
    manifest
        The shard's rows of the manifest: ``key``, ``size``, ``etag`` as listed.
    fingerprint
        Digest of the configuration, the weights and the schema version.
    """
    digest = hashlib.sha256(fingerprint.encode())
    columns = (manifest[name].to_pylist() for name in ("key", "size", "etag"))
    for key, size, etag in zip(*columns, strict=True):
        # Lengths first, so that no two lists of keys run into the same bytes.
        for field in (key, str(size), str(etag)):
            data = field.encode("utf-8", "surrogatepass")
            digest.update(len(data).to_bytes(8, "big") + data)
    return f"{FOLDER}{digest.hexdigest()[:32]}.parquet"


def commit_shard(store: Store, name: str, rows: pa.Table) -> ShardCounts:
    """Publish the rows of a shard under its name, whole or not at all."""
    buffer = io.BytesIO()
    pq.write_table(rows.cast(SEGMENTS), buffer, compression="zstd")
    store.write(name, buffer.getvalue())
    return count_rows(rows, buffer.tell())


def count_rows(rows: pa.Table, size: int) -> ShardCounts:
    """Counts of a table of rows in a file of ``size`` bytes."""
    segments = pc.sum(pc.list_value_length(rows["segments"])).as_py()
    return ShardCounts(
        images=rows.num_rows,
        errors=rows.num_rows - rows["error"].null_count,
        dense_fallbacks=pc.sum(rows["dense_fallback"]).as_py() or 0,
        segments=segments or 0,
        bytes=size,
    )


def committed_shards(store: Store) -> frozenset[str]:
    """Names of the shards that the output holds."""
    return frozenset(e.key for e in store.list((".parquet",)) if e.key.startswith(FOLDER))


def drop_shards(store: Store, names: Iterable[str]) -> None:
    """Remove shards of an output."""
    for name in names:
        store.delete(name)


def read_shard(store: Store, name: str) -> tuple[pa.Table, int]:
    """Rows of a committed shard, and the size of its file in bytes."""
    data = store.read(name).data
    return pq.read_table(io.BytesIO(data)), len(data)


def read_segments(store: Store) -> Iterator[pa.Table]:
    """The committed rows of an output's run, shard by shard, in the order of its manifest.

    Shards of earlier runs that the manifest no longer names are left out.
    """
    run = read_run(store)
    if run is None:
        return
    committed = committed_shards(store)
    for shard in plan_shards(store, run["manifest"], run["fingerprint"]):
        if shard.name in committed:
            yield read_shard(store, shard.name)[0]
