"""The segment job: list, read, decode, segment, commit."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import time
from collections.abc import Iterator
from itertools import islice
from typing import Any

import ray
from ray.data import ActorPoolStrategy, DataContext, Dataset

from specray.backbones import Backbone, build_backbone
from specray.errors import UserError
from specray.pipelines.cluster import ResourcePlan, cluster_plan, configure_data, ray_session
from specray.pipelines.config import RunConfig, SegmentConfig
from specray.pipelines.estimate import Estimate, estimate
from specray.pipelines.plan import ManifestSource, PlannedShard, plan_shards, split_done
from specray.pipelines.progress import Progress
from specray.pipelines.stages import Commit, Decode, Segment, Tally
from specray.pipelines.weights import Weights, load_weights
from specray.sources import (
    Entry,
    Store,
    list_images,
    list_keys,
    open_store,
    write_manifest,
)
from specray.tables.run import package_versions, read_run, write_run
from specray.tables.schema import SCHEMA_VERSION
from specray.tables.shards import ShardCounts, count_rows, drop_shards, read_shard

DECODE_CPUS = 0.5
"""Of a decoding task: it waits for the store half of its time. Not the 1 of the actors, or Ray
Data would fuse both stages and decode on the accelerator's time."""


def run_segment(config: SegmentConfig) -> dict[str, Any]:
    """Segment every image of the input; see `SegmentConfig`.

    Returns
    -------
    dict
        Counts, seconds and the location of the output: the job's last line.

    Raises
    ------
    UserError
        Before anything is written: nothing to read, weights that do not fit, an output that
        holds something else, too few CPUs.
    """
    start = time.monotonic()
    source, output = _store(config.input, config), _store(config.output, config)
    weights = load_weights(config.features, config.run.endpoint)
    backbone = build_backbone(config.features, weights.data, weights.source, "cpu")
    entries = _entries(config, source)
    if config.run.dry_run:
        return _dry_run(config, source, backbone, entries)

    record = _record(config, output, weights)
    parts = write_manifest(entries, output, config.run.shard_size)
    shards = plan_shards(output, parts, record["fingerprint"])
    if config.run.overwrite:
        drop_shards(output)
    write_run(output, record | {"status": "running"})

    done, missing = split_done(output, shards)
    counts = sum((count_rows(*read_shard(output, s.name)) for s in done), ShardCounts())
    seconds = 0.0
    if missing:
        begin = time.monotonic()
        with ray_session():
            for receipt in _stream(config, source, output, backbone, weights, missing, record):
                counts += receipt
        seconds = time.monotonic() - begin
    result = _result(config, shards, missing, counts, seconds, time.monotonic() - start)
    write_run(output, record | {"status": "finished", "result": result})
    return result


def _store(uri: str, config: SegmentConfig) -> Store:
    return open_store(uri, config.run.endpoint if uri.startswith("s3://") else None)


def _entries(config: SegmentConfig, source: Store) -> Iterator[Entry]:
    keys, endpoint = config.images.keys, config.run.endpoint
    entries = list_images(source) if keys is None else list_keys(source, keys, endpoint)
    return islice(entries, config.images.limit)


def _dry_run(
    config: SegmentConfig, source: Store, backbone: Backbone, entries: Iterator[Entry]
) -> dict[str, Any]:
    found: Estimate = estimate(config, source, backbone, entries)
    return {"job": "segment", "dry_run": True, **dataclasses.asdict(found), "output": config.output}


def _record(config: SegmentConfig, output: Store, weights: Weights) -> dict[str, Any]:
    """The record of this run, after checking that the output belongs to it."""
    decisive = _decisive(config, weights)
    fingerprint = hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()
    earlier = read_run(output)
    if earlier is not None and earlier["decisive"] != decisive and not config.run.overwrite:
        raise UserError(
            f"{config.output} holds a run with another configuration "
            f"({_difference(earlier['decisive'], decisive)}); choose another --output, "
            "or pass --overwrite to drop what is there"
        )
    return {
        "job": "segment",
        "schema_version": SCHEMA_VERSION,
        "fingerprint": fingerprint,
        "decisive": decisive,
        "configuration": dataclasses.asdict(config),
        "weights": {"source": weights.source, "sha256": weights.sha256},
        "versions": package_versions(),
    }


