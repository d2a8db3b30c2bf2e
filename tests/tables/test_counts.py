"""Counts of shards add up to those of the run, and survive the way through a footer."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from specray.errors import ErrorCode
from specray.tables.counts import ShardCounts, count_rows
from specray.tables.rows import table_of
from tests.tables.report_cases import bad_row, good_row

NUMBERS = st.integers(0, 2**40)
COUNTS = st.builds(
    ShardCounts,
    images=NUMBERS,
    codes=st.dictionaries(st.sampled_from([code.value for code in ErrorCode]), st.integers(1, 99)),
    dense_fallbacks=NUMBERS,
    segments=NUMBERS,
    bytes=NUMBERS,
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
