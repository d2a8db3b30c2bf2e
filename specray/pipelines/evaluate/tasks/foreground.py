"""Masks of the foreground against the true ones (DSM, object segmentation; saliency)."""

from __future__ import annotations

from typing import ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from specray.datasets import Kind, Truth
from specray.evaluation import boundary_f, fbeta_curve, fixed, foreground, unfixed
from specray.pipelines.evaluate.predictions.base import Predicted
from specray.pipelines.evaluate.tasks.base import Scored, Sums
from specray.pipelines.evaluate.tasks.sizes import SIDES, check_size

MEANS: Final = ("iou", "accuracy", "f1", "boundary_f")
FOREGROUND: Final = 127
"""Pixels above this are foreground (DSM: more than a half)."""


class Foreground:
    """Means over images of IoU, accuracy, F1 and boundary F, and the largest mean F-beta."""

    kind: ClassVar[Kind] = "mask"
    shown: ClassVar[tuple[str, ...]] = MEANS
    by_group: ClassVar[bool] = True

    def of(self, key: str, unit: str, predicted: Predicted | None, truth: Truth) -> Scored:
        """The scores of an image."""
        true = truth.mask
        assert true is not None
        soft = np.zeros(true.shape, np.uint8) if predicted is None else predicted.mask()
        check_size(key, soft, true, "the mask")
        mask = soft > FOREGROUND
        found = foreground(mask, true).finish()
        shown = {
            "iou": found.iou,
            "accuracy": found.accuracy,
            "f1": found.f1,
            "boundary_f": boundary_f(mask, true).f,
        }
        means = [*(shown[name] for name in MEANS), *_rectangles(true), *fbeta_curve(soft, true)]
        return Scored(np.append(np.int64(1), fixed(np.array(means))), shown)

    def figures(self, sums: Sums) -> dict[str, float]:
        """Means over the images."""
        means = unfixed(sums[1:], sums[0])
        curve = means[len(MEANS) + len(SIDES) :]
        return dict(zip(MEANS, means.tolist(), strict=False)) | {"max_fbeta": float(curve.max())}

    def trivial(self, sums: Sums) -> dict[str, tuple[float, str]]:
        """The IoU of the best rectangle in the middle."""
        means = unfixed(sums[1:], sums[0])[len(MEANS) : len(MEANS) + len(SIDES)]
        best = int(means.argmax())
        said = f"a rectangle in the middle, {SIDES[best]} of the sides"
        return {"iou": (float(means[best]), said)}


def _rectangles(true: NDArray[np.bool_]) -> list[float]:
    """IoU of the mask with those of `SIDES`; pixels whose centres lie inside, as `centred_mask`."""
    found = []
    whole = int(true.sum())
    for side in SIDES:
        rows, columns = (_middle(size, side) for size in true.shape)
        both = int(true[rows, columns].sum())
        area = (rows.stop - rows.start) * (columns.stop - columns.start)
        union = area + whole - both
        found.append(both / union if union else 0.0)
    return found


def _middle(size: int, side: float) -> slice:
    centres = np.arange(size) + 0.5
    low, high = size * (1 - side) / 2, size * (1 + side) / 2
    inside = np.flatnonzero((low <= centres) & (centres < high))
    return slice(int(inside[0]), int(inside[-1]) + 1) if inside.size else slice(0, 0)
