"""The manifest: which objects a run works on, one row each, sorted by key.

It is written once at the start and cut into shards; whatever happens later, a run has as many
rows as its manifest.
"""

from __future__ import annotations

import hashlib
import io
import logging
import re
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Final

import pyarrow as pa
from pyarrow import compute as pc
from pyarrow import csv
from pyarrow import parquet as pq

from specray.errors import ImageError, UserError
from specray.sources.cutting import cut
from specray.sources.stores import Entry, Store, open_parent

logger = logging.getLogger(__name__)

IMAGE_SUFFIXES: Final = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp")
"""What a listing takes for an image, case ignored."""

MANIFEST: Final = pa.schema(
    [
        # path relative to the input URI, forward slashes
        pa.field("key", pa.string(), nullable=False),
        # of the object when it was listed; null for a key of a list that is not there
        pa.field("size", pa.int64()),
        pa.field("etag", pa.string()),
    ]
)

_KEY_LIST: Final = pa.schema(
    [("key", pa.large_string()), ("size", pa.int64()), ("etag", pa.large_string())]
)
"""`MANIFEST` in memory: strings may have more than 2 GiB together."""

FOLDER: Final = "manifest/"
"""Where `write_manifest` writes."""

_PART: Final = re.compile(rf"{FOLDER}[0-9a-f]{{32}}\.parquet")

SHARDS_PER_PART: Final = 64
"""Row groups of a manifest file: what one process holds in memory to read a few of them."""

LOOKUPS: Final = 32
"""Threads that look up the keys of a list: HEAD requests wait, they do not compute."""


def list_images(store: Store, suffixes: tuple[str, ...] = IMAGE_SUFFIXES) -> Iterator[Entry]:
    """Yield the images of a store in the order of the manifest, as the listing streams in.

    Raises
    ------
    UserError
        There is no such image, or the store cannot be listed.
    """
    entries = store.list(suffixes)
    first = next(entries, None)
    if first is None:
        if next(store.list(None), None) is None:
            raise UserError(f"there is nothing at {store.uri}; check the spelling")
        raise UserError(
            f"no object at {store.uri} ends in {', '.join(suffixes)}; check the URI, or name the"
            " objects in a key list"
        )
    yield first
    yield from entries


def list_keys(store: Store, keys_uri: str, endpoint: str | None = None) -> Iterator[Entry]:
    """Yield the objects that a list names, each once, in the order of the manifest.

    A key that is not there stays, without size and ETag, and becomes a ``missing`` row. What the
    list does not say is looked up, `LOOKUPS` keys at a time. Memory holds the list itself.

    Parameters
    ----------
    store
        Where the keys lead; they are relative to its URI.
    keys_uri
        A ``.txt`` file with one key per line, or a ``.csv`` or ``.parquet`` file with a column
        ``key`` and, where known, ``size`` and ``etag``.
    endpoint
        S3-compatible store that holds the list, if it is in one.

    Raises
    ------
    UserError
        The list cannot be read, is empty or has no such column.
    """
    table = _read_key_list(keys_uri, endpoint)
    if table.num_rows == 0:
        raise UserError(f"the key list {keys_uri} is empty")
    distinct = pc.count_distinct(table["key"]).as_py()
    if distinct < table.num_rows:
        repeated = table.num_rows - distinct
        logger.warning("%s: %d repeated keys are left out", keys_uri, repeated)
    # Arrow compares strings by their bytes; nulls come last, so of equal keys the one that
    # knows its size stays
    rows = _distinct(table.sort_by([(name, "ascending") for name in table.column_names]))
    with ThreadPoolExecutor(LOOKUPS) as pool:
        while chunk := list(islice(rows, 1024)):
            yield from pool.map(lambda entry: _look_up(entry, store), chunk)


def write_manifest(entries: Iterable[Entry], store: Store, shard_size: int) -> list[str]:
    """Write entries to Parquet files as they come; memory holds one file.

    The name of a file is a function of its rows. So a second run over other images does not touch
    the files that a first one is reading, and one over the same images writes the same files.

    Parameters
    ----------
    entries
        Strictly ascending by key.
    store
        The output of the run.
    shard_size
        Most rows of a row group: a row group is a shard, see `cut`.

    Returns
    -------
    list of str
        Keys of the files, in order.

    Raises
    ------
    UserError
        The entries are not sorted, as the listings of some stores (S3 Express) are not.
    """
    names = []
    shards = cut(_ascending(entries), shard_size)
    while part := list(islice(shards, SHARDS_PER_PART)):
        content = repr([[(entry.key, entry.size, entry.etag) for entry in s] for s in part])
        names.append(f"{FOLDER}{hashlib.sha256(content.encode()).hexdigest()[:32]}.parquet")
        buffer = io.BytesIO()
        with pq.ParquetWriter(buffer, MANIFEST, compression="zstd") as writer:
            for shard in part:
                writer.write_table(_to_table(shard), row_group_size=shard_size)
        store.write(names[-1], buffer.getvalue())
    return names


