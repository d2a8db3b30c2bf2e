"""What the jobs that read a bucket of images have in common: from a listing to a finished run."""

from __future__ import annotations

import dataclasses
import sys
import time
from collections.abc import Iterator
from itertools import islice
from typing import Any, Protocol

from specray.errors import UserError
from specray.pipelines.config import SegmentConfig
from specray.pipelines.error_limit import check_errors
from specray.pipelines.output import Output
from specray.pipelines.weights import Weights
from specray.pipelines.work import Work
from specray.sources import Entry, Store, list_images, list_keys, open_store, write_manifest
from specray.tables.counts import ShardCounts
from specray.tables.run import read_run
from specray.tables.shards import Shard


class ImageJob(Protocol):
    """What a job adds to `run_image_job`."""

    @property
    def name(self) -> str:
        """Of the job."""
        ...

    @property
    def config(self) -> SegmentConfig:
        """Which images, their features, and how the work is spread."""
        ...

    def weights(self) -> Weights:
        """Those of the backbone; refused where they are not those of the job."""
        ...

    def patch_size(self, weights: Weights) -> int:
        """Of the backbone; refuses weights that do not fit it."""
        ...

    def record(self, source: Store, output: Store, weights: Weights) -> dict[str, Any]:
        """As `new_record`; refuses an output that holds something else."""
        ...

    def work(self, weights: Weights, patch_size: int) -> Work:
        """What is made of the images."""
        ...

    def told(self, counts: ShardCounts) -> dict[str, Any]:
        """What the result of this job says besides that of any."""
        ...


def run_image_job(job: ImageJob) -> dict[str, Any]:
    """List the images, do those that the output misses, publish the state.

    Returns
    -------
    dict
        Counts, seconds and the location of the output: the job's last line.

    Raises
    ------
    UserError
        Nothing to read, weights that do not fit, an output that holds something else, too few
        CPUs: each before any image is worked on. A store that is down, too many error rows: what
        was committed stays, the same command continues.
    """
    start = time.monotonic()
    config = job.config
    source = open_store(config.input, config.run.endpoint)
    store = open_store(config.output, config.run.endpoint)
    _check_apart(source, store)
    weights = job.weights()
    entries = _entries(config, source)
    if config.run.dry_run:
        return {"job": job.name, "dry_run": True, **_estimate(job, source, weights, entries)}

    record = job.record(source, store, weights)
    patch_size = None
    if record["finished_manifest"] is None:
        # Weights that do not fit are refused before anything is written. Where a run of the same
        # settings has finished they are known to fit, and may not be needed at all.
        patch_size = job.patch_size(weights)
    record["cell"] = _cell(config, patch_size, store)
    record["manifest"] = write_manifest(entries, store, config.run.shard_size)
    output = Output(store, record)
    missing = _begin(config, output)
    counts = output.counts_without(missing)
    done: dict[str, Any] = {}
    if missing:
        patch_size = patch_size or job.patch_size(weights)
        fresh, done = _stream(job, source, store, missing, weights, patch_size)
        counts += fresh
    check_errors(counts, config.run.max_error_rate)
    result = {
        "job": job.name,
        "images": counts.images,
        "errors": counts.errors,
        "error_codes": dict(sorted(counts.codes.items())),
        "segments": counts.segments,
        **job.told(counts),
        "bytes": counts.bytes,
        "shards": len(output.shards),
        "new_images": sum(shard.work for shard in missing),
        **done,
        "input_changes": output.changes,
        "seconds": round(time.monotonic() - start, 3),
        "output": config.output,
    }
    output.finish(result)
    return result


def _estimate(
    job: ImageJob, source: Store, weights: Weights, entries: Iterator[Entry]
) -> dict[str, Any]:
    from specray.pipelines.estimate import estimate

    side = job.patch_size(weights)
    maker = job.work(weights, side).maker("cpu")
    found = estimate(job.config, source, maker(), side, entries, maker.block)
    return {**dataclasses.asdict(found), "output": job.config.output}


def _cell(config: SegmentConfig, patch_size: int | None, output: Store) -> int | None:
    """Side in pixels of a cell of the grid; None where an older run has not said."""
    if patch_size is not None:
        return config.spectral.cell(patch_size)
    cell: int | None = (read_run(output) or {}).get("cell")
    return cell


def _begin(config: SegmentConfig, output: Output) -> list[Shard]:
    """Claim the output, and tell what there is to do; returns the shards."""
    if config.run.overwrite:
        output.clear()
    elif config.images.limit is not None and (stale := output.stale):
        raise UserError(
            f"{config.output} holds {len(stale)} shards of other images than --limit "
            f"{config.images.limit} leaves; choose another --output, or pass --overwrite to drop "
            "them"
        )
    output.begin()
    missing = output.missing(config.run.retry)
    images = sum(shard.rows for shard in output.shards)
    changed = ", ".join(f"{count:,} {change}" for change, count in output.changes.items() if count)
    print(
        f"{images:,} images in {len(output.shards):,} shards, {len(missing):,} shards with "
        f"{sum(shard.work for shard in missing):,} images to do"
        + (f"; since the last finished run: {changed}" if changed else ""),
        file=sys.stderr,
    )
    return missing


def _stream(
    job: ImageJob,
    source: Store,
    output: Store,
    missing: list[Shard],
    weights: Weights,
    patch_size: int,
) -> tuple[ShardCounts, dict[str, Any]]:
    # Ray and torch take seconds and half a gigabyte, which a finished run does without.
    from specray.pipelines.cluster import ray_session
    from specray.pipelines.graph import StreamingPass

    work = job.work(weights, patch_size)
    with ray_session():
        return StreamingPass(job.config, source, output, missing, patch_size, work).run()


def _check_apart(source: Store, output: Store) -> None:
    """Refuse an output inside the input: the pictures of its report would be listed as images."""
    if f"{output.uri.rstrip('/')}/".startswith(f"{source.uri.rstrip('/')}/"):
        raise UserError(f"--output {output.uri} lies inside --input; choose a place outside of it")


def _entries(config: SegmentConfig, source: Store) -> Iterator[Entry]:
    keys, endpoint = config.images.keys, config.run.endpoint
    if keys is not None:
        return islice(list_keys(source, keys, endpoint), config.images.limit)
    return islice(list_images(source, config.images.suffixes), config.images.limit)
