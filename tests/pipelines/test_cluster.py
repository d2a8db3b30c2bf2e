"""The proof that a run fits its cluster, before Ray would wait for ever."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from specray.errors import UserError
from specray.pipelines.cluster import ResourcePlan, check_reachable, plan_resources


@pytest.mark.parametrize(
    ("cpus", "gpus", "device", "workers", "expected"),
    [
        (3, 0, "auto", None, ResourcePlan("cpu", 2)),
        (3, 0, "auto", 1, ResourcePlan("cpu", 1)),
        (17, 0, "cpu", 4, ResourcePlan("cpu", 4)),
        (64, 8, "auto", None, ResourcePlan("cuda", 8)),
        (64, 8, "cuda", 2, ResourcePlan("cuda", 2)),
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


def test_an_address_where_nobody_answers_is_one_clear_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        check_reachable(f"127.0.0.1:{port}")
        check_reachable(f"ray://127.0.0.1:{port}")
    for address in (f"127.0.0.1:{port}", f"ray://127.0.0.1:{port}"):
        with pytest.raises(UserError, match="there is no Ray cluster at") as caught:
            check_reachable(address)
        assert "\n" not in str(caught.value)
    check_reachable("auto")  # Ray looks for it itself
