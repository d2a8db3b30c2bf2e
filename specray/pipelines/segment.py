"""The segment job: a bucket of photographs in, objects and regions out."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator
from itertools import islice
from typing import Any

from specray.backbones import build_backbone
from specray.errors import UserError
from specray.pipelines.cluster import ray_session
from specray.pipelines.config import SegmentConfig
from specray.pipelines.estimate import estimate
from specray.pipelines.graph import StreamingPass
from specray.pipelines.record import new_record
from specray.pipelines.weights import load_weights
from specray.sources import Entry, Store, list_images, list_keys, open_store, write_manifest
from specray.tables.run import write_run
from specray.tables.shards import (
    ShardCounts,
    committed_shards,
    count_rows,
    drop_shards,
    plan_shards,
    read_shard,
)


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
        CPUs: each before any image is worked on.
    """
    start = time.monotonic()
    source = open_store(config.input, config.run.endpoint)
    output = open_store(config.output, config.run.endpoint)
    _check_apart(source, output)
    weights = load_weights(config.features, config.run.endpoint)
    backbone = build_backbone(config.features, weights.data, weights.source, "cpu")
    entries = _entries(config, source)
    if config.run.dry_run:
        found = dataclasses.asdict(estimate(config, source, backbone, entries))
        return {"job": "segment", "dry_run": True, **found, "output": config.output}

    record = new_record(config, output, weights)
    record["manifest"] = write_manifest(entries, output, config.run.shard_size)
    shards = plan_shards(output, record["manifest"], record["fingerprint"])
    committed = committed_shards(output)
    if config.run.overwrite:
        drop_shards(output, committed)
        committed = frozenset()
    stale = committed - {shard.name for shard in shards}
    if stale and config.images.limit is not None:
        raise UserError(
            f"{config.output} holds {len(stale)} shards of more images than --limit "
            f"{config.images.limit}; choose another --output, or pass --overwrite to drop them"
        )
    write_run(output, record | {"status": "running"})

    missing = [shard for shard in shards if shard.name not in committed]
    done = [shard for shard in shards if shard.name in committed]
    counts = sum((count_rows(*read_shard(output, shard.name)) for shard in done), ShardCounts())
    rate = None
    if missing:
        streaming = StreamingPass(
            config,
            source,
            output,
            missing,
            backbone.patch_size,
            weights.sha256,
            record["fingerprint"],
        )
        with ray_session():
            fresh, rate = streaming.run()
        counts += fresh
    total = sum(shard.rows for shard in shards)
    if counts.images != total:
        raise RuntimeError(f"{counts.images} rows committed for {total} images of the manifest")

    # Rows of an earlier state of the listing have been replaced by now: one row per image.
    drop_shards(output, stale)

    result = {
        "job": "segment",
        **dataclasses.asdict(counts),
        "shards": len(shards),
        "new_images": sum(shard.rows for shard in missing),
        "images_per_second": rate and round(rate, 3),
        "seconds": round(time.monotonic() - start, 3),
        "output": config.output,
    }
    write_run(output, record | {"status": "finished", "result": result})
    return result


def _check_apart(source: Store, output: Store) -> None:
    """Refuse an output inside the input: the pictures of its report would be listed as images."""
    if f"{output.uri.rstrip('/')}/".startswith(f"{source.uri.rstrip('/')}/"):
        raise UserError(f"--output {output.uri} lies inside --input; choose a place outside of it")


def _entries(config: SegmentConfig, source: Store) -> Iterator[Entry]:
    keys, endpoint = config.images.keys, config.run.endpoint
    if keys is not None:
        return islice(list_keys(source, keys, endpoint), config.images.limit)
    return islice(list_images(source, config.images.suffixes), config.images.limit)
