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
    """Error rows that are those of the segment table, where the rows are made of one."""
    file_bytes: int = 0
    """Of the pictures of an edit."""
    points: Mapping[str, int] = field(default_factory=dict)
    """What has a feature: segments by method, single patches as ``patch``, and the regions that are
    backgrounds once more as ``background``."""
    capped: int = 0
    """Images that would have had more principal masks than their largest number."""

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
            dict(Counter(self.points) + Counter(other.points)),
            self.capped + other.capped,
        )

    def to_json(self) -> str:
        """As text, for a Parquet footer or a receipt."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> ShardCounts:
        """The inverse of `to_json`."""
        return cls(**json.loads(text))


def count_rows(rows: pa.Table) -> ShardCounts:
    """Counts of a table of any schema; its file has no size yet."""
    names = rows.column_names
    codes = pc.value_counts(pc.struct_field(rows["error"], "code").drop_null()).to_pylist()
    counts = ShardCounts(
        images=rows.num_rows, codes={entry["values"]: entry["counts"] for entry in codes}
    )
    if "segments" in names:
        counts = replace(counts, segments=_sum(pc.list_value_length(rows["segments"])))
    if "dense_fallback" in names:  # a segment table
        return replace(
            counts,
            dense_fallbacks=_sum(rows["dense_fallback"]),
            points=_count_points(rows),
            capped=_sum(rows["primaps_capped"]),
        )
    stages = pc.struct_field(rows["error"], "stage")
    own = pa.array([str(Stage.EDIT), str(Stage.LABEL)])
    inherited = pc.and_(pc.is_valid(stages), pc.invert(pc.is_in(stages, own)))
    counts = replace(counts, inherited=_sum(inherited))
    if "file_size" in names:
        counts = replace(
            counts,
            matting_fallbacks=_sum(rows["matting_fallback"]),
            file_bytes=_sum(rows["file_size"]),
        )
    return counts


def _count_points(rows: pa.Table) -> dict[str, int]:
    segments = pc.list_flatten(rows["segments"])
    described = pc.is_valid(pc.struct_field(segments, "feature"))
    methods = pc.value_counts(pc.struct_field(segments, "method").filter(described)).to_pylist()
    points = {entry["values"]: entry["counts"] for entry in methods}
    behind = pc.and_(
        pc.equal(pc.struct_field(segments, "method"), "region"),
        pc.equal(pc.struct_field(segments, "index"), 0),
    )
    if backgrounds := _sum(pc.and_(behind, described)):
        points["background"] = backgrounds
    kept = rows.select(["grid_h", "grid_w"]).filter(pc.is_valid(rows["features"]))
    patches = _sum(pc.multiply(kept["grid_h"], kept["grid_w"]))
    return points | ({"patch": patches} if patches else {})


def _sum(values: pa.ChunkedArray) -> int:
    return pc.sum(values).as_py() or 0
