"""The segment job: a bucket of photographs in, objects and regions out."""

from __future__ import annotations

import dataclasses
import sys
import time
from collections.abc import Iterator
from itertools import islice
from typing import Any

from specray import backbones
from specray.errors import UserError
from specray.pipelines.config import SegmentConfig
from specray.pipelines.error_limit import check_errors
from specray.pipelines.output import Output
from specray.pipelines.record import new_record
from specray.pipelines.weights import Weights, load_weights
from specray.sources import Entry, Store, list_images, list_keys, open_store, write_manifest
from specray.tables.counts import ShardCounts
from specray.tables.run import read_run
from specray.tables.shards import Shard


def run_segment(config: SegmentConfig) -> dict[str, Any]:
    """Segment every image of the input; see `SegmentConfig`.

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
    source = open_store(config.input, config.run.endpoint)
    store = open_store(config.output, config.run.endpoint)
    _check_apart(source, store)
    weights = load_weights(config.features, config.run.endpoint)
    entries = _entries(config, source)
    if config.run.dry_run:
        from specray.pipelines.estimate import estimate
        from specray.pipelines.segmenting import EngineFactory

        side = _build(config, weights).patch_size
        engine = EngineFactory(config, weights.sha256, "cpu")()
        found = dataclasses.asdict(estimate(config, source, engine, side, entries))
        return {"job": "segment", "dry_run": True, **found, "output": config.output}

    record = new_record(config, source, store, weights)
    patch_size = None
    if record["finished_manifest"] is None:
        # Weights that do not fit are refused before anything is written. Where a run of the same
        # settings has finished they are known to fit, and may not be needed at all.
        patch_size = _build(config, weights).patch_size
    record["cell"] = _cell(config, patch_size, store)
    record["manifest"] = write_manifest(entries, store, config.run.shard_size)
    output = Output(store, record)
    missing = _begin(config, output)
    counts = output.counts_without(missing)
    work: dict[str, Any] = {}
    if missing:
        patch_size = patch_size or _build(config, weights).patch_size
        fresh, work = _stream(config, source, store, missing, patch_size, weights.sha256)
        counts += fresh
    check_errors(counts, config.run.max_error_rate)
    result = {
        "job": "segment",
        "images": counts.images,
        "errors": counts.errors,
        "error_codes": dict(sorted(counts.codes.items())),
        "segments": counts.segments,
        "dense_fallbacks": counts.dense_fallbacks,
        "bytes": counts.bytes,
        "shards": len(output.shards),
        "new_images": sum(shard.work for shard in missing),
        **work,
        "input_changes": output.changes,
        "seconds": round(time.monotonic() - start, 3),
        "output": config.output,
    }
    output.finish(result)
    return result


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
    config: SegmentConfig,
    source: Store,
    output: Store,
    missing: list[Shard],
    patch_size: int,
    weights_sha256: str | None,
) -> tuple[ShardCounts, dict[str, Any]]:
    # Ray and torch take seconds and half a gigabyte, which a finished run does without.
    from specray.pipelines.cluster import ray_session
    from specray.pipelines.graph import StreamingPass

    with ray_session():
        return StreamingPass(config, source, output, missing, patch_size, weights_sha256).run()


def _build(config: SegmentConfig, weights: Weights) -> backbones.Backbone:
    return backbones.build_backbone(config.features, weights.data, weights.source, "cpu")


def _check_apart(source: Store, output: Store) -> None:
    """Refuse an output inside the input: the pictures of its report would be listed as images."""
    if f"{output.uri.rstrip('/')}/".startswith(f"{source.uri.rstrip('/')}/"):
        raise UserError(f"--output {output.uri} lies inside --input; choose a place outside of it")


def _entries(config: SegmentConfig, source: Store) -> Iterator[Entry]:
    keys, endpoint = config.images.keys, config.run.endpoint
    if keys is not None:
        return islice(list_keys(source, keys, endpoint), config.images.limit)
    return islice(list_images(source, config.images.suffixes), config.images.limit)
