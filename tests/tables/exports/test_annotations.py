"""Rows become images: numbered by their place, errors set aside, segments by index."""

from __future__ import annotations

import pyarrow as pa
import pytest
from pycocotools import mask as coco_mask

from specray.errors import ErrorCode
from specray.tables.classes import LabelClass
from specray.tables.exports import (
    AnnotatedImage,
    Category,
    Skipped,
    annotated_images,
    count_segments,
)
from specray.tables.rows import Row, table_of
from specray.tables.schema import LABELS
from tests.tables.exports.cases import Mask, drawn, rle_of
from tests.tables.report_cases import bad_row, good_row

ROWS = table_of([good_row("a"), bad_row("b", ErrorCode.EMPTY, "no bytes"), good_row("c", seed=1)])
ALL = frozenset({"object", "region"})


def images(*methods: str) -> list[AnnotatedImage | Skipped]:
    return list(annotated_images(ROWS, frozenset(methods), 11, 101))


def test_ids_are_places_among_all_images_and_all_segments() -> None:
    first, error, last = images("object", "region")
    assert isinstance(first, AnnotatedImage) and isinstance(last, AnnotatedImage)
    assert (first.id, last.id) == (11, 13)
    assert sorted(a.id for a in first.annotations) == [101, 102, 103, 104, 105]
    assert sorted(a.id for a in last.annotations) == [106, 107, 108, 109, 110]
    assert error == Skipped("b", "empty", "no bytes")
    assert count_segments(ROWS) == 10


def test_a_segment_has_the_same_id_whichever_methods_are_exported() -> None:
    ids = {
        (a.method, a.index): a.id
        for methods in (["object"], ["region"])
        for image in images(*methods)
        if isinstance(image, AnnotatedImage) and image.key == "c"
        for a in image.annotations
    }
    both = images("object", "region")[2]
    assert isinstance(both, AnnotatedImage)
    assert ids == {(a.method, a.index): a.id for a in both.annotations}


def test_segments_come_by_rising_index_with_a_category() -> None:
    first = images("region")[0]
    assert isinstance(first, AnnotatedImage)
    assert [(a.index, a.category.name) for a in first.annotations] == [
        (0, "background"),
        (1, "region"),
        (2, "region"),
    ]


def label_row(key: str, masks: dict[int, Mask]) -> Row:
    """A row of a label table: the masks of some ids, the more certain the lower the id."""
    height, width = next(iter(masks.values())).shape
    segments = [
        {
            "method": "class",
            "index": index,
            "score": 1 / (1 + index),
            "bbox": coco_mask.toBbox(rle_of(mask)).tolist(),
            "area": int(mask.sum()),
            "rle": rle_of(mask),
        }
        for index, mask in masks.items()
    ]
    return {"key": key, "width": width, "height": height, "segments": segments}


def test_ids_that_stand_for_one_class_are_one_mask_of_its_id() -> None:
    masks = {0: drawn("##..."), 1: drawn("..#.."), 3: drawn("...##")}
    rows = pa.Table.from_pylist(
        [label_row("a", masks), bad_row("b"), label_row("c", {3: masks[3]})], schema=LABELS
    )
    classes = [LabelClass(1, "road", (1,)), LabelClass(0, "tree", (0, 3))]
    first, error, last = annotated_images(rows, frozenset({"class"}), 1, 101, classes)
    assert isinstance(error, Skipped)
    assert isinstance(first, AnnotatedImage) and isinstance(last, AnnotatedImage)
    tree, road = first.annotations
    assert (tree.id, tree.index, tree.category.name, tree.area) == (101, 0, "tree", 4)
    assert coco_mask.decode(tree.rle).tolist() == [[1, 1, 0, 1, 1]]
    assert list(tree.bbox) == [0, 0, 5, 1]
    assert tree.score == pytest.approx((2 * 1 + 2 * 1 / 4) / 4)
    assert (road.id, road.index, road.category) == (102, 1, Category(2, "road", is_thing=False))
    (alone,) = last.annotations
    assert (alone.id, alone.index, alone.category) == (104, 0, tree.category)
    assert alone.score == 1 / 4
