"""The classes of a label run as people meet them: named, and as few as they ask for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from specray.errors import UserError


@dataclass(frozen=True)
class LabelClass:
    """A class, or several that are taken for one."""

    id: int
    """As the label table has it; of several, that of the one with the most points."""
    name: str
    members: tuple[int, ...]
    """All ids of the label table that it stands for, rising."""


def read_classes(run: Mapping[str, Any], count: int | None = None) -> tuple[LabelClass, ...]:
    """The classes of a label or predict run, by rising id. Classes of one name are one.

    Parameters
    ----------
    run
        Its record.
    count
        How many there shall be, before those of one name are put together: the others join their
        neighbours, as the hierarchy of the record has it. None: all.

    Raises
    ------
    UserError
        There are not so many, or no hierarchy.
    """
    classes = known_classes(run)
    if count is not None and count > len(classes):
        raise UserError(f"--classes {count} is more than the {len(classes)} that were found")
    if count is not None and "clustering" not in run:
        raise UserError("fitted prototypes have no hierarchy to coarsen them by; drop --classes")
    merges = run["clustering"]["merges"] if "clustering" in run else []
    by_name: dict[str, list[dict[str, Any]]] = {}
    for group in _cut(merges, len(classes), count or len(classes)):
        members = [classes[place] for place in group]
        by_name.setdefault(_name(members), []).extend(members)
    found = [
        LabelClass(_largest(members)["id"], name, tuple(sorted(each["id"] for each in members)))
        for name, members in by_name.items()
    ]
    return tuple(sorted(found, key=lambda each: each.id))


def known_classes(run: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What the record of a label or predict run says of each class.

    Of fitted prototypes it knows ``id`` and ``name`` alone; what a clustering says besides is None.
    """
    if "clustering" in run:
        found: list[dict[str, Any]] = run["clustering"]["classes"]
        return found
    unknown = dict.fromkeys(("points", "radius", "nearest", "medoid"))
    return [unknown | each for each in run["classes"]]


def _cut(merges: Sequence[Sequence[float]], classes: int, groups: int) -> list[list[int]]:
    """Places of the classes of each group, after as many merges as leave so many groups."""
    nodes = {place: [place] for place in range(classes)}
    for row, (first, second, *_) in enumerate(merges[: classes - groups]):
        nodes[classes + row] = nodes.pop(int(first)) + nodes.pop(int(second))
    return list(nodes.values())


def _name(members: Sequence[Mapping[str, Any]]) -> str:
    """The one name that they have, or else that of the largest."""
    largest = _largest(members)
    names = {each["name"] for each in members if each["name"]}
    name: str | None = names.pop() if len(names) == 1 else largest["name"]
    return name or f"class {largest['id']}"


def _largest(members: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    return max(members, key=lambda each: (each["points"] or 0, -each["id"]))
