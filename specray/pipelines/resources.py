"""Which actors a pass has, and the proof that they fit before it starts.

Ray Data waits silently, for ever, when its actors hold every CPU and its tasks find none. So the
plan is made and checked up front.
"""

from __future__ import annotations

import math
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import ray
from ray.util.placement_group import PlacementGroup, placement_group, remove_placement_group

from specray.errors import UserError
from specray.pipelines.config import Device, RunConfig

LEFT_CPUS: Final = 1
"""For the tasks around the actors."""

ASK_AGAIN_SECONDS: Final = 30
"""Between two requests for nodes: time for actors to take what room there is."""

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
        Totals of the cluster, see `usable`.
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
    """Say to the autoscaler of the cluster which workers are missing, whenever some are.

    A placement group for each, that nothing ever uses: it goes as soon as there is room for it, or
    with the process, should that be killed. Room that nobody uses yet takes it, too; so it is asked
    again, and where nodes are lost.
    """
    requests, stop = _Requests(run), threading.Event()

    def ask() -> None:
        while not stop.is_set():
            requests.renew()
            stop.wait(_LOOK_SECONDS)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
        requests.drop(0)


class _Requests:
    """The placement groups by which nodes are asked for."""

    def __init__(self, run: RunConfig) -> None:
        self._run = run
        gpus = {"GPU": run.stages.worker_gpus} if run.device == "cuda" else {}
        self._worker = {"CPU": 1.0} | gpus
        self._groups: list[PlacementGroup] = []
        self._asked = -math.inf

    def renew(self) -> None:
        """Drop what has found room, or is not missing any more; ask for what is."""
        for group in [group for group in self._groups if group.wait(0)]:
            self._groups.remove(group)
            remove_placement_group(group)
        there = self._there()
        missing = (self._run.num_workers or 1) - there
        self.drop(missing)
        if missing > len(self._groups) and time.monotonic() > self._asked + ASK_AGAIN_SECONDS:
            self._asked = time.monotonic()
            # One for each: of a group that asks for more than it may ever have, an autoscaler
            # starts nothing. The first worker needs a CPU for the tasks besides.
            besides = [] if there else [{"CPU": float(LEFT_CPUS)}]
            for i in range(missing - len(self._groups)):
                bundles = [self._worker, *besides] if i == 0 else [self._worker]
                self._groups.append(placement_group(bundles))

    def drop(self, down_to: int) -> None:
        """Leave no more than so many."""
        while len(self._groups) > max(0, down_to):
            remove_placement_group(self._groups.pop())

    def _there(self) -> int:
        try:
            return _plan_now(self._run, fewer=True).actors
        except UserError:
            return 0


def _plan_now(run: RunConfig, *, fewer: bool) -> ResourcePlan:
    share = run.stages.worker_gpus
    return plan_resources(usable(share), run.device, run.num_workers, share, fewer=fewer)


def usable(worker_gpus: float = 1) -> dict[str, float]:
    """What the nodes of the cluster have for actors that hold so much of a GPU each.

    A GPU counts where there are CPUs beside it: the head of a cluster often has GPUs, but no CPUs.
    """
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    cpus = [node.get("CPU", 0) for node in nodes]
    gpus = [
        min(node.get("GPU", 0), math.ceil(count * worker_gpus))
        for node, count in zip(nodes, cpus, strict=True)
    ]
    return {"CPU": sum(cpus), "GPU": sum(gpus)}


def _sharing(gpus: float, share: float) -> int:
    """Actors that find room on so many GPUs, none of them on two."""
    return int(gpus) * int(1 / share + 1e-9)
