"""Panoptic maps: panoptic quality after matching classes, and of segments whatever their class."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import ClassVar

import numpy as np

from specray.datasets import Kind, Truth
from specray.errors import UserError
from specray.evaluation import PanopticSums, hungarian_by_pixels, panoptic
from specray.pipelines.evaluate.predictions.base import PanopticMap, Predicted
from specray.pipelines.evaluate.tasks.base import Scored, Sums


@dataclass(frozen=True)
class Panoptic:
    """Panoptic quality (Kirillov et al., CVPR 2019).

    Parameters
    ----------
    found, true
        Names of the K categories found, and of the C true ones. Where the names are the same they
        are the classes; else the one-to-one matching of the most pixels decides.
    """

    found: tuple[str, ...]
    true: tuple[str, ...]

    kind: ClassVar[Kind] = "panoptic"
    shown: ClassVar[tuple[str, ...]] = ("agnostic_pq",)
    by_group: ClassVar[bool] = False

    def of(self, key: str, unit: str, predicted: Predicted | None, truth: Truth) -> Scored:
        """The segments of an image, by class and whatever their class."""
        true = truth.panoptic
        assert true is not None
        found = PanopticMap(np.zeros_like(true.ids), {})
        if predicted is not None:
            found = predicted.panoptic()
        alike = dict.fromkeys(found.categories, 0)
        known = dict.fromkeys(true.categories, 0)
        try:
            by_class = panoptic(
                found.ids, found.categories, true.ids, true.categories, self._sizes, true.crowds
            )
            agnostic = panoptic(found.ids, alike, true.ids, known, (1, 1), true.crowds)
        except ValueError as error:
            raise UserError(f"the panoptic map of {key}: {error}") from None
        shown = {"agnostic_pq": agnostic.finish(np.zeros(1, np.int64)).all.pq}
        return Scored(np.concatenate([_flat(agnostic), _flat(by_class)]), shown)

    def figures(self, sums: Sums) -> dict[str, float]:
        """PQ, SQ and RQ: means over classes, and of segments whatever their class."""
        agnostic, by_class = self._parted(sums)
        alike = agnostic.finish(np.zeros(1, np.int64)).all
        mean = by_class.finish(self._matching(by_class)).all
        return {
            **{name: getattr(mean, name) for name in ("pq", "sq", "rq")},
            **{f"agnostic_{name}": getattr(alike, name) for name in ("pq", "sq", "rq")},
        }

    def trivial(self, sums: Sums) -> dict[str, tuple[float, str]]:
        """None: no segment is in every image."""
        return {}

    @property
    def _sizes(self) -> tuple[int, int]:
        return len(self.found), len(self.true)

    def _matching(self, sums: PanopticSums) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        if self.found == self.true:
            return np.arange(len(self.true))
        return hungarian_by_pixels(sums.pixels)

    def _parted(self, sums: Sums) -> tuple[PanopticSums, PanopticSums]:
        first, rest = _unflat(sums, (1, 1))
        return first, _unflat(rest, self._sizes)[0]


def _flat(sums: PanopticSums) -> Sums:
    return np.concatenate([getattr(sums, each.name).ravel() for each in fields(PanopticSums)])


def _unflat(flat: Sums, sizes: tuple[int, int]) -> tuple[PanopticSums, Sums]:
    """The sums of these numbers of categories, and what comes after them."""
    k, c = sizes
    shapes = {
        "pixels": (k + 1, c),
        "pairs": (k, c),
        "iou": (k, c),
        "predicted": (k,),
        "true": (c,),
        "ignorable": (k, c),
    }
    found = {}
    for each in fields(PanopticSums):
        size = int(np.prod(shapes[each.name]))
        found[each.name] = flat[:size].reshape(shapes[each.name])
        flat = flat[size:]
    return PanopticSums(**found), flat
