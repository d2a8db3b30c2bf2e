"""One row per mask, in files that DuckDB reads together."""

from __future__ import annotations

from pathlib import Path

import duckdb
import numpy as np
import pytest
from pycocotools import mask as coco_mask

from specray.sources import LocalStore
from specray.tables.exports.flat import Flat
from tests.tables.exports.cases import METHODS, annotated, cases, drawn, export, masks_of


@pytest.mark.parametrize("method", METHODS)
def test_masks_come_back_through_duckdb_from_several_files(method: str, tmp_path: Path) -> None:
    images = cases(method)
    export(Flat(), images, LocalStore(str(tmp_path)), parts=3)
    assert [path.name for path in sorted(tmp_path.iterdir())] == [
        f"masks-0000{part}-of-00003.parquet" for part in range(3)
    ]
    query = f"""
        SELECT key, category, "index", score, height, width, rle_counts, area,
            bbox_x, bbox_y, bbox_width, bbox_height
        FROM '{tmp_path}/*.parquet' ORDER BY image_id, "index"
    """
    rows = duckdb.execute(query).fetchall()
    expected = [
        ((image.key, method, annotation.index, annotation.score), mask)
        for image in images
        for annotation, mask in zip(image.annotations, masks_of(image), strict=True)
    ]
    for row, (told, mask) in zip(rows, expected, strict=True):
        height, width, counts, area, *box = row[4:]
        found = coco_mask.decode({"size": [height, width], "counts": counts})
        assert row[:4] == told
        assert np.array_equal(found, mask)
        assert (area, box) == (mask.sum(), coco_mask.toBbox(coco_mask.encode(found)).tolist())


def test_boxes_are_those_of_the_shards(tmp_path: Path) -> None:
    image = annotated("a.jpg", [drawn("#..")], (1, 3))
    object.__setattr__(image.annotations[0], "bbox", (0.5, 0.0, 2.25, 1.0))
    export(Flat(), [image], LocalStore(str(tmp_path)), parts=1)
    query = f"SELECT bbox_x, bbox_y, bbox_width, bbox_height FROM '{tmp_path}/*.parquet'"
    assert duckdb.execute(query).fetchone() == (0.5, 0.0, 2.25, 1.0)


def test_a_part_without_masks_is_a_file_without_rows(tmp_path: Path) -> None:
    export(Flat(), [annotated("a.jpg", [], (1, 3))], LocalStore(str(tmp_path)), parts=1)
    assert duckdb.execute(f"SELECT count(*) FROM '{tmp_path}/*.parquet'").fetchone() == (0,)
