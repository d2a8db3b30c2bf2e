"""Fair timing of two ways to do the same thing."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from threadpoolctl import threadpool_limits


@dataclass(frozen=True)
class Comparison:
    """How much faster a candidate is than a reference, measured side by side."""

    name: str
    """What was compared."""
    candidate_median_s: float
    """Median seconds of the candidate."""
    reference_median_s: float
    """Median seconds of the reference."""
    ratio: float
    """Reference over candidate: above 1 the candidate is faster."""
    repeats: int
    """Timed calls of each."""


def alternate(
    candidate: Callable[[], object],
    reference: Callable[[], object],
    repeats: int,
    name: str = "",
) -> Comparison:
    """Time two callables in turns, so that a change of load on the machine hits both alike.

    Every timed call follows an untimed one of the same side: caches are its own then, and the
    threads that the other side's BLAS leaves spinning have gone to sleep. The callables must have
    finished their work when they return: on a GPU they end with a synchronisation.

    Parameters
    ----------
    candidate, reference : callable
        Without arguments; they do the same amount of work.
    repeats : int
        Timed calls of each, at least 1.
    name : str
        Copied into the result.

    Returns
    -------
    Comparison
        Medians in seconds and their ratio.

    Raises
    ------
    ValueError
        If ``repeats`` is below 1.
    """
    if repeats < 1:
        raise ValueError(f"repeats must be at least 1, not {repeats}")
    seconds: tuple[list[float], list[float]] = ([], [])
    for _ in range(repeats):
        for call, record in zip((candidate, reference), seconds, strict=True):
            call()
            start = time.perf_counter()
            call()
            record.append(time.perf_counter() - start)
    candidate_s, reference_s = map(statistics.median, seconds)
    return Comparison(name, candidate_s, reference_s, reference_s / candidate_s, repeats)


@contextmanager
def one_thread() -> Iterator[None]:
    """One thread for torch and for the BLAS, until the block ends."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1):
            yield
    finally:
        torch.set_num_threads(threads)
