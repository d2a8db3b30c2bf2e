"""What is clustered, out of rows of a segment table."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from specray.errors import UserError
from specray.pipelines.labels.config import Source
from specray.pipelines.labels.points import columns_of, points_of
from specray.tables.rows import Row, table_of

RLE = {"size": [4, 4], "counts": b"04<"}


def segment(method: str, index: int, feature: Any) -> Row:
    box = [float(index), 0.0, 1.0, 1.0]
    return {"method": method, "index": index, "score": 0.5, "bbox": box, "area": 4, "rle": RLE} | {
        "feature": None if feature is None else np.array(feature, np.float16)
    }


def table() -> pa.Table:
    """Two images with an error between them, one without segments, features of some."""
    mixed = [
        segment("object", 0, [1, 2]),
        segment("superpixel", 0, [3, 4]),
        segment("superpixel", 1, None),
        segment("superpixel", 2, [5, 6]),
    ]
    others = [segment("region", 0, [7, 8]), segment("region", 1, [9, 10])]
    error = {"code": "corrupt", "stage": "decode", "message": "damaged"}
    return table_of(
        [
            {"key": "a", "segments": mixed},
            {"key": "b", "error": error},
            {"key": "c", "segments": []},
            {"key": "d", "segments": [*others, segment("superpixel", 0, [11, 12])]},
        ]
    )


@pytest.mark.parametrize(
    ("source", "features", "rows", "index"),
    [
        ("superpixels", [[3, 4], [5, 6], [11, 12]], [0, 0, 3], [0, 2, 0]),
        ("objects", [[1, 2]], [0], [0]),
        ("regions", [[7, 8], [9, 10]], [3, 3], [0, 1]),
        ("instances", np.zeros((0, 0)), [], []),
    ],
)
def test_the_points_are_the_described_segments_of_the_method(
    source: Source, features: Any, rows: list[int], index: list[int]
) -> None:
    found = points_of(table(), source)
    np.testing.assert_array_equal(found.features, features)
    assert (found.rows.tolist(), found.index.tolist()) == (rows, index)
    assert found.segments is not None
    boxes = [segment["bbox"][0] for segment in found.segments.to_pylist()]
    assert boxes == index


def test_the_background_of_regions_can_be_left_out() -> None:
    found = points_of(table(), "regions", foreground=True)
    assert found.index.tolist() == [1]


def test_patches_are_the_kept_features_of_the_grid() -> None:
    kept = np.arange(12, dtype=np.float16)
    rows = table_of(
        [
            {"key": "a", "grid_h": 2, "grid_w": 3, "features": kept},
            {"key": "b"},
            {"key": "c", "grid_h": 1, "grid_w": 1, "features": kept[:2]},
        ]
    )
    found = points_of(rows, "patches")
    np.testing.assert_array_equal(found.features, [*kept.reshape(6, 2), kept[:2]])
    assert found.rows.tolist() == [0] * 6 + [2]
    assert found.index.tolist() == [0, 1, 2, 3, 4, 5, 0]
    assert found.segments is None


def test_a_slice_has_points_that_follow_each_other() -> None:
    some = points_of(table(), "superpixels").slice(1, 3)
    np.testing.assert_array_equal(some.features, [[5, 6], [11, 12]])
    assert some.segments is not None and len(some.segments) == 2


def test_features_of_two_backbones_are_refused() -> None:
    rows = table_of([{"key": str(n), "segments": [segment("object", 0, range(n))]} for n in (2, 3)])
    with pytest.raises(UserError, match="2 and 3 channels"):
        points_of(rows, "objects")


@pytest.mark.parametrize("source", ["superpixels", "patches"])
def test_its_columns_are_enough(source: Source) -> None:
    names = {name.partition(".")[0] for name in columns_of(source)}
    assert len(points_of(table().select(sorted(names)), source).rows) == (
        3 if source == "superpixels" else 0
    )
