"""The K curve and the hierarchy as drawings."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from scipy.cluster.hierarchy import fcluster, linkage

from specray.tables.report.classes.curve import draw_curve
from specray.tables.report.classes.hierarchy import LEAVES, draw_tree

CURVE: list[dict[str, Any]] = [
    {"classes": k, "inertia": 1 / k, "silhouette": 0.1 * k, "stability": 0.9, "stability_sd": 0.01}
    for k in (4, 2, 3)
]


def test_a_curve_has_a_chart_of_each_measure_that_tells_the_choice() -> None:
    charts = draw_curve(CURVE, 3)
    assert [chart.title for chart in charts] == ["Stability", "Silhouette", "Inertia"]
    labels = [re.findall('aria-label="(.*?)"', chart.svg)[0] for chart in charts]
    assert labels[1] == "Silhouette for 2 to 4 classes; 3 were chosen, with 0.300"
    assert labels[2] == "Inertia for 2 to 4 classes; 3 were chosen, with 0.333"


def test_the_same_curve_is_the_same_text_in_the_colours_of_the_page() -> None:
    first, second = draw_curve(CURVE, 3), draw_curve(CURVE[::-1], 3)
    assert first == second
    assert all("var(--accent)" in chart.svg and "#0101" not in chart.svg for chart in first)


def test_a_value_that_is_missing_is_not_told() -> None:
    gap = [CURVE[0], CURVE[1], CURVE[2] | {"silhouette": None}]
    silhouette = draw_curve(gap, 3)[1]
    (label,) = re.findall('aria-label="(.*?)"', silhouette.svg)
    assert label == "Silhouette for 2 to 4 classes; 3 were chosen"


def test_a_number_that_is_not_on_the_curve_is_marked_all_the_same() -> None:
    (label,) = re.findall('aria-label="(.*?)"', draw_curve(CURVE, 9)[0].svg)
    assert label == "Stability for 2 to 4 classes; 9 were chosen"


def test_without_a_curve_there_is_no_chart() -> None:
    assert draw_curve([], 3) == []


def test_a_tree_joins_its_leaves_at_the_distances_of_the_merges() -> None:
    tree = draw_tree([[0, 2, 1.0, 30], [1, 3, 4.0, 60]], [10, 30, 20])
    assert tree is not None
    assert (tree.width, tree.height) == (560, 66)
    assert [(leaf.position, leaf.merged) for leaf in tree.leaves] == [(1, 1), (0, 1), (2, 1)]
    assert [leaf.y for leaf in tree.leaves] == [11, 33, 55]
    assert tree.paths == [
        "M560.0 33.0L420.0 33.0L420.0 55.0L560.0 55.0",
        "M560.0 11.0L0.0 11.0L0.0 44.0L420.0 44.0",
    ]


def test_of_a_large_tree_what_lies_below_is_one_leaf_named_after_its_largest_class() -> None:
    rng = np.random.default_rng(0)
    centroids, points = rng.normal(size=(200, 4)), rng.integers(1, 1000, 200)
    merges = linkage(centroids, "ward")
    tree = draw_tree(merges.tolist(), points.tolist())
    assert tree is not None
    groups = fcluster(merges, LEAVES, "maxclust")
    wanted = {
        (max(group, key=lambda i: (points[i], -i)), len(group))
        for group in (np.flatnonzero(groups == g).tolist() for g in np.unique(groups))
    }
    assert {(leaf.position, leaf.merged) for leaf in tree.leaves} == wanted
    assert len(tree.paths) == len(tree.leaves) - 1 == LEAVES - 1


@pytest.mark.parametrize("depth", [2, 3000])
def test_a_tree_may_be_a_chain(depth: int) -> None:
    merges = [[0, 1, 1.0, 2]] + [[depth + i, i + 2, 2.0 + i, i + 3] for i in range(depth - 2)]
    assert draw_tree(merges, [1] * depth) is not None


def test_one_class_has_no_tree() -> None:
    assert draw_tree([], [10]) is None
