"""A pass begins where there are no nodes, on those that the cluster starts for it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.command import assert_same, on_our_ray, run, segment
from tests.faults.growing import growing_cluster
from tests.pipelines.photographs import write_photographs

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]

COUNT = 160

SLOW = ("--image-size", "320", "--methods", "objects", "--batch-size", "1")
"""Some work to an image, so that a pass has not ended when the second node is there."""


def test_a_pass_begins_with_the_first_node_that_comes_and_takes_in_the_others(
    tmp_path: Path, ray_cluster: None
) -> None:
    photographs, calm, output = tmp_path / "in", tmp_path / "calm", tmp_path / "out"
    write_photographs(photographs, COUNT)
    run(photographs, calm, *SLOW, environment=on_our_ray())
    # more than the cluster may ever have
    options = (*SLOW, "--num-workers", "5", "--wait", "500")
    with (
        growing_cluster(nodes=2) as cluster,
        segment(photographs, output, *options, environment=cluster.environment) as running,
    ):
        seen: set[int] = set()

        def both_work() -> bool:
            seen.update(cluster.nodes_with("ray::Map"))  # workers, or the tasks around them
            return len(seen) == 2

        running.wait_for(both_work, 700)
        result = running.finish(700)
        said = running.log.read_text()
    assert "waiting for nodes, 500 seconds at most" in said
    assert len(seen) == 2
    assert (result["images"], result["errors"]) == (COUNT, 0)
    assert_same(output, calm)


def test_nodes_that_never_come_are_one_line(photographs: Path, tmp_path: Path) -> None:
    with (
        growing_cluster(nodes=0) as cluster,
        segment(photographs, tmp_path, "--wait", "3", environment=cluster.environment) as running,
    ):
        assert running.process.wait(500) == 2
        said = running.log.read_text()
    assert "the cluster has 0" in said.splitlines()[-1]
