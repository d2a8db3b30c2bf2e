"""Fitting the linear probe: one pass over the features, before they are scored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from specray.errors import UserError
from specray.evaluation import ProbeSums
from specray.pipelines.evaluate.scoring import Work, images_of, passed
from specray.pipelines.evaluate.tasks.probe import HALVES, half_of, sums_of
from specray.pipelines.progress import Progress

RIDGE: Final = 1.0
"""As scikit-learn's; features are of unit length, so that any set of images outweighs it."""


@dataclass(frozen=True)
class _Fit:
    """The sums of a piece, by half."""

    classes: int

    def __call__(self, row: Mapping[str, Work]) -> dict[str, dict[int, ProbeSums]]:
        """One row of Ray Data to another."""
        work = row["work"]
        found: dict[int, ProbeSums] = {}
        for stem, predicted in work.piece.read():
            if predicted is None:
                continue
            half = half_of(work.groups.get(stem, stem))
            truth = work.truths.of(work.keys[stem], ["classes"])
            sums = sums_of(predicted, truth, self.classes)
            found[half] = found[half] + sums if half in found else sums
        return {"sums": found}


def fitted_probes(
    work: Sequence[Work], classes: int, workers: int | None
) -> dict[int, NDArray[np.float64]]:
    """Weights of the probe by the half of the images that they have not seen.

    Parameters
    ----------
    work
        Pieces of a run with features.
    classes
        Of the ground truth.
    workers
        At a time; None: as many as there are CPUs.

    Raises
    ------
    UserError
        All images are of one half, or files cannot be read.
    """
    done = 0
    sums: dict[int, ProbeSums] = {}
    with Progress(images_of(work), lambda: (done, 0)):
        for row, each in zip(passed(work, _Fit(classes), workers), work, strict=True):
            for half, part in row["sums"].items():
                sums[half] = sums[half] + part if half in sums else part
            done += len(each.keys)
    if len(sums) < HALVES:
        raise UserError(
            "the linear probe is fitted to one half of the images, or videos, and scored on the "
            "other, but there is one half alone: leave `probe` out of --tasks"
        )
    weights = {half: part.solve(RIDGE) for half, part in sums.items()}
    return {half: weights[1 - half] for half in weights}
