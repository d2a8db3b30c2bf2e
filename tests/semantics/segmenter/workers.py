"""Workers of one process: threads whose sums are added up in the order of their ranks."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch
from torch import Tensor

from specray.semantics.prototypes.em import Sum

Result = TypeVar("Result")


def together(count: int, work: Callable[[int, Sum], Result]) -> list[Result]:
    """What `work(rank, add_up)` returns for every rank, all of which run at the same time."""
    barrier = threading.Barrier(count)
    given: list[Tensor] = [torch.empty(0)] * count

    def worker(rank: int) -> Result:
        def add_up(tensor: Tensor) -> Tensor:
            given[rank] = tensor.clone()
            barrier.wait(500)
            total = torch.stack(given).sum(dim=0)
            barrier.wait(500)
            return total

        try:
            return work(rank, add_up)
        except BaseException:
            barrier.abort()
            raise

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(worker, range(count)))
