"""A ledger holds what was committed, whatever stops the rest."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
import ray.data

from specray.errors import UserError
from specray.pipelines.ledger import Ledger
from specray.tables.counts import ShardCounts
from specray.tables.shards import Shard

pytestmark = pytest.mark.usefixtures("ray_cluster")

GOOD, BAD = ShardCounts(1000), ShardCounts(1000, {"corrupt": 900})


def shard(name: str, again: frozenset[str] | None = None) -> Shard:
    return Shard(0, "manifest", 0, 1000, name, again)


def receipts(counts: Iterable[tuple[str, ShardCounts]]) -> ray.data.Dataset:
    rows = [{"name": name, "counts": it.to_json(), "done": it.to_json()} for name, it in counts]
    return ray.data.from_items(rows, override_num_blocks=1)


def test_receipts_add_up_and_the_rest_is_missing() -> None:
    shards = [shard(name) for name in "abc"]
    ledger = Ledger(shards, max_error_rate=1)
    ledger.take(receipts([("a", GOOD), ("b", BAD)]))
    assert (ledger.work, ledger.counts, ledger.missing) == (3000, GOOD + BAD, shards[2:])
    ledger.take(receipts([("c", GOOD)]))
    assert (ledger.counts.images, ledger.missing) == (3000, [])


def test_too_many_errors_stop_it_and_what_was_committed_stays() -> None:
    ledger = Ledger([shard(name) for name in "abc"], max_error_rate=0.4)
    with pytest.raises(UserError, match="--max-error-rate"):
        ledger.take(receipts([("a", GOOD), ("b", BAD), ("c", GOOD)]))
    assert [left.name for left in ledger.missing] == ["c"]


def test_shards_that_are_retried_do_not_stop_it() -> None:
    ledger = Ledger([shard("a", again=frozenset({"x"}))], max_error_rate=0)
    ledger.take(receipts([("a", BAD)]))
    assert (ledger.work, ledger.counts) == (1, BAD)
