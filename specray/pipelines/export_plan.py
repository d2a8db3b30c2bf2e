"""What there is to export: the last finished state of a run, and how it is shared out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from specray.errors import UserError
from specray.pipelines.record import finished_manifest
from specray.sources import Store, read_manifest
from specray.tables.commit import committed_shards, read_shard
from specray.tables.counts import ShardCounts
from specray.tables.exports import Format, Names, Slice, StemCounter, plan_parts
from specray.tables.run import NAME as RUN
from specray.tables.run import read_run
from specray.tables.shards import Shard, plan_shards

_JOBS: Final = ("segment", "label", "predict")
"""Whose tables have masks."""


@dataclass(frozen=True)
class FinishedState:
    """What a segment, label or predict run has left behind, whole."""

    store: Store
    run: dict[str, Any]
    manifest: list[str]
    shards: list[Shard]
    counts: list[ShardCounts]
    """Of each shard."""

    @property
    def of_classes(self) -> bool:
        """Whether the masks are those of classes."""
        return bool(self.run["job"] != "segment")

    @property
    def images(self) -> int:
        """Rows, good and bad."""
        return sum(shard.rows for shard in self.shards)

    def names(self) -> Names:
        """Names for the files of the good images; memory is 8 bytes per image."""
        stems = StemCounter()
        manifest = read_manifest(self.store, self.manifest)
        for shard, counts, listed in zip(self.shards, self.counts, manifest, strict=True):
            keys = self._good_keys(shard.name) if counts.errors else listed["key"]
            stems.add(keys.to_pylist())
        return stems.names()

    def parts(self, made_by: Format) -> list[list[Slice]]:
        """The plan of an export."""
        bounds = (made_by.part_images, made_by.part_bytes)
        return plan_parts(self.shards, self.counts, self._sizes(), *bounds)

    def check_current(self) -> None:
        """Stop if another run has finished since: what was exported may be of both.

        Raises
        ------
        UserError
            It has.
        """
        now = read_run(self.store)
        same = ("fingerprint", self.run["fingerprint"]), ("manifest", self.manifest)
        found = {} if now is None else now | {"manifest": finished_manifest(now)}
        if any(found.get(name) != value for name, value in same):
            raise UserError(
                f"another run has finished on {self.store.uri} while it was exported; run the same "
                "command again with --overwrite"
            )

    def _good_keys(self, name: str) -> pa.ChunkedArray:
        rows = read_shard(self.store, name, ["key", "error"])
        if rows is None:
            raise shard_gone(self.store, name)
        return rows.filter(rows["error"].is_null())["key"]

    def _sizes(self) -> Iterator[NDArray[np.int64]]:
        for shard in read_manifest(self.store, self.manifest):
            yield shard["size"].fill_null(0).to_numpy()


def shard_gone(store: Store, name: str) -> UserError:
    """The error of a shard that was there when the export was planned."""
    return UserError(
        f"{name} in {store.uri} was removed or replaced while it was exported; run the same "
        "command again"
    )


def read_finished_state(store: Store) -> FinishedState:
    """Read the last finished state of a segment, label or predict run.

    Raises
    ------
    UserError
        There is none, or not all of it is there.
    """
    run = read_run(store)
    if run is None:
        raise UserError(f"{store.uri} holds no {RUN}; run specray segment first")
    job = run["job"]
    if job not in _JOBS:
        raise UserError(f"{store.uri} was written by specray {job}, not by {', '.join(_JOBS)}")
    manifest = finished_manifest(run)
    if manifest is None:
        raise UserError(
            f"the run on {store.uri} has not finished; run the same specray {job} command "
            "again, which does what is missing"
        )
    shards = plan_shards(store, manifest, run["fingerprint"])
    committed = committed_shards(store, shards)
    missing = len(shards) - len(committed)
    if missing:
        raise UserError(
            f"{missing} shards of {store.uri} are missing or torn; run the same specray {job} "
            "command again, which does them anew"
        )
    return FinishedState(store, run, manifest, shards, [committed[s.name] for s in shards])
