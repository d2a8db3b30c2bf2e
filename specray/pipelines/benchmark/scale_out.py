"""What the framework itself costs: the streaming pass on logical nodes whose engines sleep.

Everything but the engine is the real pass: manifest, decoding, the actors, the commit to Parquet,
receipts, ledger, progress. The engines take time like a GPU, but no CPU, so that one machine can
feed several nodes as long as its cores suffice for the framework.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

import numpy as np

from specray.pipelines.benchmark.logical import SHARD_IMAGES, code_of, plan, run_nodes
from specray.pipelines.benchmark.sleeping import Batch, Log
from specray.pipelines.benchmark.stages import stage_costs
from specray.pipelines.benchmark.watching import Look, watched

KEYS: Final = 1_000_000
"""Of the manifest. Each number of nodes does as many of its first shards as take long enough."""

NODES: Final = (1, 2, 4, 8)

RATE: Final = 20.0
"""Images per second that an engine would do without a framework: a ViT-S on a modest GPU."""

SECONDS: Final = 60.0
"""Of sleep for each engine, the half of which is measured."""

MIN_GROWTH_SHARDS: Final = 50


def scale_out_rows(
    keys: int = KEYS,
    nodes: Sequence[int] = NODES,
    rate: float = RATE,
    seconds: float = SECONDS,
) -> Iterator[dict[str, Any]]:
    """Plan all keys, then run the pass on each number of nodes, each in a process of its own.

    Parameters
    ----------
    keys
        Of the manifest.
    nodes
        Numbers of nodes, beginning with that to which the others are compared.
    rate
        Images per second of an engine.
    seconds
        Of sleep for each engine.
    """
    costs = stage_costs()
    yield {"name": "stages without Ray", **costs}
    with tempfile.TemporaryDirectory() as folder:
        yield plan_row(folder, keys)
        first: float | None = None
        for count in nodes:
            images = int(rate * count * seconds)
            row = node_row(folder, count, images, 1 / rate, costs["decode_ms"])
            each = row["steady_images_per_second"] / count
            first = first or each
            yield row | {"efficiency": each / first}


def plan_row(folder: str, keys: int) -> dict[str, Any]:
    """Write and plan the manifest in a process of its own."""
    measured, watch = watched(code_of(plan, folder, keys), driver_alone=True)
    return {"name": f"plan of {keys:,}", **measured, "driver_peak_bytes": watch.peaks["driver"]}


def node_row(
    folder: str, nodes: int, images: int, seconds: float, decode_ms: float
) -> dict[str, Any]:
    """Run the pass on so many nodes.

    Parameters
    ----------
    folder
        That of `plan_row`.
    nodes, images, seconds
        As in `run_nodes`.
    decode_ms
        CPU for an image that is not overhead.
    """
    with tempfile.TemporaryDirectory() as log:
        code = code_of(run_nodes, folder, log, nodes, images, seconds)
        result, watch = watched(code, driver_alone=True)
        batches = Log(log, nodes).batches()
    late = steady(batches)
    cpu = cpu_ms(watch.looks, late)
    rate = rate_of(batches, late)
    return {
        "name": f"{nodes} node{'s' if nodes > 1 else ''}",
        "nodes": nodes,
        "nodes_with_actors": len({batch.engine.partition("-")[0] for batch in batches}),
        "local_share": sum(batch.local for batch in batches) / len(batches),
        "sleep_ms": 1000 * seconds,
        **result,
        "steady_s": late.seconds,
        "steady_images_per_second": rate,
        "actor_overhead_ms": 1000 * (nodes / rate - seconds),
        "cpu_ms": sum(cpu.values()),
        "overhead_cpu_ms": sum(cpu.values()) - decode_ms,
        **{f"{role}_cpu_ms": value for role, value in cpu.items()},
        "driver_cpu_share": cpu["driver"] / 1000 * late.images / late.seconds,
        "machine_cpu_share": busy_share(watch.looks, late),
        "load": os.getloadavg()[0],
        **driver_memory(watch.looks, batches),
    }


def whole_run(nodes: int, images: int, seconds: float = 0.0) -> Iterator[dict[str, Any]]:
    """One pass over very many images: the rate, and how the driver grows with the shards.

    Parameters
    ----------
    nodes
        Each has an actor.
    images
        To do.
    seconds
        That an engine sleeps for an image.

    Examples
    --------
    From the command line, for a machine that does nothing else::

        python -m specray.pipelines.benchmark.scale_out 2 1000000
    """
    with tempfile.TemporaryDirectory() as folder:
        yield plan_row(folder, images)
        yield node_row(folder, nodes, images, seconds, stage_costs()["decode_ms"])


class Span(NamedTuple):
    """The steady state."""

    begin: float
    end: float
    images: int

    @property
    def seconds(self) -> float:
        """From begin to end."""
        return self.end - self.begin


def steady(batches: Sequence[Batch]) -> Span:
    """The later half of the time in which all engines work.

    In the first half Ray starts processes for tasks, each for seconds of a core: many nodes on few
    cores wait for them longer than a node with cores of its own.
    """
    ends = _by_engine(batches)
    begin = max(min(times) for times in ends)
    end = min(max(times) for times in ends)
    if end <= begin:  # too short: all of it
        begin, end = min(batch.begin for batch in batches), max(batch.end for batch in batches)
    else:
        begin = (begin + end) / 2
    return Span(begin, end, sum(batch.images for batch in batches if begin < batch.end <= end))


def rate_of(batches: Sequence[Batch], span: Span) -> float:
    """Images per second of all engines together, each from end to end of its batches there."""
    rates = []
    for engine in {batch.engine for batch in batches}:
        inside = sorted(
            (batch.end, batch.images)
            for batch in batches
            if batch.engine == engine and span.begin <= batch.end <= span.end
        )
        if len(inside) > 1:
            seconds = inside[-1][0] - inside[0][0]
            rates.append(sum(images for _, images in inside[1:]) / seconds)
        else:  # too short to tell
            return span.images / span.seconds
    return sum(rates)


def _by_engine(batches: Sequence[Batch]) -> list[list[float]]:
    found: dict[str, list[float]] = {}
    for batch in batches:
        found.setdefault(batch.engine, []).append(batch.end)
    return list(found.values())


def cpu_ms(looks: Sequence[Look], span: Span) -> dict[str, float]:
    """CPU time for an image by role."""
    times = [look.time for look in looks]
    found = {}
    for role in looks[0].cpu:
        seen = [look.cpu[role] for look in looks]
        begin, end = np.interp([span.begin, span.end], times, seen)
        found[role] = 1000 * float(end - begin) / span.images
    return found


def busy_share(looks: Sequence[Look], span: Span) -> float:
    """Of the cores of the machine, whoever used them."""
    times = [look.time for look in looks]
    busy, whole = (
        float(np.diff(np.interp([span.begin, span.end], times, seen))[0])
        for seen in zip(*(look.machine for look in looks), strict=True)
    )
    return busy / whole if whole else 0.0


def driver_memory(seen: Sequence[Look], batches: Sequence[Batch]) -> dict[str, Any]:
    """Of the driver alone: its peak, at the first and the last image, and how it grows, in bytes.

    The growth for 1,000 shards is that of the second half: what a run needs at any size has been
    taken by then. Null where there are too few shards to tell.
    """
    ends = sorted((batch.end, batch.images) for batch in batches)
    times, done = [end for end, _ in ends], np.cumsum([images for _, images in ends])
    looks = [look for look in seen if times[0] <= look.time <= times[-1]]
    late = [look for look in looks if look.time >= times[len(times) // 2]]
    growth = None
    if done[-1] >= MIN_GROWTH_SHARDS * SHARD_IMAGES and len(late) > 1:
        shards = np.interp([look.time for look in late], times, done) / SHARD_IMAGES
        growth = 1000 * float(np.polyfit(shards, [look.driver for look in late], 1)[0])
    return {
        "driver_peak_bytes": max(look.driver for look in seen),
        "driver_begin_bytes": looks[0].driver if looks else None,
        "driver_end_bytes": looks[-1].driver if looks else None,
        "driver_growth_bytes": growth,
    }


def _main(nodes: str, images: str, seconds: str = "0") -> None:
    for row in whole_run(int(nodes), int(images), float(seconds)):
        print(json.dumps(row, indent=2), flush=True)


if __name__ == "__main__":
    _main(*sys.argv[1:])
