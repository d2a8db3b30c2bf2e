"""Two manifests are compared as sets are, but in order and in constant memory."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count, islice

from hypothesis import given
from hypothesis import strategies as st

from specray.sources import Change, Entry, compare

KEYS = st.text(st.sampled_from("ab\u00e9\uffff\U0001f600/"), max_size=3)
STATES = st.tuples(st.none() | st.integers(0, 2), st.none() | st.sampled_from("xy"))
MANIFESTS = st.dictionaries(KEYS, STATES, max_size=12)


def entries(manifest: dict[str, tuple[int | None, str | None]]) -> list[Entry]:
    return [Entry(key, *manifest[key]) for key in sorted(manifest, key=str.encode)]


@given(MANIFESTS, MANIFESTS)
def test_every_key_that_differs_is_named_once_in_order_with_its_change(
    old: dict[str, tuple[int | None, str | None]], new: dict[str, tuple[int | None, str | None]]
) -> None:
    oracle = dict.fromkeys(new.keys() - old.keys(), Change.ADDED)
    oracle |= dict.fromkeys(old.keys() - new.keys(), Change.REMOVED)
    oracle |= {key: Change.CHANGED for key in old.keys() & new.keys() if old[key] != new[key]}
    found = list(compare(entries(old), entries(new)))
    assert found == sorted(oracle.items(), key=lambda item: item[0].encode())


def test_changes_come_before_the_manifests_are_read_to_their_ends() -> None:
    def endless(step: int) -> Iterator[Entry]:
        return (Entry(f"{number:09}", 1, "e") for number in count(0, step))

    found = list(islice(compare(endless(2), endless(3)), 3))
    assert found == [
        ("000000002", Change.REMOVED),
        ("000000003", Change.ADDED),
        ("000000004", Change.REMOVED),
    ]
