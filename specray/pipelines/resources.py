"""Which actors a pass has, and the proof that they fit before it starts.

Ray Data waits silently, for ever, when its actors hold every CPU and its tasks find none. So the
plan is made and checked up front.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import ray
from ray.util.placement_group import placement_group, remove_placement_group

from specray.errors import UserError
from specray.pipelines.config import Device, StageConfig

LEFT_CPUS: Final = 1
"""For the tasks around the actors."""

_LOOK_SECONDS: Final = 1


@dataclass(frozen=True)
class ResourcePlan:
    """Actors of a pass, and what each of them holds.

    One CPU and one thread, however many are free: more workers use more cores, and the last bit
    of a sum does not depend on how many threads shared it.
    """

    device: str
    actors: int
    cpus: float = 1
    """Of one actor."""
    gpus: float = 0

    def fits(self, resources: Mapping[str, float], actors: int) -> bool:
        """Tell whether a cluster with these totals has room for so many, and a CPU besides."""
        room = resources.get("CPU", 0) >= actors * self.cpus + LEFT_CPUS
        return room and resources.get("GPU", 0) >= actors * self.gpus


def plan_resources(
    resources: Mapping[str, float],
    device: Device,
    workers: int | None,
    stages: StageConfig | None = None,
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
        Actors asked for; None takes as many as fit.
    stages
        What an actor holds.
    fewer
        Whether fewer than `workers` are enough to begin with.

    Raises
    ------
    UserError
        There is no GPU but one was asked for, or the actors leave no CPU for the tasks.
    """
    stages = stages or StageConfig()
    cpus, gpus = resources.get("CPU", 0), resources.get("GPU", 0)
    if device == "cuda" and not gpus:
        raise UserError(
            "--device cuda, but Ray sees no GPU in this cluster; use --device cpu, or --wait until "
            "one has come"
        )
    on_gpus = device != "cpu" and gpus > 0
    on_devices = int(gpus / stages.worker_gpus) if on_gpus else None
    on_cpus = max(0, int((cpus - LEFT_CPUS) / stages.worker_cpus))
    most = on_cpus if on_devices is None else on_devices
    actors = max(1, most) if workers is None else workers
    if fewer:
        actors = max(1, min(actors, most, on_cpus))
    if on_devices is not None and actors > on_devices:
        each = "" if stages.worker_gpus == 1 else f" of {stages.worker_gpus:g} each"
        raise UserError(
            f"--num-workers {actors} needs {actors * stages.worker_gpus:g} GPUs{each}, the cluster "
            f"has {gpus:g}"
        )
    if actors > on_cpus:
        raise UserError(
            f"{actors} workers and one CPU for decoding need "
            f"{actors * stages.worker_cpus + LEFT_CPUS:g} CPUs, the cluster has {cpus:g}; Ray "
            "would wait for ever: lower --num-workers or add CPUs"
        )
    held = stages.worker_gpus if on_gpus else 0
    return ResourcePlan("cuda" if on_gpus else "cpu", actors, stages.worker_cpus, held)


def wait_for_room(
    device: Device,
    workers: int | None,
    stages: StageConfig,
    seconds: float,
    *,
    fewer: bool = False,
) -> ResourcePlan:
    """The plan of a pass in a cluster that has, or soon gets, room for one of its actors.

    Meanwhile a placement group that nothing ever uses says to the autoscaler of the cluster what
    is wanted; should this process be killed, Ray drops it.

    Parameters
    ----------
    device, workers, stages, fewer
        As of `plan_resources`; who waits is content with fewer.
    seconds
        How long to wait; 0 takes the cluster as it is.

    Raises
    ------
    UserError
        As `plan_resources`, after that time.
    """
    try:
        return plan_resources(ray.cluster_resources(), device, workers, stages, fewer=fewer)
    except UserError:
        if not seconds:
            raise
    wanted = {"CPU": stages.worker_cpus} | ({"GPU": stages.worker_gpus} if device == "cuda" else {})
    demand = placement_group([wanted] * (workers or 1) + [{"CPU": LEFT_CPUS}])
    end, told = time.monotonic() + seconds, False
    try:
        while True:
            try:
                return plan_resources(ray.cluster_resources(), device, workers, stages, fewer=True)
            except UserError:
                if time.monotonic() > end:
                    raise
            if not told:
                print(f"waiting for nodes, {seconds:g} seconds at most", file=sys.stderr)
                told = True
            time.sleep(_LOOK_SECONDS)
    finally:
        remove_placement_group(demand)
