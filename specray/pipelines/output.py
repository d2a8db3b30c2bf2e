"""The output of a run from its plan to its end: what is there, what is missing, what must go."""

from __future__ import annotations

import dataclasses
import io
import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from specray.errors import ErrorCode, UserError
from specray.pipelines.record import finished_manifest
from specray.sources import (
    Change,
    Entry,
    Store,
    compare,
    entries_of,
    list_parts,
    read_manifest,
)
from specray.tables.commit import (
    committed_shards,
    drop,
    keys_with,
    list_shards,
    read_shard,
)
from specray.tables.counts import ShardCounts
from specray.tables.run import read_run, write_run
from specray.tables.shards import Shard, plan_shards

logger = logging.getLogger(__name__)

CHANGES: Final = "changes.parquet"
"""What became of the input when it last changed between finished runs: ``key``, ``change``."""

_READERS: Final = 8
"""Shards read at a time to find error rows: each may have some megabytes."""

_CHANGES: Final = pa.schema([("key", pa.string()), ("change", pa.string())])


class Output:
    """The place a run writes to; see `specray.tables.shards` for what it promises.

    Parameters
    ----------
    store
        Where it is.
    record
        The run record; its manifest is written.
    """

    def __init__(self, store: Store, record: dict[str, Any]) -> None:
        self._store = store
        self._record = record
        self.shards = plan_shards(store, record["manifest"], record["fingerprint"])
        self._committed = committed_shards(store, self.shards)
        self.changes: dict[str, int] = {}

    @property
    def stale(self) -> list[str]:
        """Files of shards that this run does not want."""
        return sorted(list_shards(self._store).keys() - {shard.name for shard in self.shards})

    def clear(self) -> None:
        """Drop every shard. The record goes first: without their run they are not read."""
        write_run(self._store, self._record)
        drop(self._store, [*list_shards(self._store), CHANGES])
        self._committed = {}

    def begin(self) -> None:
        """Compare the input, claim the output, and clear away what dead processes left.

        Raises
        ------
        UserError
            Another run has ended since this one was planned, and has removed its manifest.
        """
        self._check_still_planned()
        # before the claim, which nobody can take back: all that it names is there
        changes = self._compare_input()
        write_run(self._store, self._record)
        if changes is not None:
            self._publish(changes)
        self._store.remove_temporaries()

    @property
    def committed(self) -> Mapping[str, ShardCounts]:
        """Those of the shards that are there, by name."""
        return self._committed

    def missing(self, retry: Sequence[ErrorCode]) -> list[Shard]:
        """What there is to do: shards that are not committed, and rows to do again.

        Parameters
        ----------
        retry
            Error rows of these codes are done again.
        """
        again = self._outdated()
        for name, keys in self._rows_again(retry).items():
            again[name] = again.get(name, frozenset()) | keys
        return [
            dataclasses.replace(shard, again=again.get(shard.name))
            for shard in self.shards
            if shard.name not in self._committed or again.get(shard.name)
        ]

    def counts_without(self, missing: Sequence[Shard]) -> ShardCounts:
        """What is committed, but for the shards that are to be written (anew)."""
        names = {shard.name for shard in missing}
        kept = (counts for name, counts in self._committed.items() if name not in names)
        return sum(kept, ShardCounts())

    def finish(self, result: dict[str, Any]) -> None:
        """Check that every shard is there, publish the state, then remove what it supersedes.

        Raises
        ------
        UserError
            Another run has begun since on this output with other images, or files were removed.
        """
        self._check_ours()
        there = list_shards(self._store).keys()
        gone = [shard.name for shard in self.shards if shard.name not in there]
        if gone:
            raise UserError(
                f"{len(gone)} shards have been removed from {self._store.uri} while this run was "
                "under way; run the same command again"
            )
        finished = {"status": "finished", "finished_manifest": None, "result": result}
        write_run(self._store, self._record | finished)
        # From here on nobody reads them: what is killed before it is done is done by the next run.
        drop(self._store, there - {shard.name for shard in self.shards})
        drop(self._store, list_parts(self._store) - set(self._record["manifest"]))
        self._store.remove_temporaries()

    def _outdated(self) -> dict[str, frozenset[str]]:
        """Per committed shard, keys of rows that are to be done again whatever they are."""
        return {}

    def _rows_again(self, retry: Sequence[ErrorCode]) -> dict[str, frozenset[str]]:
        """Per committed shard, the keys of its error rows of these codes."""
        there = self._committed.items()
        names = [name for name, counts in there if not counts.codes.keys().isdisjoint(retry)]

        def keys(name: str) -> frozenset[str]:
            rows = read_shard(self._store, name, ["key", "error"])
            return frozenset() if rows is None else keys_with(rows, retry)

        with ThreadPoolExecutor(_READERS) as pool:
            return dict(zip(names, pool.map(keys, names), strict=True))

    def _check_still_planned(self) -> None:
        """Claim nothing that a run which ended since has removed: all later ones would fail."""
        now = read_run(self._store)
        there = list_parts(self._store)
        other = now is not None and now.get("fingerprint") != self._record["fingerprint"]
        if other or not there.issuperset(self._record["manifest"]):
            raise UserError(
                f"another run has ended on {self._store.uri} while this one listed its images; run "
                "the same command again"
            )
        before = finished_manifest(now)
        if before is not None and not there.issuperset(before):
            before = None
        self._record["finished_manifest"] = before

    def _compare_input(self) -> list[tuple[str, Change]] | None:
        """What changed since the last finished run; None if there is none, or nothing did."""
        before, now = self._record["finished_manifest"], self._record["manifest"]
        if before is None or before == now:
            return None
        try:
            return list(compare(self._entries(before), self._entries(now)))
        except UserError as error:  # a damaged list of what was is no reason to stop for ever
            logger.warning("the changes of the input cannot be told: %s", error)
            return None

    def _publish(self, changes: list[tuple[str, Change]]) -> None:
        rows = [{"key": key, "change": str(change)} for key, change in changes]
        buffer = io.BytesIO()
        pq.write_table(pa.Table.from_pylist(rows, schema=_CHANGES), buffer, compression="zstd")
        self._store.write(CHANGES, buffer.getvalue())
        counts = Counter(change for _, change in changes)
        self.changes = {str(change): counts[change] for change in Change}

    def _entries(self, manifest: Sequence[str]) -> Iterator[Entry]:
        return chain.from_iterable(map(entries_of, read_manifest(self._store, manifest)))

    def _check_ours(self) -> None:
        now = read_run(self._store) or {}
        mine = ("manifest", "fingerprint")
        if any(now.get(name) != self._record[name] for name in mine):
            raise UserError(
                f"another run has begun on {self._store.uri} since this one did, with other images "
                "or settings, and decides what stays; use an --output for each"
            )
