"""A pass over images that there are not, with an engine that sleeps as if a GPU did the work."""

from __future__ import annotations

import io
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Final, NamedTuple

import numpy as np
import pyarrow as pa
import ray
from PIL import Image

from specray.pipelines.blocks import SEGMENTED
from specray.pipelines.preparing import Prepared
from specray.sources import Blob, LocalStore
from specray.tables.rows import Row
from specray.tables.schema import SEGMENTS

SIDE: Final = 64
"""Pixels of the image: small, as decoding is not what is measured."""

_GATE_SECONDS: Final = 300
_SEGMENT: Final = {
    "method": "object",
    "index": 0,
    "score": 1.0,
    "bbox": [0.0, 0.0, float(SIDE), float(SIDE)],
    "area": SIDE * SIDE,
    "rle": {"size": [SIDE, SIDE], "counts": b"0PP2"},
    "feature": None,
}


def tiny_jpeg() -> bytes:
    """A real file of `SIDE` x `SIDE` pixels."""
    buffer = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
    Image.fromarray(pixels).resize((SIDE, SIDE)).save(buffer, "JPEG")
    return buffer.getvalue()


class Batch(NamedTuple):
    """A batch that an engine has done; seconds are those of ``time.monotonic``."""

    engine: str
    begin: float
    end: float
    images: int


@dataclass(frozen=True)
class Log:
    """A folder in which engines say that they are there, and what they have done.

    Until all of them are there no image is given out: the seconds in which so many processes
    start on few cores are no part of the steady state, and nothing is decoded ahead in them.
    """

    folder: str
    engines: int

    def arrive(self) -> Path:
        """Say that an engine is there; returns the file for what it does."""
        node = ray.get_runtime_context().get_node_id()
        path = Path(self.folder, f"{node}-{os.getpid()}")
        path.touch()
        return path

    def wait(self) -> None:
        """Return when all engines are there."""
        if self._open:
            return
        until = time.monotonic() + _GATE_SECONDS
        while len(list(Path(self.folder).iterdir())) < self.engines:
            if time.monotonic() > until:
                raise RuntimeError(f"{self.engines} actors did not start in {_GATE_SECONDS} s")
            time.sleep(0.1)
        self._open.append(True)

    def batches(self) -> list[Batch]:
        """All that was done."""
        found = []
        for path in Path(self.folder).iterdir():
            for line in path.read_text().splitlines():
                begin, end, images = line.split()
                found.append(Batch(path.name, float(begin), float(end), int(images)))
        return found

    @cached_property
    def _open(self) -> list[bool]:
        return []


@dataclass(frozen=True)
class OneImage(LocalStore):
    """A folder that has the same image under every key."""

    data: bytes
    log: Log

    def read(self, key: str) -> Blob:
        """The image, whatever the key."""
        self.log.wait()
        return Blob(self.data, "0" * 32)


@dataclass(frozen=True)
class SleepingWork:
    """Work that takes time, but no CPU."""

    seconds: float
    """For an image."""
    log: Log

    schema: ClassVar = SEGMENTS

    def maker(self, device: str) -> SleepingMaker:
        """Makes the engine."""
        return SleepingMaker(self.seconds, self.log)

    def finishing(self, device: str, tally: Any) -> None:
        """The engine does all."""


@dataclass(frozen=True)
class SleepingMaker:
    """Builds the engine."""

    seconds: float
    log: Log

    @property
    def block(self) -> pa.Schema:
        """With the masks."""
        return SEGMENTED

    def __call__(self) -> SleepingEngine:
        """Nothing is loaded."""
        return SleepingEngine(self.seconds, self.log.arrive())


class SleepingEngine:
    """Sleeps for each image, and says that all of it is an object."""

    fallbacks = 0
    mask_seconds = 0.0

    def __init__(self, seconds: float, path: Path) -> None:
        self._seconds = seconds
        self._path = path

    def __call__(self, images: Sequence[Prepared]) -> list[Row]:
        """One row per image."""
        begin = time.monotonic()
        if self._seconds:
            time.sleep(self._seconds * len(images))
        with self._path.open("a") as file:
            file.write(f"{begin} {time.monotonic()} {len(images)}\n")
        return [sleeping_row() for _ in images]


def sleeping_row() -> Row:
    """What the engine says of an image."""
    return {"grid_h": SIDE // 16, "grid_w": SIDE // 16, "segments": [_SEGMENT]}
