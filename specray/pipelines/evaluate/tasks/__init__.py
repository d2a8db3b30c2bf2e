"""What is scored of an image, and what the sums over all images say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Literal, NamedTuple

from specray.datasets import Kind
from specray.pipelines.evaluate.predictions.base import Predictable
from specray.pipelines.evaluate.tasks.base import Scored, Task
from specray.pipelines.evaluate.tasks.foreground import Foreground
from specray.pipelines.evaluate.tasks.instances import Instances
from specray.pipelines.evaluate.tasks.localisation import Localisation
from specray.pipelines.evaluate.tasks.panoptic import Panoptic
from specray.pipelines.evaluate.tasks.semantic import Semantic

__all__ = ["NEEDS", "Scored", "Task", "TaskName", "make_task"]

TaskName = Literal["localisation", "foreground", "semantic", "instances", "panoptic", "probe"]


class Needs(NamedTuple):
    """What a task takes."""

    predicted: Predictable
    true: Kind


NEEDS: Final[Mapping[TaskName, Needs]] = {
    "localisation": Needs("boxes", "boxes"),
    "foreground": Needs("mask", "mask"),
    "semantic": Needs("classes", "classes"),
    "instances": Needs("instances", "instances"),
    "panoptic": Needs("panoptic", "panoptic"),
    "probe": Needs("features", "classes"),
}
"""By task."""


def make_task(name: TaskName, found: Sequence[str], true: Sequence[str], *, masks: bool) -> Task:
    """A task by its name; but for the probe, which is to be fitted before.

    Parameters
    ----------
    name
        Of the task.
    found, true
        Names of the K classes found, and of the C true ones.
    masks
        Whether predicted instances have masks, besides boxes.
    """
    if name == "localisation":
        return Localisation()
    if name == "foreground":
        return Foreground()
    if name == "semantic":
        return Semantic(tuple(found), tuple(true))
    if name == "instances":
        return Instances(masks)
    if name == "panoptic":
        return Panoptic(tuple(found), tuple(true))
    raise ValueError(name)
