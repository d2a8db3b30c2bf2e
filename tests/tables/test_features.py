"""Kept features come back as arrays over the memory of the rows, whatever the grids."""

from __future__ import annotations

import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray

from specray.sources import LocalStore
from specray.tables.commit import commit_shard, parquet_of, read_shard
from specray.tables.features import COLUMNS, features_of, variant
from specray.tables.rows import Row, conformed, table_of
from specray.tables.schema import FEATURES, SEGMENTS
from tests.tables.report_cases import bad_row, good_row

CHANNELS = 5


def stored(seed: int, grid: tuple[int, int], views: int) -> NDArray[np.float16]:
    """(1 + V, N, C)."""
    shape = (1 + views, grid[0] * grid[1], CHANNELS)
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float16)


def row(key: str, grid: tuple[int, int], values: NDArray[np.float16], scale: float) -> Row:
    return good_row(key) | {
        "grid_h": grid[0],
        "grid_w": grid[1],
        "features": values[0].ravel(),
        "feature_scale": scale,
        "views": values[1:].tobytes() if len(values) > 1 else None,
    }


GRIDS = [(2, 3), (4, 1), (2, 3)]
VALUES = [stored(0, GRIDS[0], 5), stored(1, GRIDS[1], 5), stored(2, GRIDS[2], 0)]
ROWS = [row(f"{i}", GRIDS[i], VALUES[i], 0.5 + i) for i in range(3)] + [bad_row("9")]


@pytest.mark.parametrize("chunked", [False, True])
def test_features_of_mixed_grids_are_those_that_were_kept(chunked: bool) -> None:
    table = table_of(ROWS)
    if chunked:
        table = pa.concat_tables([table.slice(0, 2), table.slice(2)])
    *found, last = features_of(table.select(COLUMNS))
    assert last is None
    for i, each in enumerate(found):
        assert each is not None
        assert (each.grid, each.scale, len(each)) == (GRIDS[i], 0.5 + i, len(VALUES[i]))
        np.testing.assert_array_equal(each.stacked(), VALUES[i])
        for number in range(len(each)):
            np.testing.assert_array_equal(each[number], VALUES[i][number])
    assert found[0] is not None
    with pytest.raises(IndexError):
        found[0][6]


def test_nothing_is_copied() -> None:
    table = table_of(ROWS)
    before = pa.total_allocated_bytes()
    found = features_of(table)[0]
    assert found is not None
    assert pa.total_allocated_bytes() == before
    flat = table["features"].chunk(0).values.to_numpy()
    assert np.shares_memory(found.image, flat)
    assert not found.others.flags.owndata and not found.others.flags.writeable


def test_without_views_there_are_the_images_alone() -> None:
    found = features_of(table_of(ROWS).drop_columns("views"))[0]
    assert found is not None
    assert len(found) == 1
    np.testing.assert_array_equal(found.stacked(), VALUES[0][:1])


def test_variants_are_the_image_its_mirror_image_and_pairs_of_views() -> None:
    order = [(0, False), (0, True), (1, False), (1, True), (2, False), (2, True)]
    assert [variant(view, mirrored) for view, mirrored in order] == list(range(6))


def test_kept_features_are_stored_plain_in_groups_of_which_a_few_rows_can_be_read() -> None:
    grid = (62, 64)
    large = np.ones((2, 62 * 64, 512), dtype=np.float16)  # 8 MB a row
    rows = table_of([row(f"{i}", grid, large, 1.0) for i in range(6)])
    file = pq.ParquetFile(io.BytesIO(parquet_of(rows)))
    assert file.metadata.num_row_groups == 3
    for i in range(file.metadata.num_columns):
        column = file.metadata.row_group(0).column(i)
        plain = column.path_in_schema.split(".")[0] in FEATURES
        assert column.compression == ("UNCOMPRESSED" if plain else "ZSTD")
        assert not (plain and column.has_dictionary_page)
    assert file.read_row_group(1).equals(rows.slice(2, 2))


def test_segments_alone_are_one_group() -> None:
    rows = table_of([good_row(str(i), seed=i) for i in range(64)])
    assert pq.ParquetFile(io.BytesIO(parquet_of(rows))).metadata.num_row_groups == 1


def test_rows_of_an_older_file_have_null_for_what_it_does_not_have(tmp_path: object) -> None:
    store = LocalStore(str(tmp_path))
    rows = table_of([good_row("a"), bad_row("b")])
    older = rows.drop_columns(["feature_scale", "views"])
    old_schema = pa.schema([f for f in SEGMENTS if f.name in older.column_names], SEGMENTS.metadata)
    name = f"shards/{'a' * 32}.parquet"
    commit_shard(store, name, older, old_schema)
    found = read_shard(store, name)
    assert found is not None and "views" not in found.column_names
    assert conformed(found, SEGMENTS).equals(rows)
