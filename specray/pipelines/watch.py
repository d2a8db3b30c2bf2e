"""Noticing that a pass waits for nodes that will not come back.

Ray restarts the actors of a lost node and keeps their batches for them. Where what is left of the
cluster has no room, they stay pending, the batches with them, and the others soon wait as well:
nothing fails and nothing moves. Then the pass has to be planned anew for what is there.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final

from ray.data._internal.execution.execution_callback import ExecutionCallback
from ray.data._internal.execution.streaming_executor import StreamingExecutor

from specray.pipelines.resources import ResourcePlan, usable

STALLED_SECONDS: Final = 30
"""Without a finished batch in a cluster that has become too small, before the pass is replanned:
room for a slow batch; a replacement that joins meanwhile saves the replanning."""

_LOOK_SECONDS: Final = 2


class ClusterShrank(Exception):
    """The cluster has no room any more for the actors of the pass, and nothing moves."""


def watch_cluster(
    plan: ResourcePlan, progress: Callable[[], Any], stalled: float = STALLED_SECONDS
) -> type[ExecutionCallback]:
    """A class for ``DataContext.custom_execution_callback_classes`` that ends a hopeless pass.

    Parameters
    ----------
    plan
        What an actor of the pass needs.
    progress
        Gives something that changes as long as the pass moves.
    stalled
        Seconds without progress.
    """

    class ClusterWatch(ExecutionCallback):
        def __init__(self) -> None:
            self._seen = progress()
            self._moved = self._looked = time.monotonic()
            self._most: dict[str, float] = {}

        def on_execution_step(self, executor: StreamingExecutor) -> None:
            now = time.monotonic()
            if now - self._looked < _LOOK_SECONDS:
                return
            self._looked = now
            seen, there = progress(), usable(plan.gpus)
            lost = any(there.get(name, 0) < most for name, most in self._most.items())
            self._most |= {
                name: max(there.get(name, 0), self._most.get(name, 0)) for name in ("CPU", "GPU")
            }
            # Actors that have come since may hold the last CPU, too: that alone is no loss.
            shrank = lost and not plan.fits(there, _actors(executor))
            if seen != self._seen or not (shrank or not plan.fits(there, plan.actors)):
                self._seen, self._moved = seen, now
            elif now - self._moved > stalled:
                raise ClusterShrank

    return ClusterWatch


def _actors(executor: StreamingExecutor) -> int:
    """Actors that the pass has now, those that wait for a node among them."""
    operators = executor._topology or ()
    pools = (pool for each in operators for pool in each.get_autoscaling_actor_pools())
    return sum(pool.current_size() for pool in pools)
