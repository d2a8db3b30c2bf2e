"""Which actors a pass has, and the proof that they fit before it starts.

Ray Data waits silently, for ever, when its actors hold every CPU and its tasks find none. So the
plan is made and checked up front.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import ray
from ray.util.placement_group import placement_group, remove_placement_group

from specray.errors import UserError
from specray.pipelines.config import Device, RunConfig

LEFT_CPUS: Final = 1
"""For the tasks around the actors."""

_LOOK_SECONDS: Final = 1


@dataclass(frozen=True)
class ResourcePlan:
    """Actors of a pass: each holds one CPU, and ``gpus`` of a GPU.

    One CPU and one thread, however many are free: more workers use more cores, and the last bit
    of a sum does not depend on how many threads shared it.
    """

    device: str
    actors: int
    gpus: float = 0

    def fits(self, resources: Mapping[str, float], actors: int) -> bool:
        """Tell whether a cluster with these totals has room for so many, and a CPU besides."""
        room = resources.get("CPU", 0) >= actors + LEFT_CPUS
        return room and (not self.gpus or actors <= _sharing(resources.get("GPU", 0), self.gpus))


def plan_resources(
    resources: Mapping[str, float],
    device: Device,
    workers: int | None,
    worker_gpus: float = 1,
    *,
    fewer: bool = False,
) -> ResourcePlan:
    """Give every actor its CPU or its GPU, and leave a CPU for the tasks.

    Parameters
    ----------
    resources
        Totals of the cluster, as ``ray.cluster_resources()`` gives them.
    device
        What the person asked for.
    workers
        Actors asked for; None takes one per GPU or share of one, or all CPUs but one.
    worker_gpus
        What an actor holds of a GPU.
    fewer
        Whether fewer than `workers` are enough.

    Raises
    ------
    UserError
        There is no GPU but one was asked for, or the actors leave no CPU for the tasks.
    """
    cpus, gpus = int(resources.get("CPU", 0)), resources.get("GPU", 0)
    if device == "cuda" and not gpus:
        raise UserError("--device cuda, but Ray sees no GPU in this cluster; use --device cpu")
    on_gpus = device != "cpu" and gpus > 0
    most = _sharing(gpus, worker_gpus) if on_gpus else max(1, cpus - LEFT_CPUS)
    actors = workers or most
    if fewer:
        actors = max(1, min(actors, most, cpus - LEFT_CPUS))
    if on_gpus and actors > most:
        needed = f"{actors} GPUs" if worker_gpus == 1 else f"{worker_gpus:g} of a GPU for each"
        raise UserError(f"--num-workers {actors} needs {needed}, the cluster has {gpus:g}")
    if actors + LEFT_CPUS > cpus:
        raise UserError(
            f"{actors} workers and one CPU for decoding need {actors + LEFT_CPUS} CPUs, the "
            f"cluster has {cpus}; Ray would wait for ever: lower --num-workers or add CPUs"
        )
    return ResourcePlan("cuda" if on_gpus else "cpu", actors, worker_gpus if on_gpus else 0)


def plan_pass(run: RunConfig, *, fewer: bool = False, waiting: bool = True) -> ResourcePlan:
    """The plan of a pass in this cluster, once it has room for one of its actors.

    Parameters
    ----------
    run
        What the person asked for.
    fewer
        As of `plan_resources`; who waits is content with fewer.
    waiting
        Whether nodes can come: not to a Ray that this process has started.

    Raises
    ------
    UserError
        As `plan_resources`, after ``run.wait`` seconds.
    """
    end, told = time.monotonic() + run.wait, False
    may_wait = waiting and run.wait > 0
    while True:
        try:
            return _plan_now(run, fewer=fewer or may_wait)
        except UserError:
            if not may_wait or time.monotonic() > end:
                raise
        if not told:
            print(f"waiting for nodes, {run.wait:g} seconds at most", file=sys.stderr)
            told = True
        time.sleep(_LOOK_SECONDS)


@contextmanager
def asking_for_nodes(run: RunConfig) -> Iterator[None]:
    """Say to the autoscaler of the cluster which workers are missing, as long as they are.

    A placement group for each, that nothing ever uses: it goes as soon as there is room for it, or
    with the process, should that be killed.
    """
    try:
        there = _plan_now(run, fewer=True).actors
    except UserError:
        there = 0
    wanted = {"CPU": 1.0} | ({"GPU": run.stages.worker_gpus} if run.device == "cuda" else {})
    missing = (run.num_workers or 1) - there
    bundles = [*[wanted] * missing, {"CPU": LEFT_CPUS}] if missing > 0 else []
    # one for each: of a group that asks for more than it may ever have, an autoscaler starts none
    groups = [placement_group([bundle]) for bundle in bundles]
    stop = threading.Event()

    def release() -> None:
        while groups and not stop.wait(_LOOK_SECONDS):
            for group in [group for group in groups if group.wait(0)]:
                groups.remove(group)
                remove_placement_group(group)

    thread = threading.Thread(target=release, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
        for group in groups:
            remove_placement_group(group)


def _plan_now(run: RunConfig, *, fewer: bool) -> ResourcePlan:
    there, share = ray.cluster_resources(), run.stages.worker_gpus
    return plan_resources(there, run.device, run.num_workers, share, fewer=fewer)


def _sharing(gpus: float, share: float) -> int:
    """Actors that find room on so many GPUs, none of them on two."""
    return int(gpus) * int(1 / share + 1e-9)
