"""Shards follow from the keys alone, and most of them outlive a change of the input."""

from __future__ import annotations

import random
import statistics
from collections.abc import Iterable, Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from specray.sources import Entry, cut

KEYS = st.sets(st.text(max_size=4), max_size=60).map(sorted)
SIZES = st.integers(1, 12)


def entries(keys: Iterable[str]) -> list[Entry]:
    return [Entry(key, 1, "e") for key in keys]


def cut_keys(keys: Iterable[str], shard_size: int) -> list[tuple[str, ...]]:
    return [tuple(entry.key for entry in shard) for shard in cut(entries(keys), shard_size)]


def numbered(count: int, seed: int = 0) -> list[str]:
    numbers = random.Random(seed).sample(range(10**9), count)
    return sorted(f"{number:09}.jpg" for number in numbers)


@given(KEYS, SIZES)
def test_shards_in_a_row_are_the_input(keys: list[str], size: int) -> None:
    assert [entry for shard in cut(entries(keys), size) for entry in shard] == entries(keys)


@given(KEYS, SIZES)
def test_no_shard_is_larger_than_asked_and_only_the_last_smaller_than_half(
    keys: list[str], size: int
) -> None:
    lengths = [len(shard) for shard in cut(entries(keys), size)]
    assert all(1 <= length <= size for length in lengths)
    assert all(2 * length >= size for length in lengths[:-1])


@given(KEYS, SIZES, st.randoms(use_true_random=False))
def test_cuts_do_not_depend_on_sizes_and_etags(
    keys: list[str], size: int, rng: random.Random
) -> None:
    others = [Entry(key, rng.choice([None, 0, 2**40]), rng.choice([None, "", "x"])) for key in keys]
    found = [tuple(entry.key for entry in shard) for shard in cut(others, size)]
    assert found == cut_keys(keys, size)


def test_shards_of_one_entry_hold_one_each() -> None:
    assert cut_keys("abc", 1) == [("a",), ("b",), ("c",)]


def test_no_entries_make_no_shard() -> None:
    assert list(cut([], 5)) == []


def test_shards_hold_three_quarters_of_their_room_on_average() -> None:
    lengths = [len(shard) for shard in cut_keys(numbered(10_000), 64)]
    assert 0.7 <= statistics.mean(lengths) / 64 <= 0.8


@pytest.mark.parametrize("change", ["added", "removed"])
def test_one_key_more_or_less_leaves_nearly_all_shards_as_they_were(change: str) -> None:
    rng = random.Random(1)
    keys = numbered(10_000)
    before = set(cut_keys(keys, 64))
    redone = []
    for _ in range(20):
        if change == "added":
            after = sorted([*keys, f"{rng.randrange(10**9):09}.png"])
        else:
            gone = rng.randrange(len(keys))
            after = keys[:gone] + keys[gone + 1 :]
        redone.append(len(set(cut_keys(after, 64)) - before))
    assert statistics.mean(redone) <= 2
    assert max(redone) <= 8  # of 207


@settings(max_examples=25)
@given(st.integers(0, 2**32), st.integers(1, 8))
def test_a_cut_depends_on_no_more_keys_than_a_shard_may_hold_and_one(seed: int, size: int) -> None:
    keys = numbered(50, seed)
    start = 0
    for shard in cut_keys(keys, size)[:-1]:
        assert cut_keys(keys[start : start + size + 1], size)[0] == shard
        start += len(shard)


def test_a_shard_comes_out_as_soon_as_one_entry_more_than_it_may_hold_is_read() -> None:
    taken: list[str] = []

    def listing() -> Iterator[Entry]:
        for entry in entries(numbered(1000)):
            taken.append(entry.key)
            yield entry

    out = 0
    for shard in cut(listing(), 10):
        assert len(taken) - out <= 11
        out += len(shard)
    assert out == 1000
