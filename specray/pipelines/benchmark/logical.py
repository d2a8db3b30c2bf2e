"""The runs of `scale_out`, each in a process of its own: the plan, and the pass on many nodes."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from specray.backbones import BackboneConfig
from specray.pipelines.benchmark.synthetic import PATCH
from specray.pipelines.config import RunConfig, SegmentConfig
from specray.pipelines.output import Output
from specray.pipelines.record import new_record
from specray.pipelines.weights import Weights
from specray.sources import Entry, LocalStore, write_manifest
from specray.tables.commit import committed_shards, drop
from specray.tables.run import read_run
from specray.tables.shards import Shard

NODE_CPUS: Final = 2
"""Of a logical node: its actor, and the tasks around it."""

NODE_STORE_BYTES: Final = 200 * 2**20

SHARD_IMAGES: Final = 192
"""Of a shard, on average: three quarters of the default."""

_LOOK_SECONDS: Final = 1


def config_of(folder: str, nodes: int = 1, batch_size: int = 16) -> SegmentConfig:
    """The default run with an actor for each node, its output in a folder."""
    return SegmentConfig(
        input=str(Path(folder, "images")),
        output=str(Path(folder, "out")),
        features=BackboneConfig(backbone="descriptor"),
        run=RunConfig(num_workers=nodes, batch_size=batch_size, device="cpu"),
    )


def plan(folder: str, images: int) -> dict[str, Any]:
    """Write the manifest of so many keys and plan its shards, as a job does.

    Returns
    -------
    Seconds of either, and the bytes of this process before, in between and after.
    """
    import psutil

    me = psutil.Process()
    config = config_of(folder)
    source, store = LocalStore(config.input), LocalStore(config.output)
    record = new_record(config, source, store, Weights())
    record["cell"] = PATCH
    entries = (Entry(f"{i:09}.jpg", 10**6, f"{i:032x}") for i in range(images))
    before, start = me.memory_info().rss, time.monotonic()
    record["manifest"] = write_manifest(entries, store, config.run.shard_size)
    written, between = time.monotonic(), me.memory_info().rss
    output = Output(store, record)
    output.begin()
    shards = output.missing(())
    return {
        "keys": sum(shard.rows for shard in shards),
        "shards": len(shards),
        "manifest_s": written - start,
        "plan_s": time.monotonic() - written,
        "before_bytes": before,
        "manifest_bytes": between,
        "plan_bytes": me.memory_info().rss,
    }


def run_nodes(folder: str, log: str, nodes: int, images: int, seconds: float) -> dict[str, Any]:
    """Run the pass over the first shards of a plan, on a cluster of logical nodes.

    Parameters
    ----------
    folder
        That of `plan`.
    log
        Folder of `Log`.
    nodes
        Each has an actor.
    images
        At least so many are done: whole shards.
    seconds
        That the engine sleeps for an image.

    Returns
    -------
    What the pass tells, what it has committed, and the peak of the object stores in bytes.
    """
    from specray.pipelines.benchmark.sleeping import Log, OneImage, SleepingWork, tiny_jpeg
    from specray.pipelines.graph import StreamingPass

    config = config_of(folder, nodes)
    store = LocalStore(config.output)
    record = read_run(store)
    assert record is not None
    start = time.monotonic()
    shards = _first(Output(store, record).shards, images)
    planned = time.monotonic()
    drop(store, [shard.name for shard in shards])  # of a run with fewer nodes
    where = Log(log, nodes)
    source, work = OneImage(config.input, tiny_jpeg(), where), SleepingWork(seconds, where)
    with logical_nodes(nodes), store_peak() as peak:
        counts, done = StreamingPass(config, source, store, shards, PATCH, work).run()
    committed = committed_shards(store, shards)
    return {
        **done,
        "images": sum(shard.rows for shard in shards),
        "shards": len(shards),
        "errors": counts.errors,
        "committed_rows": sum(each.images for each in committed.values()),
        "plan_s": planned - start,
        "store_peak_bytes": peak(),
    }


@contextmanager
def logical_nodes(nodes: int) -> Iterator[None]:
    """A cluster on this machine, on loopback; its head is for the driver and has no CPUs."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"  # as `start_local`
    import ray
    from ray._private import ray_constants
    from ray.cluster_utils import Cluster

    ray_constants.ENABLE_RAY_CLUSTER = False
    node = {"object_store_memory": NODE_STORE_BYTES}
    head = node | {"num_cpus": 0, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    try:
        for _ in range(nodes):
            cluster.add_node(wait=False, num_cpus=NODE_CPUS, **node)
        cluster.wait_for_nodes()
        ray.init(address=cluster.address, logging_level=logging.ERROR, log_to_driver=False)
        yield
    finally:
        ray.shutdown()
        cluster.shutdown()


@contextmanager
def store_peak() -> Iterator[Callable[[], float]]:
    """Gives the most bytes in the object stores of all nodes, as their raylets report it."""
    import ray

    name, stop, seen = "object_store_memory", threading.Event(), [0.0]

    def look() -> None:
        whole = ray.cluster_resources()[name]
        while not stop.wait(_LOOK_SECONDS):
            seen.append(whole - ray.available_resources().get(name, whole))

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield lambda: max(seen)
    finally:
        stop.set()
        thread.join()


def _first(shards: list[Shard], images: int) -> list[Shard]:
    """The first shards, with so many images together."""
    count, there = 0, 0
    while count < len(shards) and there < images:
        there += shards[count].rows
        count += 1
    return shards[:count]


def code_of(function: Callable[..., dict[str, Any]], *arguments: Any) -> str:
    """Python that calls a function of this file and says what it returns."""
    name = function.__name__
    return f"import json; from {__name__} import {name}; print(json.dumps({name}(*{arguments!r})))"
