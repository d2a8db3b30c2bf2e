"""The last stage: exactly one shard's rows to its file."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pyarrow as pa
import pyarrow.compute as pc

from specray.errors import UserError
from specray.pipelines.blocks import RECEIPT
from specray.sources import Store
from specray.tables.commit import commit_shard, read_shard
from specray.tables.counts import count_rows
from specray.tables.rows import conformed
from specray.tables.schema import SEGMENTS


@dataclass(frozen=True)
class Commit:
    """The rows of a shard to its file, and a `RECEIPT`."""

    store: Store
    schema: pa.Schema = SEGMENTS

    def __call__(self, block: pa.Table) -> pa.Table:
        """Publish the shard of the block.

        Where only some of its images were done again, the other rows are those of the file that
        is there, which is replaced as a whole.
        """
        names = pc.unique(block["shard"]).to_pylist()
        if len(names) != 1:  # Ray cut the stream elsewhere: never write what was not planned
            raise RuntimeError(f"a commit got rows of the shards {names}")
        done = _used(block).select(self.schema.names)
        rows, wanted = done, block["shard_rows"][0].as_py()
        if done.num_rows < wanted:
            rows = self._merged(names[0], done)
        if rows.num_rows != wanted:
            raise RuntimeError(f"{rows.num_rows} rows for the {wanted} images of {names[0]}")
        counts = commit_shard(self.store, names[0], rows, self.schema)
        now = counts if rows is done else replace(count_rows(done), bytes=counts.bytes)
        receipt = {"name": names[0], "counts": counts.to_json(), "done": now.to_json()}
        return pa.Table.from_pylist([receipt], schema=RECEIPT)

    def _merged(self, name: str, done: pa.Table) -> pa.Table:
        old = read_shard(self.store, name)
        if old is None:
            raise UserError(f"{name} in {self.store.uri} is gone; run the same command again")
        kept = old.filter(pc.invert(pc.is_in(old["key"], done["key"].combine_chunks())))
        kept = conformed(kept, done.schema).cast(done.schema)
        return pa.concat_tables([kept, done]).sort_by("key")


def _used(block: pa.Table) -> pa.Table:
    """The places with an image; where these come first, nothing is copied."""
    used = pc.is_valid(block["key"])
    count = len(block) - block["key"].null_count
    return block.filter(used) if block["key"][:count].null_count else block[:count]
