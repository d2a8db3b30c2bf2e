"""Committed shards: publishing, finding and removing their files; see `specray.tables.shards`."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import re
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from specray.errors import UserError
from specray.sources import Store
from specray.tables.counts import ShardCounts, count_rows
from specray.tables.objects import if_there
from specray.tables.schema import FEATURES, SEGMENTS
from specray.tables.shards import FOLDER, Shard

_NAME: Final = re.compile(rf"{FOLDER}[0-9a-f]{{32}}\.parquet")

_SHARD: Final = b"specray.shard"
_COUNTS: Final = b"specray.counts"
_SEALED: Final = b"specray.seal"
_FOOTER: Final = frozenset({_SHARD, _COUNTS, _SEALED})
"""What a file says of itself, besides its schema."""

_SEAL: Final = re.compile(rb"specray-seal:(\d{20}):([0-9a-f]{64}):([0-9a-f]{64})")
"""In the footer: bytes of the pages, their SHA-256, and that of the footer without this last one.
It is checked before Parquet looks at a byte: a damaged footer can end the process that parses
it, or give other rows."""

_UNSEALED: Final = b"specray-seal:" + b":".join([b"0" * 20, b"0" * 64, b"0" * 64])

_TAIL: Final = 64 * 2**10
"""Bytes at the end of a file that hold its footer, almost always: one request per file."""

_GROUP_BYTES: Final = 16 * 2**20
"""Of the rows that are read together at least."""

_REQUESTS: Final = 32
"""Footers read at a time: they wait for the store, they do not compute."""


def commit_shard(
    store: Store, name: str, rows: pa.Table, schema: pa.Schema = SEGMENTS
) -> ShardCounts:
    """Publish the rows of a shard under its name, whole or not at all.

    The footer names the shard and its counts: what a resume needs to know is read without the
    rows, and a file that was put there by other means is not taken for a shard.
    """
    counts = count_rows(rows)
    footer = {_SHARD: name.encode(), _COUNTS: counts.to_json().encode(), _SEALED: _UNSEALED}
    schema = schema.with_metadata(schema.metadata | footer)
    data = _sealed(parquet_of(rows.cast(schema)))
    store.write(name, data)
    return dataclasses.replace(counts, bytes=len(data))


def parquet_of(rows: pa.Table) -> bytes:
    """The rows as a file.

    Kept features are stored plain: they hardly shrink, and are read five times as fast so. Groups
    of rows stay small enough to read a few rows out of many.
    """
    plain = [path for path in _paths(rows.schema) if path.partition(".")[0] in FEATURES]
    others = [path for path in _paths(rows.schema) if path not in plain]
    buffer = io.BytesIO()
    pq.write_table(
        rows,
        buffer,
        compression=dict.fromkeys(plain, "none") | dict.fromkeys(others, "zstd"),
        use_dictionary=others,
        row_group_size=max(1, rows.num_rows * _GROUP_BYTES // max(rows.nbytes, 1)),
    )
    return buffer.getvalue()


def _paths(schema: pa.Schema) -> list[str]:
    """The columns of a file of this schema, such as ``features.list.element``."""
    buffer = io.BytesIO()
    pq.write_table(schema.empty_table(), buffer)
    columns = pq.read_metadata(buffer).schema
    return [columns.column(i).path for i in range(len(columns))]


def list_shards(store: Store) -> dict[str, int]:
    """Files that are named like shards, with their sizes in bytes; whole or not, wanted or not."""
    files = store.list((".parquet",))
    return {e.key: e.size or 0 for e in files if _NAME.fullmatch(e.key)}


def committed_shards(store: Store, shards: Iterable[Shard]) -> dict[str, ShardCounts]:
    """Those of the shards that the output holds, by name, with what their footers say.

    A torn file, or one that was not committed under its name, is not among them.
    """
    sizes = list_shards(store)
    found = [shard for shard in shards if shard.name in sizes]
    with ThreadPoolExecutor(_REQUESTS) as pool:
        counts = list(pool.map(lambda s: _counts(store, s.name, sizes[s.name]), found))
    return {
        shard.name: count
        for shard, count in zip(found, counts, strict=True)
        if count is not None and count.images == shard.rows
    }


def read_shard(store: Store, name: str, columns: Iterable[str] | None = None) -> pa.Table | None:
    """Rows of a committed shard; None if it is not there, torn, or no shard of this name.

    Parameters
    ----------
    store
        The output.
    name
        Of the shard.
    columns
        All if None; of a nested one also parts, such as `specray.tables.schema.MASKS`.

    Raises
    ------
    UserError
        The store does not deliver it, or its pages do not match their checksum.
    """
    blob = if_there(store, name, lambda: store.read(name))
    if blob is None:
        return None
    data = blob.data
    footer = _footer_of(data, name, len(data))
    if footer is None:
        return None
    pages = len(data) - _footer_bytes(data)
    if footer.pages_sha256 != hashlib.sha256(data[:pages]).hexdigest():
        raise UserError(
            f"{name} in {store.uri} is damaged; delete it and run the command that made it"
            " again, which does it anew"
        )
    file = pq.ParquetFile(io.BytesIO(data))
    rows = file.read() if columns is None else _columns(file, list(columns))
    ours = {name: value for name, value in rows.schema.metadata.items() if name not in _FOOTER}
    return rows.replace_schema_metadata(ours)


def _columns(file: pq.ParquetFile, names: list[str]) -> pa.Table:
    unknown = {name.partition(".")[0] for name in names} - set(file.schema_arrow.names)
    if unknown:  # Parquet passes over them
        raise KeyError(f"the table has no columns {sorted(unknown)}")
    return file.read(columns=names)


def keys_with(rows: pa.Table, codes: Iterable[str]) -> frozenset[str]:
    """Keys of the error rows of these codes."""
    wanted = pc.is_in(pc.struct_field(rows["error"], "code"), pa.array(codes, pa.string()))
    return frozenset(rows["key"].filter(wanted).to_pylist())


def drop(store: Store, names: Iterable[str]) -> None:
    """Remove files of an output."""
    with ThreadPoolExecutor(_REQUESTS) as pool:
        list(pool.map(store.delete, names))


def _counts(store: Store, name: str, size: int) -> ShardCounts | None:
    """What the footer of a file says; None if it is not the committed shard of this name."""
    tail = if_there(store, name, lambda: _tail(store, name, size))
    found = None if tail is None else _footer_of(tail, name, size)
    return None if found is None else found.counts


def _tail(store: Store, name: str, size: int) -> bytes:
    """The end of a file, with its whole footer."""
    tail = store.tail(name, _TAIL)
    footer = _footer_bytes(tail)
    return store.tail(name, footer) if len(tail) < footer <= size else tail


def shard_metadata(store: Store, name: str) -> tuple[int, pq.FileMetaData] | None:
    """Size of a committed shard and what Parquet's footer says; None as for `read_shard`."""
    entry = store.stat(name)
    if entry is None or entry.size is None:
        return None
    size = entry.size
    tail = if_there(store, name, lambda: _tail(store, name, size))
    if tail is None or _footer_of(tail, name, size) is None:
        return None
    return size, pq.read_metadata(io.BytesIO(tail))


