"""What a shard holds, in numbers that add up."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

import pyarrow as pa
import pyarrow.compute as pc


@dataclass(frozen=True)
class ShardCounts:
    """What a shard holds; the counts of shards add up."""

    images: int = 0
    codes: Mapping[str, int] = field(default_factory=dict)
    """Error rows by code."""
    dense_fallbacks: int = 0
    segments: int = 0
    bytes: int = 0
    """Of the file."""

    @property
    def errors(self) -> int:
        """Error rows of any code."""
        return sum(self.codes.values())

    def __add__(self, other: ShardCounts) -> ShardCounts:
        return ShardCounts(
            self.images + other.images,
            dict(Counter(self.codes) + Counter(other.codes)),
            self.dense_fallbacks + other.dense_fallbacks,
            self.segments + other.segments,
            self.bytes + other.bytes,
        )

    def to_json(self) -> str:
        """As text, for a Parquet footer or a receipt."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> ShardCounts:
        """The inverse of `to_json`."""
        return cls(**json.loads(text))


def count_rows(rows: pa.Table) -> ShardCounts:
    """Counts of a table of rows; its file has no size yet."""
    codes = pc.value_counts(pc.struct_field(rows["error"], "code").drop_null()).to_pylist()
    return ShardCounts(
        images=rows.num_rows,
        codes={entry["values"]: entry["counts"] for entry in codes},
        dense_fallbacks=pc.sum(rows["dense_fallback"]).as_py() or 0,
        segments=pc.sum(pc.list_value_length(rows["segments"])).as_py() or 0,
    )
