"""Counts of shards add up to those of the run, and survive the way through a footer."""

from __future__ import annotations

import json
from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from specray.errors import ErrorCode
from specray.tables.counts import ShardCounts, count_rows
from specray.tables.rows import Row, table_of
from tests.tables.report_cases import bad_row, good_row, with_instances

NUMBERS = st.integers(0, 2**40)
COUNTS = st.builds(
    ShardCounts,
    images=NUMBERS,
    codes=st.dictionaries(st.sampled_from([code.value for code in ErrorCode]), st.integers(1, 99)),
    dense_fallbacks=NUMBERS,
    segments=NUMBERS,
    bytes=NUMBERS,
    points=st.dictionaries(st.sampled_from(["region", "superpixel", "patch"]), st.integers(1, 99)),
)
ROWS = [
    good_row("a", seed=1),
    bad_row("b", ErrorCode.CORRUPT),
    good_row("c", seed=2),
    bad_row("d", ErrorCode.EMPTY),
    good_row("e", seed=3),
    bad_row("f", ErrorCode.CORRUPT),
]


def test_images_errors_by_code_fallbacks_and_segments_are_counted() -> None:
    segments = sum(len(row.get("segments", [])) for row in ROWS)
    counts = count_rows(table_of(ROWS))
    assert counts == ShardCounts(6, {"corrupt": 2, "empty": 1}, 2, segments)
    assert counts.errors == 3


def described(row: Row, *methods: str, patches: bool = False) -> Row:
    """A good row whose segments of these methods have features, and perhaps its patches."""
    segments = [
        s | {"feature": np.ones(3, np.float16) if s["method"] in methods else None}
        for s in row["segments"]
    ]
    values = 3 * row["grid_h"] * row["grid_w"]
    return row | {"segments": segments, "features": np.ones(values) if patches else None}


def test_points_are_the_segments_that_have_features_by_method_and_patches() -> None:
    good = [row for row in ROWS if "segments" in row]
    rows = [
        described(good[0], "object", "region", patches=True),
        bad_row("b", ErrorCode.CORRUPT),
        described(good[1], "region", patches=True),
        described(with_instances(good[2], 4), "instance"),
    ]
    of = Counter(s["method"] for row in good for s in row["segments"])
    patches = 2 * good[0]["grid_h"] * good[0]["grid_w"]
    counts = count_rows(table_of(rows))
    assert counts.points == {
        **{"object": 2, "region": 6, "instance": 4},
        "background": 2,
        "patch": patches,
    }
    assert of["object"] == 6 and of["region"] == 9  # not all of them
    parts = [count_rows(table_of(some)) for some in (rows[:2], rows[2:])]
    assert sum(parts, ShardCounts()) == counts


def test_segments_without_features_are_no_points() -> None:
    assert count_rows(table_of(ROWS)).points == {}


def test_counts_of_before_there_were_points_are_read() -> None:
    older = json.loads(ShardCounts(5, {"corrupt": 1}, 2, 30).to_json())
    del older["points"]
    assert ShardCounts.from_json(json.dumps(older)) == ShardCounts(5, {"corrupt": 1}, 2, 30)


def test_no_rows_count_nothing() -> None:
    assert count_rows(table_of([])) == ShardCounts() == count_rows(table_of([])) + ShardCounts()


def test_counts_of_the_parts_add_up_to_those_of_the_whole() -> None:
    for cut in range(len(ROWS) + 1):
        parts = [count_rows(table_of(rows)) for rows in (ROWS[:cut], ROWS[cut:])]
        assert sum(parts, ShardCounts()) == count_rows(table_of(ROWS))


@given(COUNTS, COUNTS, COUNTS)
def test_the_order_of_adding_does_not_matter(
    a: ShardCounts, b: ShardCounts, c: ShardCounts
) -> None:
    assert (a + b) + c == a + (b + c) == c + b + a
    assert (a + b).errors == a.errors + b.errors
    assert a + ShardCounts() == a


@given(COUNTS)
def test_counts_survive_json(counts: ShardCounts) -> None:
    assert ShardCounts.from_json(counts.to_json()) == counts
    assert json.loads(counts.to_json())["images"] == counts.images