class _Footer(NamedTuple):
    """What the footer of a committed shard says."""

    counts: ShardCounts
    pages_sha256: str


def _footer_of(tail: bytes, name: str, size: int) -> _Footer | None:
    """The footer in the last bytes of a file of `size` bytes; None if it is no shard `name`."""
    footer = tail[-_footer_bytes(tail) :]
    seal = _seal_of(footer)
    if seal is None or int(seal[1]) + len(footer) != size:
        return None
    found = pq.read_metadata(io.BytesIO(tail)).metadata
    if found[_SHARD] != name.encode():
        return None
    counts = dataclasses.replace(ShardCounts.from_json(found[_COUNTS].decode()), bytes=size)
    return _Footer(counts, seal[2].decode())


def _sealed(data: bytes) -> bytes:
    """Fill in the seal of a file."""
    end = len(data) - _footer_bytes(data)
    pages, footer = memoryview(data)[:end], data[end:]
    place = footer.rindex(_UNSEALED)
    filled = f"specray-seal:{end:020}:{hashlib.sha256(pages).hexdigest()}:".encode()
    footer = footer[:place] + filled + footer[place + len(filled) :]
    digest = hashlib.sha256(footer).hexdigest().encode()
    place += len(filled)
    return b"".join([pages, footer[:place], digest, footer[place + len(digest) :]])


def _seal_of(footer: bytes) -> re.Match[bytes] | None:
    """The seal of a footer; None if there is none, or it is broken."""
    seals = list(_SEAL.finditer(footer))
    if not seals:
        return None
    seal = seals[-1]  # the statistics before it quote keys, which may look like one
    start, end = seal.span(3)
    blank = footer[:start] + b"0" * (end - start) + footer[end:]
    return seal if hashlib.sha256(blank).hexdigest().encode() == seal[3] else None


def _footer_bytes(tail: bytes) -> int:
    """Length of a Parquet footer, its own length and magic bytes included."""
    return int.from_bytes(tail[-8:-4], "little") + 8
