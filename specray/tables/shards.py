"""Shards: the unit of work, of commit and of resume.

A shard is a run of consecutive rows of the manifest. Its file name is a digest of those rows (key,
size and ETag as listed) and of the fingerprint of everything that decides the result: the
configuration, the hash of the weights, the schema version.

Why nothing is lost: the plan of a run is a function of its manifest, which is written before any
work is done, and a shard counts as done only when its file is there with a footer that names it.
The run ends well only if every shard of the plan is there; whatever was killed, the same command
makes the same plan and does what is missing.

Why nothing is there twice: a file appears whole or not at all (`Store.write`: a rename, or one
PUT), and whoever computes a shard, however often and however late, writes the same name with the
same rows. A second copy of the same command, a retried task or a zombie worker of a node that was
given up replaces a file by its equal. Files that the plan does not name - of an earlier state of
the input, or of a zombie that finishes after it changed - are never read, and the next run that
ends removes them. Of two runs with different inputs into one output the one that began last
decides; the other notices before it removes anything, and says so.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import pyarrow as pa

from specray.sources import Store, entries_of, open_part

FOLDER: Final = "shards/"


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
    again: frozenset[str] | None = None
    """Keys whose rows of the committed file are to be replaced; None: there is no file yet."""

    @property
    def work(self) -> int:
        """Images to do."""
        return self.rows if self.again is None else len(self.again)


def plan_shards(store: Store, parts: Iterable[str], fingerprint: str) -> list[Shard]:
    """Every shard of a manifest, in order.

    Parameters
    ----------
    store
        Where the manifest is: the output, so that any machine can read it.
    parts
        Its files in order, as `write_manifest` returns them; a row group is a shard.
    fingerprint
        See `shard_name`.

    Raises
    ------
    UserError
        A file of the manifest cannot be read.
    """
    shards: list[Shard] = []
    for part in parts:
        file = open_part(store, part)
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
    for entry in entries_of(manifest):
        # Lengths first, so that no two lists of keys run into the same bytes.
        for field in (entry.key, str(entry.size), str(entry.etag)):
            data = field.encode("utf-8", "surrogatepass")
            digest.update(len(data).to_bytes(8, "big") + data)
    return f"{FOLDER}{digest.hexdigest()[:32]}.parquet"
