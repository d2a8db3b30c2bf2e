"""The driver of a long pass remembers some of the blocks that are done, not all."""

from __future__ import annotations

import pytest
import ray
from ray.data import DataContext
from ray.data._internal.execution.execution_callback import ExecutionCallback
from ray.data._internal.execution.streaming_executor import StreamingExecutor

from specray.pipelines import block_stats
from specray.pipelines.cluster import data_context

BLOCKS = 60


def test_statistics_of_old_blocks_are_dropped(
    ray_cluster: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(block_stats, "REMEMBERED", 5)
    remembered: list[int] = []

    class Look(ExecutionCallback):
        def on_execution_step(self, executor: StreamingExecutor) -> None:
            # The attribute is Ray's own: where it has another name, nothing would be dropped.
            found = [getattr(each, "_output_blocks_stats", ()) for each in executor._topology or ()]
            remembered.append(max(map(len, found)))

    with DataContext.current(data_context(Look)):
        rows = ray.data.range(BLOCKS, override_num_blocks=BLOCKS).map(lambda row: row).take_all()
    assert sorted(row["id"] for row in rows) == list(range(BLOCKS))
    assert 5 < max(remembered) <= 10
