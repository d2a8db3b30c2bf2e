"""The proof that a run fits its cluster, before Ray would wait for ever."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
import ray
from ray.util import placement_group_table

from specray.errors import UserError
from specray.pipelines import resources
from specray.pipelines.config import RunConfig, StageConfig
from specray.pipelines.resources import ResourcePlan, asking_for_nodes, plan_resources, usable


@pytest.mark.parametrize(
    ("cpus", "gpus", "device", "workers", "expected"),
    [
        (3, 0, "auto", None, ResourcePlan("cpu", 2)),
        (3, 0, "auto", 1, ResourcePlan("cpu", 1)),
        (17, 0, "cpu", 4, ResourcePlan("cpu", 4)),
        (64, 8, "auto", None, ResourcePlan("cuda", 8, gpus=1)),
        (64, 8, "cuda", 2, ResourcePlan("cuda", 2, gpus=1)),
        (64, 8, "cpu", None, ResourcePlan("cpu", 63)),
    ],
)
def test_actors_get_their_share_and_a_cpu_is_left(
    cpus: int, gpus: int, device: Any, workers: int | None, expected: ResourcePlan
) -> None:
    resources = {"CPU": float(cpus), "GPU": float(gpus)}
    plan = plan_resources(resources, device, workers)
    assert plan == expected
    assert plan.actors < cpus


@pytest.mark.parametrize(
    ("cpus", "gpus", "device", "workers", "remedy"),
    [
        (1, 0, "auto", None, "add CPUs"),
        (4, 0, "cpu", 4, "lower --num-workers"),
        (2, 2, "auto", None, "add CPUs"),
        (64, 8, "cuda", 9, "--num-workers 9 needs 9 GPUs"),
        (64, 0, "cuda", None, "--device cpu"),
    ],
)
def test_what_would_wait_for_ever_is_refused_with_the_remedy(
    cpus: int, gpus: int, device: Any, workers: int | None, remedy: str
) -> None:
    resources = {"CPU": float(cpus), "GPU": float(gpus)}
    with pytest.raises(UserError, match=remedy):
        plan_resources(resources, device, workers)


@pytest.mark.parametrize(
    ("gpus", "workers", "share", "expected"),
    [
        (2, None, 0.5, ResourcePlan("cuda", 4, 0.5)),
        (2, 3, 0.5, ResourcePlan("cuda", 3, 0.5)),
        (8, None, 0.6, ResourcePlan("cuda", 8, 0.6)),  # no actor is on two GPUs
        (2, None, 0.4, ResourcePlan("cuda", 4, 0.4)),
        (1, None, 0.1, ResourcePlan("cuda", 10, 0.1)),
    ],
)
def test_actors_share_gpus(
    gpus: int, workers: int | None, share: float, expected: ResourcePlan
) -> None:
    resources = {"CPU": 64.0, "GPU": float(gpus)}
    plan = plan_resources(resources, "auto", workers, share)
    assert plan == expected
    assert plan.fits(resources, plan.actors)
    assert workers or not plan.fits(resources, plan.actors + 1)
    with pytest.raises(UserError, match="of a GPU for each, the cluster has"):
        plan_resources(resources, "auto", 100, share)


def test_who_waits_begins_with_what_is_there() -> None:
    resources = {"CPU": 8.0, "GPU": 2.0}
    assert plan_resources(resources, "cuda", 8, fewer=True).actors == 2
    assert plan_resources(resources, "cuda", 1, fewer=True).actors == 1
    with pytest.raises(UserError, match="no GPU"):
        plan_resources({"CPU": 8.0}, "cuda", 8, fewer=True)
    with pytest.raises(UserError, match="add CPUs"):
        plan_resources({"CPU": 1.0}, "cpu", 8, fewer=True)


@pytest.mark.parametrize(
    ("held", "told"),
    [
        ({"decode_cpus": 1}, "--decode-cpus must be above 0 and below 1"),
        ({"worker_gpus": 0}, "--worker-gpus must be above 0 and at most 1"),
        ({"worker_gpus": 2}, "--worker-gpus must be above 0 and at most 1"),
        ({"mask_cpus": 1.5}, "--mask-cpus must be above 0 and at most 1"),
    ],
)
def test_what_ray_could_not_place_is_refused(held: dict[str, float], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        StageConfig(**held)


def test_a_gpu_counts_where_there_are_cpus_beside_it(monkeypatch: pytest.MonkeyPatch) -> None:
    head, worker, lost = {"GPU": 8.0}, {"CPU": 32.0, "GPU": 8.0}, {"CPU": 32.0, "GPU": 8.0}
    nodes = [{"Alive": each is not lost, "Resources": each} for each in (head, worker, lost)]
    monkeypatch.setattr(ray, "nodes", lambda: nodes)
    assert usable() == {"CPU": 32, "GPU": 8}
    worker["CPU"] = 2.0
    assert usable() == {"CPU": 2, "GPU": 2}
    assert usable(0.5) == {"CPU": 2, "GPU": 1}


def test_nodes_are_asked_for_as_long_as_workers_are_missing(
    ray_cluster: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resources, "ASK_AGAIN_SECONDS", 1)
    cpus = int(ray.cluster_resources()["CPU"])
    run = RunConfig(num_workers=cpus + 1, wait=1, device="cpu")

    class Holder:
        def there(self) -> bool:
            return True

    actor: Any = ray.remote(num_cpus=1)(Holder)
    with asking_for_nodes(run):
        # what is idle takes the requests: nothing is pending for good
        assert eventually(lambda: placed_or_dropped() >= 2)
        holders = [actor.remote() for _ in range(cpus)]
        ray.get([holder.there.remote() for holder in holders])
        assert eventually(lambda: pending() == 2)  # one worker, and one CPU for the tasks
    assert pending() == 0
    del holders


def pending() -> int:
    """Placement groups that wait for a node."""
    return sum(group["state"] == "PENDING" for group in placement_group_table().values())


def placed_or_dropped() -> int:
    """Placement groups that do not wait any more."""
    return len(placement_group_table()) - pending()


def eventually(promise: Callable[[], bool], seconds: float = 60) -> bool:
    """Whether it is kept in time."""
    end = time.monotonic() + seconds
    while not (kept := promise()) and time.monotonic() < end:
        time.sleep(0.1)
    return kept
