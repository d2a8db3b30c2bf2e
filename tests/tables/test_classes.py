"""Classes of a label run: their names, and fewer of them, against SciPy's cut of the hierarchy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.cluster.hierarchy import fcluster, linkage

from specray.errors import UserError
from specray.tables.classes import LabelClass, read_classes


def record(
    classes: list[tuple[int, str | None, int]], merges: list[list[float]] | None = None
) -> dict[str, Any]:
    """What run.json says of classes (id, name, points), in the order of their places."""
    named = [{"id": i, "name": name, "points": points} for i, name, points in classes]
    return {"clustering": {"classes": named, "merges": merges or []}}


def test_classes_come_by_rising_id_and_are_named_by_it_where_nobody_has_named_them() -> None:
    run = record([(7, None, 9), (0, "sky", 5), (12, "", 1)])
    assert read_classes(run) == (
        LabelClass(0, "sky", (0,)),
        LabelClass(7, "class 7", (7,)),
        LabelClass(12, "class 12", (12,)),
    )


def test_classes_of_one_name_are_one_with_the_id_of_the_largest() -> None:
    run = record([(3, "road", 4), (1, "sky", 8), (9, "road", 6)])
    assert read_classes(run) == (LabelClass(1, "sky", (1,)), LabelClass(9, "road", (3, 9)))


@pytest.mark.parametrize("count", [1, 2, 3, 7, 11, 12])
def test_groups_are_those_that_scipy_cuts_from_the_same_merges(count: int) -> None:
    random = np.random.default_rng(0)
    merges = linkage(random.normal(size=(12, 3)), "ward")
    ids = random.permutation(40)[:12].tolist()  # with gaps, and in no order
    run = record([(i, None, place) for place, i in enumerate(ids)], merges.tolist())
    groups = fcluster(merges, count, "maxclust")
    expected = {tuple(sorted(np.array(ids)[groups == group].tolist())) for group in groups}
    found = read_classes(run, count)
    assert {each.members for each in found} == expected
    for each in found:  # the last of its places has the most points
        assert each.id == max(each.members, key=ids.index)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ((None, None), "class 4"),
        (("car", None), "car"),
        ((None, "car"), "car"),
        (("car", "car"), "car"),
        (("bus", "car"), "car"),
    ],
)
def test_a_group_has_the_one_name_of_its_classes_or_that_of_the_largest(
    names: tuple[str | None, str | None], expected: str
) -> None:
    small, large = names
    run = record([(1, "sky", 9), (2, small, 3), (4, large, 5)], [[1, 2, 0.5, 8], [0, 3, 2.0, 17]])
    assert read_classes(run, 2) == (LabelClass(1, "sky", (1,)), LabelClass(4, expected, (2, 4)))


def test_of_classes_that_are_equally_large_the_lowest_id_stays() -> None:
    run = record([(6, None, 5), (2, None, 5)], [[0, 1, 1.0, 10]])
    assert read_classes(run, 1) == (LabelClass(2, "class 2", (2, 6)),)


def test_more_classes_than_there_are_is_one_clear_line() -> None:
    with pytest.raises(UserError, match="--classes 3 is more than the 2 that were found"):
        read_classes(record([(0, None, 1), (1, None, 1)], [[0, 1, 1.0, 2]]), 3)
