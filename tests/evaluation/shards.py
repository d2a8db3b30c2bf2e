"""Adding up states in every way that a cluster may."""

from __future__ import annotations

import operator
from collections.abc import Iterator, Sequence
from functools import reduce
from typing import Any, Protocol, Self, TypeVar

import numpy as np


class Additive(Protocol):
    def __add__(self, other: Any, /) -> Self: ...


State = TypeVar("State", bound=Additive)


def sums_in_any_order(states: Sequence[State], ways: int = 8) -> Iterator[State]:
    """The sum of all: in order, then of shuffled shards of random sizes, shuffled themselves."""
    yield reduce(operator.add, states)
    for seed in range(ways):
        random = np.random.default_rng(seed)
        ends = np.sort(random.integers(0, len(states) + 1, random.integers(0, 6)))
        shards = np.split(random.permutation(len(states)), ends)
        parts = [reduce(operator.add, [states[i] for i in shard]) for shard in shards if len(shard)]
        yield reduce(operator.add, parts)
