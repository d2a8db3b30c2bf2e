"""Rows become images: numbered by their place, errors set aside, segments by index."""

from __future__ import annotations

from specray.errors import ErrorCode
from specray.tables.exports import AnnotatedImage, Skipped, annotated_images, count_segments
from specray.tables.rows import table_of
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
