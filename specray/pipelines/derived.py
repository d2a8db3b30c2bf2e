"""An output that follows a segment run row by row: the same images, in the same shards."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from specray.errors import ErrorCode, ImageError, Stage, UserError
from specray.pipelines.output import Output
from specray.pipelines.record import finished_manifest
from specray.sources import Store
from specray.tables.commit import committed_shards, read_shard
from specray.tables.counts import ShardCounts
from specray.tables.run import read_run
from specray.tables.shards import Shard, plan_shards


@dataclass(frozen=True)
class SegmentRun:
    """The last finished state of a segment run."""

    store: Store
    record: dict[str, Any]
    """Its ``run.json``."""
    manifest: list[str]
    """Files of the manifest."""

    @property
    def configuration(self) -> dict[str, Any]:
        """The `SegmentConfig` it was made with, as a tree."""
        tree: dict[str, Any] = self.record["configuration"]
        return tree

    @cached_property
    def shards(self) -> list[Shard]:
        """Its shards, in order."""
        return plan_shards(self.store, self.manifest, self.record["fingerprint"])

    @cached_property
    def counts(self) -> Mapping[str, ShardCounts]:
        """What the shards say of themselves, by name.

        Raises
        ------
        UserError
            Some are not there.
        """
        counts = committed_shards(self.store, self.shards)
        if len(counts) < len(self.shards):
            raise UserError(
                f"{len(self.shards) - len(counts)} shards of {self.store.uri} are gone or damaged; "
                "run the same specray segment command again, then this one"
            )
        return counts


def finished_run(segments: Store, *jobs: str) -> SegmentRun:
    """The finished segment run of a store, or that of one of some other jobs.

    Raises
    ------
    UserError
        There is none.
    """
    record = read_run(segments)
    jobs = jobs or ("segment",)
    if record is None or record.get("job") not in jobs:
        named = " or ".join(jobs)
        raise UserError(f"{segments.uri} holds no {named} run; run specray {named} first")
    manifest = finished_manifest(record)
    if manifest is None:
        raise UserError(f"the run at {segments.uri} has not finished; run its command again first")
    return SegmentRun(segments, record, manifest)


def check_place(output: Store, job: str, others: Mapping[str, Store]) -> None:
    """Refuse an output among other files, and, also to overwrite, that of another job.

    Parameters
    ----------
    output
        Where a job is to write.
    job
        Its name.
    others
        What it reads, by flag.
    """
    place = f"{output.uri.rstrip('/')}/"
    for flag, other in others.items():
        if place.startswith(f"{other.uri.rstrip('/')}/"):
            raise UserError(f"--output {output.uri} lies inside {flag}; choose a place outside")
    there = read_run(output)
    if there is not None and there.get("job") != job:
        raise UserError(f"{output.uri} holds the output of another job; use another --output")


class DerivedOutput(Output):
    """The output of a job that makes a row of each row of a segment run.

    Parameters
    ----------
    store
        Where it is; the manifest of the segment run is copied there.
    record
        The run record, without a manifest.
    segments
        The segment run.
    stage
        Of the errors that are the job's own.

    Attributes
    ----------
    sources : dict
        Shards of segments by the name of the shard that is made of them.
    """

    def __init__(
        self, store: Store, record: dict[str, Any], segments: SegmentRun, stage: Stage
    ) -> None:
        self._counts = segments.counts  # refuses before anything is written
        # the output then tells by itself what it is of
        _copy(segments, store)
        super().__init__(store, record | {"manifest": segments.manifest})
        self._segments = segments
        self._stage = stage
        names = (shard.name for shard in self.shards)
        self.sources = dict(zip(names, segments.shards, strict=True))

    def missing(self, retry: Sequence[ErrorCode]) -> list[Shard]:
        """As `Output.missing`; says what there is to do."""
        found = super().missing(retry)
        images = sum(shard.rows for shard in self.shards)
        print(
            f"{images:,} images in {len(self.shards):,} shards, {len(found):,} shards with "
            f"{sum(shard.work for shard in found):,} images to do",
            file=sys.stderr,
        )
        return found

    def with_sources(self, shards: Sequence[Shard]) -> list[tuple[Shard, str]]:
        """Shards, each with the name of the shard of segments that has its rows."""
        return [(shard, self.sources[shard.name].name) for shard in shards]

    def _outdated(self) -> dict[str, frozenset[str]]:
        """Per committed shard, keys of images that have got segments since, by segment --retry.

        Good rows of a segment table stay as they are, so their number tells whether there are more.
        """
        return {
            name: self._inherited(name) & _good(self._segments.store, self.sources[name].name)
            for name, committed in self.committed.items()
            if committed.inherited != self._counts[self.sources[name].name].errors
        }

    def _inherited(self, name: str) -> frozenset[str]:
        """Keys of the rows of a shard whose errors are those of its segment table."""
        rows = read_shard(self._store, name, ["key", "error"])
        found = [] if rows is None else rows.to_pylist()
        return frozenset(
            row["key"] for row in found if row["error"] and row["error"]["stage"] != self._stage
        )


def _good(segments: Store, name: str) -> frozenset[str]:
    rows = read_shard(segments, name, ["key", "error"])
    found = [] if rows is None else rows.to_pylist()
    return frozenset(row["key"] for row in found if row["error"] is None)


def _copy(segments: SegmentRun, output: Store) -> None:
    for part in segments.manifest:
        try:
            output.write(part, segments.store.read(part).data)
        except ImageError as error:
            raise UserError(
                f"cannot read {part} in {segments.store.uri} ({error.message}): another run has "
                "finished there; run the same command again"
            ) from None
