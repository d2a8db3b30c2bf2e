"""The page on the whole road: what was before, what came after, what is taken."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from specray.errors import ErrorCode
from specray.sources import LocalStore
from specray.tables.report import RoadReportSummary, build_road_report
from specray.tables.run import write_run
from tests.tables.report.classes.cases import (
    class_entry,
    clustering,
    label_row,
    make_output,
    photographed,
)
from tests.tables.report_cases import bad_row, read_page
from tests.tables.test_report import HOSTILE

IDS = (0, 3, 4)
LINKS = (("Segments", "../segments/report/index.html"), ("First labels", "../labels/index.html"))


class Road:
    """Labels before and after, and the record of the job."""

    def __init__(self, folder: Path) -> None:
        places = ("photos", "out", "before", "after")
        self.source, self.output, self.before, self.after = (
            LocalStore(str(folder / name)) for name in places
        )

    def build(
        self, keys: tuple[str, ...], after: bool = True, **result: Any
    ) -> tuple[RoadReportSummary, Any]:
        made = clustering([class_entry(0, name="road"), class_entry(3), class_entry(4)])
        rows = [photographed(self.source, key, IDS, seed=i) for i, key in enumerate(keys)]
        make_output(self.before, [*rows, bad_row("bad.jpg", ErrorCode.CORRUPT, "torn")], made)
        later = [label_row(key, IDS, i + 50, rows[i]["etag"]) for i, key in enumerate(keys)]
        make_output(self.after, later, made)
        road = {"input": self.source.uri, "labels": "label"}
        configuration = {"road": road, "label": {"source": "superpixels"}}
        shown = {"round": 1 if after else 0, "change": None}
        found = {"rounds": int(after), "taken": int(after), "errors": 1, "shown": shown} | result
        record = {"job": "run", "status": "finished", "versions": {"specray": "0.1.0"}}
        write_run(self.output, record | {"configuration": configuration, "result": found})
        change = {"same": 0.5, "iou": [0.25, None, 0.5]} if after else None
        second = self.after if after else self.before
        where = (self.output, self.source, self.before, second)
        summary = build_road_report(*where, change, LINKS, samples=3)
        return summary, read_page(self.output)


@pytest.fixture
def road(tmp_path: Path) -> Road:
    return Road(tmp_path)


def test_every_image_is_shown_before_and_after(road: Road) -> None:
    truth = [{"miou": 0.25, "accuracy": 0.5}, {"miou": 0.375, "accuracy": 0.625}]
    given: dict[str, Any] = {"agreement": [0.7], "classes_lost": [0], "by_ground_truth": truth}
    summary, page = road.build(("a.png", "b.png", "c.png", "d.png"), **given)
    assert (summary.images, summary.classes, summary.samples, summary.unavailable) == (5, 3, 3, 0)
    assert summary.files == 3 * 3 + 1
    shown = page.values("alt")
    assert len(shown) == 9 and sum("after self-training" in text for text in shown) == 3
    assert "round 1 is taken" in page.text and "round 1, taken 70 % 0 37.5 % 62.5 %" in page.text
    assert "road 0" in page.text and "0.25" in page.text
    assert {address for _, address in LINKS} <= set(page.values("href"))


def test_a_round_that_is_not_taken_is_shown_as_such(road: Road) -> None:
    _, page = road.build(("a.png",), taken=0, agreement=[0.7], classes_lost=[2])
    assert "the first labels are taken" in page.text
    assert "first labels, taken" in page.text and "which is not taken" in page.text
    assert len(page.values("alt")) == 3


def test_without_a_round_there_is_no_after(road: Road) -> None:
    summary, page = road.build(("a.png",), after=False, agreement=[], classes_lost=[])
    assert len(page.values("alt")) == 2 and summary.files == 3
    assert "without any self-training" in page.text


def test_keys_of_strangers_are_only_text(road: Road) -> None:
    keys = tuple(key for key in HOSTILE if "/" not in key)
    _, page = road.build(keys, agreement=[0.7], classes_lost=[0])
    assert page.text.count("kept") >= 3
    attributes = {name for _, attributes in page.tags for name in attributes}
    assert not any(name.startswith("on") for name in attributes)
    assert not any(name == "script" for name, _ in page.tags)
