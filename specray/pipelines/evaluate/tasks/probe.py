"""How much a linear classifier that knows the ground truth makes of the features."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from specray.datasets import Kind, Truth
from specray.datasets.label_spaces import IGNORED
from specray.evaluation import ProbeSums, classify, confusion, probe_sums, score
from specray.masks import seen_labels, to_image
from specray.pipelines.evaluate.predictions.base import Predicted
from specray.pipelines.evaluate.tasks.base import Scored, Sums
from specray.pipelines.evaluate.tasks.semantic import most_frequent
from specray.pipelines.evaluate.tasks.sizes import check_size
from specray.seeds import derive_seed

HALVES: Final = 2


def half_of(unit: str) -> int:
    """Which half of the images a video, or an image, belongs to: 0 or 1."""
    return derive_seed(0, unit) % HALVES


def sums_of(predicted: Predicted, truth: Truth, classes: int) -> ProbeSums:
    """What an image adds to the fit: its patches, each with the class of most of its pixels.

    Patches of which no pixel counts are left out.
    """
    own, true = predicted.features(), truth.classes
    assert true is not None
    labels = seen_labels(true, own.geometry)
    grid, patch = (own.geometry.grid_h, own.geometry.grid_w), own.geometry.patch
    pixels = labels.reshape(grid[0], patch, grid[1], patch).swapaxes(1, 2).reshape(-1, patch**2)
    counts = np.zeros((len(pixels), IGNORED + 1), np.int64)
    np.add.at(counts, (np.arange(len(pixels))[:, None], pixels), 1)
    most = counts[:, :classes].argmax(axis=1)
    counted = counts[:, :classes].any(axis=1)
    return probe_sums(own.features[counted], most[counted], classes)


@dataclass(frozen=True)
class Probe:
    """A ridge regression on the patches' features, fitted to one half and scored on the other.

    Parameters
    ----------
    true
        Names of the C classes.
    weights
        By half, (D + 1, C) of the other half.
    """

    true: tuple[str, ...]
    weights: Mapping[int, NDArray[np.float64]]

    kind: ClassVar[Kind] = "classes"
    shown: ClassVar[tuple[str, ...]] = ("accuracy",)
    by_group: ClassVar[bool] = False

    def of(self, key: str, unit: str, predicted: Predicted | None, truth: Truth) -> Scored:
        """The confusion of an image, every pixel with the class of its patch."""
        true = truth.classes
        assert true is not None
        labels = np.full(true.shape, -1)
        if predicted is not None:
            own = predicted.features()
            found = classify(own.features, self.weights[half_of(unit)])
            labels = to_image(found.reshape(own.geometry.grid_h, -1), own.geometry)
        check_size(key, labels, true, "the map of features")
        matrix = confusion(labels, true, len(self.true), len(self.true), IGNORED)
        counted = int(matrix.sum())
        accuracy = float(matrix.trace() / counted) if counted else float("nan")
        return Scored(matrix.ravel(), {"accuracy": accuracy})

    def figures(self, sums: Sums) -> dict[str, float]:
        """mIoU and accuracy, classes as they are."""
        matrix = sums.reshape(len(self.true) + 1, len(self.true))
        found = score(matrix, np.arange(len(self.true)), self.true)
        return {"miou": found.miou, "accuracy": found.accuracy}

    def trivial(self, sums: Sums) -> dict[str, tuple[float, str]]:
        """Every pixel of the most frequent class."""
        return most_frequent(sums.reshape(len(self.true) + 1, len(self.true)), self.true)
