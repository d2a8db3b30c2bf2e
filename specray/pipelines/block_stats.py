"""Keeping the driver small: what Ray Data remembers of blocks that are long done."""

from __future__ import annotations

from typing import Final

from ray.data._internal.execution.execution_callback import ExecutionCallback
from ray.data._internal.execution.streaming_executor import StreamingExecutor

REMEMBERED: Final = 1_000
"""Blocks of each operator: enough for a summary of how they went."""


class ForgetBlocks(ExecutionCallback):
    """Drops the statistics of old blocks, of which Ray Data keeps a kilobyte each to the end.

    They are for ``Dataset.stats()`` alone, which nobody asks here, and a pass over a million images
    has a quarter of a million blocks.
    """

    def on_execution_step(self, executor: StreamingExecutor) -> None:
        for operator in executor._topology or ():
            blocks = getattr(operator, "_output_blocks_stats", [])
            if len(blocks) > 2 * REMEMBERED:
                del blocks[:-REMEMBERED]
