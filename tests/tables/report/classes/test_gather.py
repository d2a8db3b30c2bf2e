"""What the page says of all rows, against loops over the rows."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np
import pytest

from specray.errors import ErrorCode, UserError
from specray.tables.report.classes.cards import class_cards
from specray.tables.report.classes.gather import GatheredLabels, gather_labels
from specray.tables.report.classes.strips import STRIPS
from specray.tables.report.classes.together import co_occurrence
from specray.tables.rows import Row
from tests.tables.report.classes.cases import (
    class_entry,
    clustering,
    good_row,
    label_row,
    table_of,
)
from tests.tables.report_cases import GRID, HEIGHT, WIDTH, bad_row

IDS = (0, 3, 4, 11)


def rows_of(count: int) -> list[Row]:
    return [label_row(f"{i}.png", IDS, seed=i) for i in range(count)]


def gathered(rows: Sequence[Row], step: int = 7, **changes: object) -> GatheredLabels:
    tables = [table_of(rows[start : start + step]) for start in range(0, len(rows), step)]
    return gather_labels(tables, 5, clustering([class_entry(i) for i in IDS], **changes))


def test_sums_are_those_of_a_loop_over_the_rows() -> None:
    rows = rows_of(40)
    bad = [bad_row("b"), bad_row("c"), bad_row("d", ErrorCode.EMPTY)]
    found = gathered([*rows, *bad])
    area, regions, together = Counter[int](), Counter[int](), Counter[tuple[int, int]]()
    for row in rows:
        present = [mask["index"] for mask in row["segments"]]
        together.update((a, b) for a in present for b in present)
        regions.update(point["class"] for point in row["points"])
        for mask in row["segments"]:
            area[mask["index"]] += mask["area"]
    assert (found.images, found.errors, found.pixels) == (43, 3, 40 * HEIGHT * WIDTH)
    assert {code: fault.count for code, fault in found.faults.items()} == {"corrupt": 2, "empty": 1}
    assert found.area.tolist() == [area[i] for i in IDS]
    assert found.regions.tolist() == [regions[i] for i in IDS]
    assert found.together.toarray().tolist() == [[together[a, b] for b in IDS] for a in IDS]
    confidences = [p["confidence"] for row in rows for p in row["points"] if p["class"] == 3]
    assert found.confidences[1].quantile(0.5) == pytest.approx(np.median(confidences), abs=0.02)


def test_the_most_and_the_least_certain_regions_are_shown_one_of_an_image() -> None:
    rows = rows_of(40)
    found = gathered(rows)
    for position, class_id in enumerate(IDS):
        of_image = defaultdict(list)
        for row in rows:
            for point in row["points"]:
                if point["class"] == class_id:
                    of_image[row["key"]].append((point["confidence"], point["index"]))
        strips = found.strips.of(position)
        for strip, best, reverse in (("surest", max, True), ("doubtful", min, False)):
            wanted = sorted(((best(sure), key) for key, sure in of_image.items()), reverse=reverse)
            shown = [((r["confidence"], r["index"]), r["key"]) for r in strips[strip]]
            assert shown == wanted[: STRIPS[strip]]
        drawn = [region["key"] for region in strips["random"]]
        assert len(set(drawn)) == len(drawn) == STRIPS["random"]
        assert set(drawn) <= of_image.keys()


def test_a_region_comes_with_the_box_it_was_given_and_the_mask_of_its_class() -> None:
    rows = {row["key"]: row for row in rows_of(20)}
    found = gathered(list(rows.values()))
    for position, class_id in enumerate(IDS):
        for region in (r for strip in found.strips.of(position).values() for r in strip):
            row = rows[region["key"]]
            (point,) = (p for p in row["points"] if p["index"] == region["index"])
            (mask,) = (s for s in row["segments"] if s["index"] == class_id)
            assert point["class"] == class_id
            assert (region["bbox"], region["rle"]) == (point["bbox"], mask["rle"])
            assert (region["width"], region["height"]) == (WIDTH, HEIGHT)


def test_what_is_shown_does_not_depend_on_the_order_or_the_size_of_shards() -> None:
    rows = [label_row(f"{i}.png", IDS, seed=i % 3) for i in range(50)]  # full of equal confidences
    one, other = gathered(rows), gathered(rows[::-1], step=50)
    for position in range(len(IDS)):
        assert one.strips.of(position) == other.strips.of(position)
    assert one.sample.rows == other.sample.rows


def test_every_region_may_be_drawn() -> None:
    """The draw is by image and index, not by the first region of an image."""
    rows = [label_row(f"{i}.png", (0,), seed=i) for i in range(300)]
    shown = Counter[int]()
    for start in range(0, 300, 10):
        shown.update(r["index"] for r in gathered(rows[start:][:10]).strips.of(0)["random"])
    assert set(shown) == set(range(8))
    assert max(shown.values()) < 4 * min(shown.values())


def test_where_single_patches_were_labelled_class_masks_stand_for_regions() -> None:
    classes = np.full(GRID, 3)
    classes[0] = 11
    row = good_row("a.png", classes)
    medoid = {"key": "a.png", "index": 2, "bbox": [16.0, 0.0, 8.0, 8.0]}
    made = [class_entry(3), class_entry(11, medoid=medoid)]
    found = gather_labels([table_of([row])], 1, clustering(made, source="patches"))
    ((mask,), (_,), (_,)) = found.strips.of(1).values()
    assert mask["bbox"] == [0, 0, WIDTH, HEIGHT / GRID[0]]
    assert mask["confidence"] == pytest.approx(row["segments"][1]["score"])
    kept = found.medoids[1]
    assert (kept["bbox"], kept["confidence"]) == (medoid["bbox"], None)
    assert kept["rle"] == row["segments"][1]["rle"]


def test_medoids_are_found_among_the_regions_and_others_are_missing() -> None:
    rows = rows_of(10)
    point = rows[4]["points"][2]
    there = {"key": "4.png", "index": 2, "bbox": None}
    made = [
        class_entry(i, medoid=there if i == point["class"] else {**there, "key": "elsewhere.png"})
        for i in IDS
    ]
    found = gather_labels([table_of(rows)], 1, clustering(made))
    (kept,) = found.medoids.values()
    assert list(found.medoids) == [IDS.index(point["class"])]
    assert (kept["key"], kept["bbox"], kept["confidence"]) == (
        "4.png",
        point["bbox"],
        point["confidence"],
    )


def test_a_background_that_was_kept_apart_is_of_no_class() -> None:
    row = label_row("a.png", (3,))
    row["points"][0]["class"] = -1
    found = gathered([row])
    assert found.regions.tolist() == [0, 7, 0, 0]


def test_a_region_whose_class_was_refined_away_has_no_mask() -> None:
    row = label_row("a.png", (3,))
    row["points"][1]["class"] = 11
    (region,) = gathered([row]).strips.of(IDS.index(11))["random"]
    assert (region["index"], region["rle"]) == (1, None)


def test_a_class_that_the_record_does_not_know_is_refused() -> None:
    with pytest.raises(UserError, match="the table has class 5, of which"):
        gathered([label_row("a.png", (5,))])


def test_classes_are_told_in_shares_the_largest_first() -> None:
    classes = np.full(GRID, 3)
    classes[0] = 11
    classes[1, :4] = -1
    rows = [good_row("a.png", classes), good_row("b.png", np.full(GRID, 3))]
    entries = [class_entry(i, name="road" if i == 3 else None) for i in IDS]
    found = gather_labels([table_of(rows)], 0, clustering(entries))
    cards = class_cards(found, clustering(entries))
    assert [(card.id, card.name, card.share, card.images) for card in cards] == [
        (3, "road", (40 - 12 + 40) / 80, 2),
        (11, "class 11", 8 / 80, 1),
        (0, "class 0", 0, 0),
        (4, "class 4", 0, 0),
    ]


def test_co_occurrence_is_the_share_of_images_and_its_lift() -> None:
    present = [(0, 3), (0, 3), (0,), (3,), (4,), (4,), (4,), (4,)]
    rows = []
    for i, ids in enumerate(present):
        classes = np.full(GRID, ids[0])
        classes[-1] = ids[-1]
        rows.append(good_row(f"{i}.png", classes))
    found = gathered([*rows, bad_row("b")])
    entries = clustering([class_entry(i) for i in IDS])
    cards = class_cards(found, entries)
    table = {card.id: pairs for card, pairs in co_occurrence(found, cards)}
    order = [card.id for card in cards]
    pair = table[0][order.index(3)]
    assert pair is not None
    assert [pair.share, pair.lift] == pytest.approx([2 / 3, 2 / 3 / (3 / 8)])
    assert 0 < pair.strength < 1
    never = table[0][order.index(4)]
    assert never is not None
    assert (never.share, never.lift, never.strength) == (0, 0, -1)
    assert table[0][order.index(0)] is None
    assert set(table[11]) == {None}
