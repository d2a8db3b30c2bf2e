"""What is being worked on, and how often it was begun: progress, repeats and suspicion."""

from __future__ import annotations

import time
from collections import Counter
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from specray.pipelines.meters import StageMeters


class _Tally:
    """Counts for the eye and for caution, never for the result.

    A batch that was begun before and never ended has seen its process die. After a few such
    deaths the stage works on its images one by one, each in a process of its own, to find the one
    that kills (`specray.pipelines.isolation`).
    """

    def __init__(self, actors: int) -> None:
        self._begun: Counter[tuple[str, str]] = Counter()
        self._images = 0
        self._errors = 0
        self._fallbacks = 0
        self._started = 0
        self._warming = actors  # until each has finished a batch, start-up is part of the time
        self._warm: tuple[int, float] | None = None
        self._last = 0.0
        self._meters = StageMeters()

    def begin(self, stage: str, key: str, images: int) -> int:
        """Report that work on a batch begins; returns how often it was begun and not ended."""
        before = self._begun[stage, key]
        self._begun[stage, key] += 1
        self._meters.begin(stage, key)
        if stage in ("segment", "edit", "label"):  # where each image is begun once if all goes well
            self._started += images
        return before

    def end(
        self, stage: str, key: str, images: int = 0, errors: int = 0, fallbacks: int = 0
    ) -> None:
        """Report that a batch is done, and its rows, if they are to be counted at this stage."""
        del self._begun[stage, key]
        self._meters.end(stage, key)
        if images:
            self.add(images, errors, fallbacks)

    def add(self, images: int, errors: int, fallbacks: int) -> None:
        """Count the rows of a batch."""
        self._images += images
        self._errors += errors
        self._fallbacks += fallbacks
        self._last = time.monotonic()
        self._warming -= 1
        if self._warming == 0:
            self._warm = self._images, self._last

    def reach(self, done: int) -> None:
        """Say how much is done in all, where it may be done again after a death."""
        self._images = done

    def read(self) -> tuple[int, int]:
        """Images and errors so far."""
        return self._images, self._errors

    def summary(self, committed: int) -> dict[str, Any]:
        """What the run record says of the work itself, for so many images committed."""
        repeated = self._started - committed
        return {
            "images_per_second": self._rate(),
            # segmented again, because a process died before they were committed; null if the one
            # that died was this
            "repeated_images": repeated if repeated >= 0 else None,
            # too large for the memory of the accelerator, taken by the CPU
            "cpu_fallbacks": self._fallbacks,
        }

    def _rate(self) -> float | None:
        """Since as many batches were done as there were actors; None if the run was too short."""
        if self._warm is None or self._last == self._warm[1]:
            return None
        return round((self._images - self._warm[0]) / (self._last - self._warm[1]), 3)


def start_tally(actors: int) -> Any:
    """Start the tally on the node of the driver: its only node whose loss ends the run anyway."""
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    options = {"num_cpus": 0, "max_restarts": -1, "max_task_retries": -1}
    return ray.remote(_Tally).options(scheduling_strategy=here, **options).remote(actors)
