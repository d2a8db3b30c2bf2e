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
    local: bool = True
    """Whether it was decoded on the node of the engine."""


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
        path = self._own_file("engines")
        path.touch()
        return path

    def read(self, key: str) -> None:
        """Say that an image was read here."""
        with self._own_file("readers").open("a") as file:
            file.write(f"{key}\n")

    def wait(self) -> None:
        """Return when all engines are there."""
        if self._open:
            return
        until = time.monotonic() + _GATE_SECONDS
        while len(self._files("engines")) < self.engines:
            if time.monotonic() > until:
                raise RuntimeError(f"{self.engines} actors did not start in {_GATE_SECONDS} s")
            time.sleep(0.1)
        self._open.append(True)

    def batches(self) -> list[Batch]:
        """All that was done."""
        readers = {
            key: _node(path) for path in self._files("readers") for key in path.read_text().split()
        }
        found = []
        for path in self._files("engines"):
            for line in path.read_text().splitlines():
                begin, end, images, first = line.split()
                local = readers[first] == _node(path)
                found.append(Batch(path.name, float(begin), float(end), int(images), local))
        return found

    def _own_file(self, kind: str) -> Path:
        path = Path(self.folder, kind)
        path.mkdir(exist_ok=True)
        return path / f"{ray.get_runtime_context().get_node_id()}-{os.getpid()}"

    def _files(self, kind: str) -> list[Path]:
        return list(Path(self.folder, kind).glob("*"))

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
        self.log.read(key)
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
        if not images:  # places that a shard does not use
            return []
        begin = time.monotonic()
        if self._seconds:
            time.sleep(self._seconds * len(images))
        with self._path.open("a") as file:
            file.write(f"{begin} {time.monotonic()} {len(images)} {images[0].key}\n")
        return [sleeping_row() for _ in images]


def _node(path: Path) -> str:
    return path.name.partition("-")[0]


def sleeping_row() -> Row:
    """What the engine says of an image."""
    return {"grid_h": SIDE // 16, "grid_w": SIDE // 16, "segments": [_SEGMENT]}
