"""What a shard holds, in numbers that add up."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace

import pyarrow as pa
import pyarrow.compute as pc

from specray.errors import Stage


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
    matting_fallbacks: int = 0
    inherited: int = 0
    """Error rows of an edit that are those of its segment table."""
    file_bytes: int = 0
    """Of the pictures of an edit."""

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
            self.matting_fallbacks + other.matting_fallbacks,
            self.inherited + other.inherited,
            self.file_bytes + other.file_bytes,
        )

    def to_json(self) -> str:
        """As text, for a Parquet footer or a receipt."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> ShardCounts:
        """The inverse of `to_json`."""
        return cls(**json.loads(text))


def count_rows(rows: pa.Table) -> ShardCounts:
    """Counts of a table of segments or of edits; its file has no size yet."""
    codes = pc.value_counts(pc.struct_field(rows["error"], "code").drop_null()).to_pylist()
    counts = ShardCounts(
        images=rows.num_rows, codes={entry["values"]: entry["counts"] for entry in codes}
    )
    if "segments" in rows.column_names:
        return replace(
            counts,
            dense_fallbacks=_sum(rows["dense_fallback"]),
            segments=_sum(pc.list_value_length(rows["segments"])),
        )
    stages = pc.struct_field(rows["error"], "stage")
    return replace(
        counts,
        matting_fallbacks=_sum(rows["matting_fallback"]),
        inherited=_sum(pc.not_equal(stages, str(Stage.EDIT))),
        file_bytes=_sum(rows["file_size"]),
    )


def _sum(values: pa.ChunkedArray) -> int:
    return pc.sum(values).as_py() or 0
