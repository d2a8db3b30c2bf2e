"""What was predicted of an image, whoever predicted it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from specray.evaluation import Prediction
from specray.masks import ImageGeometry

Predictable = Literal["boxes", "mask", "classes", "instances", "panoptic", "features"]
"""What predictions may have of an image."""


@dataclass(frozen=True)
class PatchFeatures:
    """Features of the patches of an image."""

    features: NDArray[np.float32]
    """(N, C) of unit length."""
    geometry: ImageGeometry
    """Where the patches are."""


@dataclass(frozen=True)
class PanopticMap:
    """Disjoint segments with categories."""

    ids: NDArray[np.int64]
    """(H, W) id of the segment of every pixel; 0 is none."""
    categories: Mapping[int, int]
    """Place of the category among `Predictions.names`, by the id of the segment."""


class Predicted:
    """What was predicted of one image. Only what its predictions have is asked for."""

    grid: tuple[int, int] | None = None
    """(h, w) patches of the image, if masks are made of these."""

    def box(self) -> NDArray[np.float64]:
        """(4,) xyxy: the one box that stands for the object of the image; none is all NaN."""
        raise NotImplementedError

    def mask(self) -> NDArray[np.uint8]:
        """(H, W) how sure it is that a pixel is foreground; binary masks are 0 and 255."""
        raise NotImplementedError

    def classes(self) -> NDArray[np.int64]:
        """(H, W) place of the class among `Predictions.names`; -1 for none."""
        raise NotImplementedError

    def instances(self) -> Sequence[Prediction]:
        """The surest first, or in whatever order; ``rle`` is there if `Predictions` has masks."""
        raise NotImplementedError

    def panoptic(self) -> PanopticMap:
        """The panoptic map."""
        raise NotImplementedError

    def features(self) -> PatchFeatures:
        """What the backbone said."""
        raise NotImplementedError


class Piece(Protocol):
    """Some images, read where they are scored. Pickles."""

    def read(self) -> Iterator[tuple[str, Predicted | None]]:
        """Of every image of `Predictions.pieces` its stem, and what was predicted; None: nothing.

        Raises
        ------
        UserError
            A file cannot be read, or is damaged.
        """


class Predictions(Protocol):
    """Predictions of many images."""

    @property
    def uri(self) -> str:
        """Where they are."""

    @property
    def identity(self) -> object:
        """Tells, as JSON, these predictions from all others that there may be at this place."""

    @property
    def kinds(self) -> frozenset[Predictable]:
        """What they have."""

    @property
    def names(self) -> tuple[str, ...]:
        """Of the classes found; numbers where they have none."""

    @property
    def masks(self) -> bool:
        """Whether instances have masks, besides their boxes."""

    def pieces(self, stems: frozenset[str]) -> Iterator[tuple[list[str], Piece]]:
        """The images that are to be scored, some at a time, with their stems.

        Parameters
        ----------
        stems
            Of all images with ground truth.
        """

    def unknown(self, stems: frozenset[str]) -> int:
        """Images among the predictions that are not among `stems`."""


def parts(names: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    """Names, some at a time."""
    yield from (names[start : start + size] for start in range(0, len(names), size))
