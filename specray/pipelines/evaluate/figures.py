"""From the sums over all images to figures, with intervals and the trivial answer beside them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from specray.evaluation import Detections, Means, interval, replicate_weights
from specray.pipelines.evaluate.scoring import Part
from specray.pipelines.evaluate.tasks import Task, TaskName

SHAPES = {"rle": "mask", "bbox": "box"}
"""What instances are compared by, and how figures call it."""


@dataclass(frozen=True)
class Figure:
    """A figure of a run; shares are in [0, 1], None is what nobody can tell."""

    value: float | None
    low: float | None = None
    """Of the 95 % interval."""
    high: float | None = None
    trivial: float | None = None
    """What an answer scores that never looks at the image."""
    answer: str | None = None
    """That answer."""


def figures_of(
    part: Part,
    tasks: Mapping[TaskName, Task],
    unit_of: Callable[[str], str],
    seed: int,
    replicates: int,
) -> dict[str, Figure]:
    """All figures of a run, by names such as ``foreground.iou``.

    Parameters
    ----------
    part
        Of all images.
    tasks
        That were scored.
    unit_of
        What of an image is drawn as a whole, by its key: its video, or itself.
    seed, replicates
        Of the bootstrap.
    """
    found: dict[str, Figure] = {}
    for name, task in tasks.items():
        trivial = task.trivial(part.sums[name][0])
        rows = [task.figures(sums) for sums in part.sums[name]]
        for figure in rows[0]:
            values = np.array([row.get(figure, np.nan) for row in rows])
            found[f"{name}.{figure}"] = _figure(values, *trivial.get(figure, (None, None)))
        if name in part.of_groups:
            for figure, values in _over_groups(part, name, task, seed, replicates):
                found[f"{name}.{figure}_over_groups"] = _figure(values)
        if name == "instances":
            for shape, detections in part.detections.items():
                prefix = f"{name}.{SHAPES[shape]}"
                found |= _average_precision(prefix, detections, unit_of, seed, replicates)
    return found


def _over_groups(
    part: Part, name: TaskName, task: Task, seed: int, replicates: int
) -> Iterator[tuple[str, NDArray[np.float64]]]:
    """Means over videos of the means over their frames, the videos drawn (DAVIS)."""
    groups = sorted(part.of_groups[name])
    rows = [task.figures(part.of_groups[name][group]) for group in groups]
    weights = np.stack([replicate_weights(seed, group, replicates) for group in groups])
    figures = list(rows[0])
    values = np.array([[row[figure] for figure in figures] for row in rows])
    means = Means.of(values, weights).finish()
    yield from zip(figures, means.T, strict=True)


def _average_precision(
    name: str,
    detections: Detections,
    unit_of: Callable[[str], str],
    seed: int,
    replicates: int,
) -> dict[str, Figure]:
    plain = {f"{name}_{key}": value for key, value in asdict(detections.finish()).items()}
    found = {key: Figure(_known(value)) for key, value in plain.items()}
    units = [unit_of(key) for key in detections.keys]
    if replicates > 1 and units:
        weights = np.empty((len(units), replicates), np.uint8)  # they are small, images are many
        for place, unit in enumerate(units):
            weights[place] = replicate_weights(seed, unit, replicates)
        for figure, values in detections.replicates(weights).items():
            found[f"{name}_{figure}"] = _figure(values)
    return found


def _figure(
    values: NDArray[np.float64], trivial: float | None = None, answer: str | None = None
) -> Figure:
    """Of the plain value, first, and those of the samples."""
    low, high = interval(values)
    return Figure(_known(float(values[0])), _known(low), _known(high), _known(trivial), answer)


def _known(value: float | None) -> float | None:
    """JSON has no NaN."""
    return None if value is None or math.isnan(value) else value
