"""What the stages of the streaming pass know of the job that they run for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import pyarrow as pa

from specray.tables.rows import Row

if TYPE_CHECKING:
    from specray.pipelines.preparing import Prepared


class ImageEngine(Protocol):
    """Pixels to rows; each image's row depends on that image alone."""

    @property
    def fallbacks(self) -> int:
        """Images too large for the memory of the accelerator, which the CPU took."""
        ...

    @property
    def mask_seconds(self) -> float:
        """Spent so far on what CPUs make beside an accelerator; 0 where they do."""
        ...

    def __call__(self, images: Sequence[Prepared]) -> list[Row]:
        """One row per image, in the order of the images; one that fails has an ``error``."""
        ...


class EngineMaker(Protocol):
    """Builds the engine in whichever process is to hold it; picklable."""

    @property
    def block(self) -> pa.Schema:
        """Of what the engine makes of a block of `DECODED`, with its pixels or without."""
        ...

    def __call__(self) -> ImageEngine:
        """Load the weights and build the engine."""
        ...


class Work(Protocol):
    """What a job makes of its images."""

    @property
    def schema(self) -> pa.Schema:
        """Of the table."""
        ...

    def maker(self, device: str) -> EngineMaker:
        """Makes the engine of ``cpu`` or ``cuda``."""
        ...

    def finishing(self, device: str, tally: Any) -> Callable[[pa.Table], pa.Table] | None:
        """The stage on CPUs after the engine; None where the engine does all of it."""
        ...
