"""What all tasks have in common: an image is scored into integers, which add up exactly."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from specray.datasets import Kind, Truth
from specray.evaluation import Detections
from specray.pipelines.evaluate.predictions.base import Predicted

Sums = NDArray[np.int64]
"""(V,) of any set of images: those of disjoint sets add up to those of their union."""


@dataclass(frozen=True)
class Scored:
    """What one image says."""

    sums: Sums
    shown: Mapping[str, float]
    """Figures of this image alone, for people; by the names of `Task.shown`."""
    detections: Mapping[str, Detections] | None = None
    """What average precision takes, by what was compared."""


class Task(Protocol):
    """A question that predictions are scored on. Pickles."""

    kind: ClassVar[Kind]
    """What it takes of the predictions and of the ground truth."""
    shown: ClassVar[tuple[str, ...]]
    """Figures of single images; the first says how good an image is."""
    by_group: ClassVar[bool]
    """Whether, besides the mean over all frames, that over videos is of interest."""

    def of(self, key: str, unit: str, predicted: Predicted | None, truth: Truth) -> Scored:
        """Score an image.

        Parameters
        ----------
        key
            Of the image.
        unit
            Its video, or itself: what is independent of all others.
        predicted
            None where nothing was predicted: it is as wrong as can be.
        truth
            With what the task takes.

        Raises
        ------
        UserError
            Prediction and ground truth are of different sizes.
        """

    def figures(self, sums: Sums) -> dict[str, float]:
        """Figures of a set of images, in [0, 1]; NaN where there was nothing to score."""

    def trivial(self, sums: Sums) -> dict[str, tuple[float, str]]:
        """What an answer scores that never looks at the image, and what it says."""
