"""Scores of a set: per unit that was drawn on its own, so that they can be drawn anew."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from specray.evaluation import unfixed
from specray.pipelines.sweep.scoring import ImageScores

MetricName = Literal["CorLoc", "foreground IoU"]


@dataclass(frozen=True)
class Metric:
    """One figure of every combination, and of the trivial answer, as the mean over units.

    A unit is an image, or a video: frames of one are no independent draws.
    """

    name: MetricName
    values: NDArray[np.float64]
    """(U, C + 1) sums of the units."""
    weights: NDArray[np.float64]
    """(U,) what they are sums over: images with boxes, or 1 for a unit's mean."""

    def scores(self, counts: NDArray[np.float64] | None = None) -> NDArray[np.float64]:
        """(..., C + 1) in [0, 1]; NaN where no image that it is known of counts.

        Parameters
        ----------
        counts
            (..., U) how often each unit counts; None: once.
        """
        if counts is None:
            once: NDArray[np.float64] = self.values.sum(axis=0) / self.weights.sum()
            return once
        with np.errstate(invalid="ignore"):
            drawn: NDArray[np.float64] = (counts @ self.values) / (counts @ self.weights)[..., None]
        return drawn


@dataclass(frozen=True)
class SetScores:
    """What a set says of all combinations."""

    name: str
    metrics: list[Metric]
    units: list[str]
    """(U,) what was drawn on its own."""
    images: int
    """Scored, by one metric at least."""
    errors: list[dict[str, str]]
    """``key``, ``code``, ``message`` of images that could not be scored."""

    def scores(self, counts: NDArray[np.float64] | None = None) -> NDArray[np.float64]:
        """(..., C + 1) mean over the metrics; see `Metric.scores`."""
        found: NDArray[np.float64] = np.mean([each.scores(counts) for each in self.metrics], axis=0)
        return found


def metrics_of(
    scores: Sequence[ImageScores], units: Sequence[str]
) -> tuple[list[Metric], list[str]]:
    """Sum the scores of a set's images by unit.

    CorLoc is the share of all images, the IoU of the foreground the mean over images, in videos
    first over the frames of each (DAVIS).

    Parameters
    ----------
    scores
        (N,) of the images.
    units
        (N,) what each is a draw of.

    Returns
    -------
    metrics
        Those that an image has.
    units
        (U,) each once.
    """
    names = list(dict.fromkeys(units))
    of = {name: place for place, name in enumerate(names)}
    places = [of[name] for name in units]
    hits = _summed([each.hits for each in scores], places, len(names))
    ious = _summed([each.ious for each in scores], places, len(names))
    metrics = []
    if hits is not None:
        metrics.append(Metric("CorLoc", hits[0].astype(np.float64), hits[1]))
    if ious is not None:
        means = unfixed(ious[0], np.maximum(ious[1], 1)[:, None])
        metrics.append(Metric("foreground IoU", means, np.minimum(ious[1], 1)))
    return metrics, names


def _summed(
    values: Sequence[NDArray[np.integer] | None], places: Sequence[int], units: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]] | None:
    """(U, C + 1) sums and (U,) numbers of images by unit; None where there are none."""
    known = [(p, v) for p, v in zip(places, values, strict=True) if v is not None]
    if not known:
        return None
    sums = np.zeros((units, len(known[0][1])), np.int64)
    images = np.zeros(units)
    for place, value in known:
        sums[place] += value
        images[place] += 1
    return sums, images