def read_manifest(store: Store, parts: Iterable[str]) -> Iterator[pa.Table]:
    """Yield the shards of a manifest in order; memory holds one file.

    Parameters
    ----------
    store
        The output of the run.
    parts
        Keys of the files, as `write_manifest` returns them.

    Raises
    ------
    UserError
        A file is gone or cannot be read.
    """
    for part in parts:
        file = open_part(store, part)
        yield from (file.read_row_group(group) for group in range(file.num_row_groups))


def open_part(store: Store, part: str) -> pq.ParquetFile:
    """Open a file of a manifest; each of its row groups is a shard.

    Raises
    ------
    UserError
        It is gone or cannot be read.
    """
    try:
        return pq.ParquetFile(io.BytesIO(store.read(part).data))
    except (ImageError, pa.ArrowException) as error:
        raise UserError(
            f"cannot read {part} in {store.uri} ({error}): another run over other images has "
            "replaced it, or it is damaged; run the same command again"
        ) from None


def list_parts(store: Store) -> frozenset[str]:
    """Keys of all manifest files of an output, those of earlier runs as well."""
    return frozenset(e.key for e in store.list((".parquet",)) if _PART.fullmatch(e.key))


def entries_of(shard: pa.Table) -> Iterator[Entry]:
    """The rows of a shard of the manifest."""
    columns = (shard[name].to_pylist() for name in MANIFEST.names)
    return map(Entry, *columns)


def _ascending(entries: Iterable[Entry]) -> Iterator[Entry]:
    """Pass entries on, and stop at the first that is out of order."""
    last: str | None = None
    for entry in entries:
        if last is not None and entry.key <= last:
            raise UserError(
                f"the store lists {entry.key!r} after {last!r}, which is not sorted; name the"
                " objects in a key list"
            )
        last = entry.key
        yield entry


def _distinct(table: pa.Table) -> Iterator[Entry]:
    """Yield the rows of a sorted table, of equal keys the first."""
    last: str | None = None
    for batch in table.to_batches(max_chunksize=1024):
        for row in batch.to_pylist():
            if row["key"] != last:
                last = row["key"]
                yield Entry(**row)


def _to_table(entries: list[Entry]) -> pa.Table:
    columns = {
        "key": [entry.key for entry in entries],
        "size": [entry.size for entry in entries],
        "etag": [entry.etag for entry in entries],
    }
    return pa.table(columns, schema=MANIFEST)


def _look_up(entry: Entry, store: Store) -> Entry:
    """Fill in size and ETag where the list does not give both."""
    if entry.size is not None and entry.etag is not None:
        return entry
    try:
        return store.stat(entry.key) or Entry(entry.key, None, None)
    except ValueError:  # an unsafe key; reading it will say so in its row
        return Entry(entry.key, None, None)


def _read_key_list(uri: str, endpoint: str | None) -> pa.Table:
    """Return the columns of `MANIFEST`, nulls where the list does not know."""
    suffix = Path(uri).suffix.lower()
    if suffix not in {".txt", ".csv", ".parquet"}:
        raise UserError(f"the key list {uri} must end in .txt, .csv or .parquet")
    parent, name = open_parent(uri, endpoint)
    try:
        data = parent.read(name).data
        if suffix == ".txt":
            lines = (line.removesuffix("\r") for line in data.decode("utf-8-sig").split("\n"))
            table = pa.table({"key": [line for line in lines if line]})
        elif suffix == ".csv":
            options = csv.ConvertOptions(
                column_types={"key": pa.string(), "etag": pa.string()},
                null_values=[""],  # "NA" may be a key
                strings_can_be_null=True,
            )
            table = csv.read_csv(io.BytesIO(data), convert_options=options)
        else:
            table = pq.read_table(io.BytesIO(data))
        if "key" not in table.column_names:
            raise UserError(f"the key list {uri} has no column 'key'")
        columns = {
            field.name: table[field.name].cast(field.type)
            if field.name in table.column_names
            else pa.nulls(table.num_rows, field.type)
            for field in _KEY_LIST
        }
    except ImageError as error:
        raise UserError(f"cannot read the key list {uri}: {error.message}") from None
    except (pa.ArrowException, UnicodeDecodeError) as error:
        raise UserError(f"the key list {uri} is not a valid {suffix} file: {error}") from None
    return pa.table(columns).filter(pc.is_valid(columns["key"]))
