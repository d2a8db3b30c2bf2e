"""Classes found without labels against the true ones, after matching them over all images."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Final, Literal

import numpy as np

from specray.datasets import Kind, Truth
from specray.datasets.label_spaces import IGNORED
from specray.evaluation import (
    Confusion,
    Matching,
    Scores,
    confusion,
    hungarian_by_iou,
    hungarian_by_pixels,
    many_to_one_by_iou,
    score,
)
from specray.pipelines.evaluate.predictions.base import Predicted
from specray.pipelines.evaluate.tasks.base import Scored, Sums
from specray.pipelines.evaluate.tasks.sizes import check_size

MatchingRule = Literal["pixels", "iou", "majority"]

MATCHINGS: Final[Mapping[MatchingRule, Callable[[Confusion], Matching]]] = {
    "pixels": hungarian_by_pixels,
    "iou": hungarian_by_iou,
    "majority": many_to_one_by_iou,
}


@dataclass(frozen=True)
class Semantic:
    """One confusion matrix over all images, and three ways to match.

    Parameters
    ----------
    found, true
        Names of the K classes found, and of the C true ones.
    """

    found: tuple[str, ...]
    true: tuple[str, ...]

    kind: ClassVar[Kind] = "classes"
    shown: ClassVar[tuple[str, ...]] = ()  # what is right is known when all are matched
    by_group: ClassVar[bool] = False

    def of(self, key: str, unit: str, predicted: Predicted | None, truth: Truth) -> Scored:
        """The confusion of an image."""
        true = truth.classes
        assert true is not None
        none = np.full(true.shape, -1)
        labels = none if predicted is None else predicted.classes()
        check_size(key, labels, true, "the map of classes")
        matrix = confusion(labels, true, len(self.found), len(self.true), IGNORED)
        return Scored(matrix.ravel(), {})

    def figures(self, sums: Sums) -> dict[str, float]:
        """mIoU and accuracy by every matching."""
        scores = {rule: self.scores(sums, rule) for rule in MATCHINGS}
        return {
            f"{rule}.{name}": value
            for rule, found in scores.items()
            for name, value in (("miou", found.miou), ("accuracy", found.accuracy))
        }

    def trivial(self, sums: Sums) -> dict[str, tuple[float, str]]:
        """Every pixel of the most frequent class."""
        found = most_frequent(self.matrix(sums), self.true)
        return {f"{rule}.{name}": each for rule in MATCHINGS for name, each in found.items()}

    def matrix(self, sums: Sums) -> Confusion:
        """(K + 1, C) of `specray.evaluation.confusion`."""
        return sums.reshape(len(self.found) + 1, len(self.true))

    def scores(self, sums: Sums, rule: MatchingRule) -> Scores:
        """Scores with a line per class."""
        matrix = self.matrix(sums)
        return score(matrix, MATCHINGS[rule](matrix), self.true)


def most_frequent(matrix: Confusion, true: Sequence[str]) -> dict[str, tuple[float, str]]:
    """mIoU and accuracy where every pixel is of the most frequent class, and which that is.

    Parameters
    ----------
    matrix
        (K + 1, C) confusion of all images.
    true
        Names of the C classes.
    """
    pixels = matrix.sum(axis=0)
    most = int(pixels.argmax())
    accuracy = float(pixels[most] / pixels.sum()) if pixels.any() else float("nan")
    said = f"every pixel {true[most]}"
    miou = accuracy / max(int(np.count_nonzero(pixels)), 1)
    return {"miou": (miou, said), "accuracy": (accuracy, said)}