def _decisive(config: SegmentConfig, weights: Weights) -> dict[str, Any]:
    """What decides the rows: all of the configuration but where and how the work is done."""
    tree = dataclasses.asdict(config)
    for name in ("output", "run"):
        del tree[name]
    for name in ("keys", "limit"):  # which images is the manifest's affair
        del tree["images"][name]
    tree["features"]["weights"] = weights.sha256
    as_stored: dict[str, Any] = json.loads(json.dumps(tree | {"schema_version": SCHEMA_VERSION}))
    return as_stored


def _difference(old: dict[str, Any], new: dict[str, Any]) -> str:
    """The settings that differ, as ``name: old -> new``."""
    changes = []
    for name in old.keys() | new.keys():
        a, b = old.get(name), new.get(name)
        if isinstance(a, dict) and isinstance(b, dict):
            changes.append(_difference(a, b))
        elif a != b:
            changes.append(f"{name}: {a} -> {b}")
    return ", ".join(sorted(filter(None, changes)))


def _stream(
    config: SegmentConfig,
    source: Store,
    output: Store,
    backbone: Backbone,
    weights: Weights,
    shards: list[PlannedShard],
    record: dict[str, Any],
) -> Iterator[ShardCounts]:
    """Run the pass over the planned shards; yields the counts of each as it is committed."""
    plan = cluster_plan(config.run.device, config.run.num_workers)
    tally = Tally.remote()
    total = sum(shard.rows for shard in shards)
    receipts = _dataset(config, source, output, backbone, weights, shards, record, plan, tally)
    names = [field.name for field in dataclasses.fields(ShardCounts)]
    with Progress(total, lambda: ray.get(tally.read.remote())):
        for receipt in receipts.iter_rows():
            yield ShardCounts(**{name: receipt[name] for name in names})


def _dataset(
    config: SegmentConfig,
    source: Store,
    output: Store,
    backbone: Backbone,
    weights: Weights,
    shards: list[PlannedShard],
    record: dict[str, Any],
    plan: ResourcePlan,
    tally: Any,
) -> Dataset:
    """The graph: manifest rows, decoded batches, segmented batches, whole shards, receipts."""
    configure_data(DataContext.get_current())
    run = config.run
    batch_size = _batch_size(run)
    batches = sum(-(-shard.rows // batch_size) for shard in shards)
    listed = ray.data.read_datasource(ManifestSource(output, shards))
    decoded = listed.repartition(target_num_rows_per_block=batch_size, strict=True).map_batches(
        Decode(source, config, backbone.patch_size),
        batch_size=None,
        batch_format="pyarrow",
        num_cpus=DECODE_CPUS,
    )
    segmented = decoded.map_batches(
        Segment,
        fn_constructor_args=(config, weights.sha256, plan.device, plan.cpus_per_actor, tally),
        batch_size=None,
        batch_format="pyarrow",
        # no more actors than there are batches: each of them loads the weights
        compute=ActorPoolStrategy(size=min(plan.actors, batches)),
        num_cpus=plan.cpus_per_actor,
        num_gpus=plan.gpus_per_actor,
    )
    receipts: Dataset = segmented.repartition(
        target_num_rows_per_block=run.shard_size, strict=True
    ).map_batches(
        Commit(output, record["fingerprint"]),
        batch_size=None,
        batch_format="pyarrow",
        num_cpus=1,
    )
    return receipts


def _batch_size(run: RunConfig) -> int:
    """The largest divisor of the shard size up to the batch size.

    So a batch never spans two shards, and is the same whichever shards are still to do.
    """
    sizes = range(min(run.batch_size, run.shard_size), 0, -1)
    return next(size for size in sizes if run.shard_size % size == 0)


def _result(
    config: SegmentConfig,
    shards: list[PlannedShard],
    missing: list[PlannedShard],
    counts: ShardCounts,
    streaming: float,
    seconds: float,
) -> dict[str, Any]:
    total = sum(shard.rows for shard in shards)
    if counts.images != total:
        raise RuntimeError(f"{counts.images} rows committed for {total} images of the manifest")
    fresh = sum(shard.rows for shard in missing)
    return {
        "job": "segment",
        **dataclasses.asdict(counts),
        "shards": len(shards),
        "new_images": fresh,
        "images_per_second": round(fresh / streaming, 3) if streaming else None,
        "seconds": round(seconds, 3),
        "output": config.output,
    }
