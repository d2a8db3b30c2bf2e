"""Joining a cluster, and starting one."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from specray.errors import UserError
from specray.pipelines import cluster
from specray.pipelines.cluster import check_reachable, cores


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


@pytest.mark.parametrize(
    ("limit", "expected"), [("50000 100000", 1), ("100000 100000", 1), ("max 100000", None)]
)
def test_a_containers_limit_of_cpus_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str, expected: int | None
) -> None:
    mine = len(os.sched_getaffinity(0))
    (tmp_path / "cpu.max").write_text(f"{limit}\n")
    monkeypatch.setattr(cluster, "CPU_LIMIT", tmp_path / "cpu.max")
    assert cores() == (expected or mine)
    monkeypatch.setattr(cluster, "CPU_LIMIT", tmp_path / "none")
    assert cores() == mine
