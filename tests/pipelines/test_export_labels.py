"""Whole runs of the export job over the output of a label job, on Ray."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from specray.errors import ErrorCode, UserError
from specray.masks import segments_from_labels
from specray.pipelines.export import run_export
from specray.sources import Entry, LocalStore, Store, write_manifest
from specray.tables import read
from specray.tables.commit import commit_shard
from specray.tables.exports import OWNED
from specray.tables.rows import Row, segment_row
from specray.tables.run import write_run
from specray.tables.schema import LABELS
from specray.tables.shards import plan_shards
from tests.pipelines.test_export import FORMATS, configuration, files_in, finish
from tests.tables.report_cases import (
    GEOMETRY,
    GRID,
    HEIGHT,
    WIDTH,
    bad_row,
    photographed,
)

pytestmark = pytest.mark.usefixtures("ray_cluster")

NAMES: dict[int, str | None] = {0: "road", 1: "sky", 5: None, 9: "tree"}
MERGES = [[0, 2, 0.5, 6], [1, 3, 0.7, 6], [4, 5, 2.0, 12]]
"""0 with 5, then 1 with 9."""


def label_row(row: Row, seed: int) -> Row:
    """The label row of a good row: every class but one, and some pixels without."""
    rng = np.random.default_rng(seed)
    present = rng.permutation(len(NAMES))[:3]
    labels = rng.choice([-1, *present.tolist()], GRID)
    labels.flat[:3] = present
    found = segments_from_labels(labels, GEOMETRY, "class", rng.random(len(NAMES)))
    segments = [segment_row(segment) for segment in found]
    for segment in segments:
        segment["index"] = list(NAMES)[segment["index"]]
    kept = {name: row.get(name) for name in ("key", "size", "etag", "width", "height")}
    return kept | {"segments": segments}


def clustering(names: Mapping[int, str | None] = NAMES) -> dict[str, Any]:
    """What run.json says of the classes; the larger the lower the id."""
    classes = [{"id": i, "name": name, "points": 20 - i} for i, name in names.items()]
    return {"classes": classes, "merges": MERGES if len(names) == len(NAMES) else []}


def finish_labels(output: Store, rows: list[Row], **changes: Any) -> None:
    """What the label job leaves behind, in small shards."""
    parts = write_manifest([Entry(row["key"], 1, "e") for row in rows], output, 4)
    start = 0
    for shard in plan_shards(output, parts, "1abe1" * 8):
        table = pa.Table.from_pylist(rows[start : start + shard.rows], schema=LABELS)
        commit_shard(output, shard.name, table, LABELS)
        start += shard.rows
    record: dict[str, Any] = {
        "job": "label",
        "status": "finished",
        "fingerprint": "1abe1" * 8,
        "manifest": parts,
        "configuration": {"images": None, "endpoint": None},
        "clustering": clustering(),
    }
    write_run(output, record | changes)


def labelled(folder: Path, **changes: Any) -> Path:
    """A label run over a segment run of ten good images and two bad ones."""
    photographs = LocalStore(str(folder / "photographs"))
    good = [photographed(photographs, f"{i:03}.png", i) for i in range(10)]
    bad = [bad_row("x.png", ErrorCode.EMPTY, "no bytes"), bad_row("y.png")]
    segments = LocalStore(str(folder / "out"))
    finish(segments, [*good, *bad], folder / "photographs", ["objects"])
    rows = [label_row(row, i) for i, row in enumerate(good)]
    rows += [{"key": row["key"], "error": row["error"]} for row in bad]
    labels = LocalStore(str(folder / "labels"))
    finish_labels(labels, rows, **{"segments": segments.uri} | changes)
    return folder / "labels"


@pytest.fixture(scope="module")
def labels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return labelled(tmp_path_factory.mktemp("labelled"))


def class_maps(rows: list[Row]) -> dict[str, np.ndarray[Any, Any]]:
    """The class of each pixel of good images, -1 where there is none."""
    maps = {}
    for row in rows:
        if row["error"] is None:
            maps[row["key"]] = np.full((HEIGHT, WIDTH), -1)
            for segment in row["segments"]:
                maps[row["key"]][coco_mask.decode(segment["rle"]) > 0] = segment["index"]
    return maps


@pytest.mark.parametrize("name", FORMATS)
def test_classes_are_exported_with_their_table_and_bad_images_listed(
    name: str, labels: Path, tmp_path: Path
) -> None:
    result = run_export(configuration(labels, tmp_path, name))
    assert (result["images"], result["masks"], result["skipped"]) == (10, 30, 2)
    lines = (tmp_path / "skipped.jsonl").read_text().splitlines()
    assert [json.loads(line)["key"] for line in lines] == ["x.png", "y.png"]
    written = files_in(tmp_path).keys() - {"export.json"}
    assert result["files"] == len(written)
    assert all(OWNED[name].fullmatch(key) for key in written)  # so --overwrite finds them
    record = json.loads((tmp_path / "export.json").read_text())
    assert (record["status"], record["method"]) == ("finished", "class")
    assert record["classes"] == [
        {"id": i, "name": each or f"class {i}", "members": [i], "label": i + 1}
        for i, each in NAMES.items()
    ]


@pytest.mark.parametrize("name", FORMATS)
def test_the_same_command_again_gives_the_same_bytes(
    name: str, labels: Path, tmp_path: Path
) -> None:
    config = configuration(labels, tmp_path, name, classes=2)
    run_export(config)
    first = files_in(tmp_path)
    run_export(config)
    assert files_in(tmp_path) == first


@pytest.mark.parametrize(
    ("count", "groups"),
    [
        (None, {0: 0, 1: 1, 5: 5, 9: 9}),
        (3, {0: 0, 5: 0, 1: 1, 9: 9}),
        (2, {0: 0, 5: 0, 1: 1, 9: 1}),
        (1, {0: 0, 5: 0, 1: 0, 9: 0}),
    ],
)
def test_fewer_classes_are_unions_of_those_that_the_hierarchy_puts_together(
    count: int | None, groups: dict[int, int], labels: Path, tmp_path: Path
) -> None:
    run_export(configuration(labels, tmp_path, "coco", classes=count))
    found = COCO(str(tmp_path / "instances.json"))
    assert set(found.cats) == {group + 1 for group in groups.values()}
    rows = read(str(labels), columns=["key", "segments", "error"]).to_pylist()
    of_key = {image["file_name"]: i for i, image in found.imgs.items()}
    for key, before in class_maps(rows).items():
        entries = found.loadAnns(found.getAnnIds(imgIds=[of_key[key]]))
        assert len({entry["category_id"] for entry in entries}) == len(entries)
        after = np.full((HEIGHT, WIDTH), -1)
        for entry in entries:
            mask = found.annToMask(entry) > 0
            assert mask.sum() == entry["area"]
            after[mask] = entry["category_id"] - 1
        expected = np.vectorize({-1: -1, **groups}.__getitem__)(before)
        assert np.array_equal(after, expected)


def test_classes_that_were_named_anew_are_other_masks(tmp_path: Path) -> None:
    labels, to = labelled(tmp_path), tmp_path / "to"
    run_export(configuration(labels, to, "yolo"))
    store = LocalStore(str(labels))
    record = json.loads((labels / "run.json").read_text())
    named = {"clustering": clustering({**NAMES, 5: "road"})}
    write_run(store, record | named)
    with pytest.raises(UserError, match=r"of other masks; .*--overwrite"):
        run_export(configuration(labels, to, "yolo"))
    run_export(configuration(labels, to, "yolo", overwrite=True))
    table = json.loads((to / "export.json").read_text())["classes"]
    assert [(each["name"], each["members"]) for each in table] == [
        ("road", [0, 5]),
        ("sky", [1]),
        ("tree", [9]),
    ]


def test_photographs_are_those_of_the_segment_run_or_where_they_are_now(
    labels: Path, tmp_path: Path
) -> None:
    photographs = labels.parent / "photographs"
    with pytest.raises(UserError, match="inside the images"):
        run_export(configuration(labels, photographs / "to", "coco"))
    alone = labelled(tmp_path, segments=str(tmp_path / "gone"))
    config = configuration(alone, tmp_path / "to", "hf")
    with pytest.raises(UserError, match=r"that were labelled are gone from .* say with --images"):
        run_export(config)
    assert not (tmp_path / "to").exists()
    there = str(tmp_path / "photographs")
    assert run_export(configuration(alone, tmp_path / "to", "hf", images=there))["images"] == 10
    store = LocalStore(str(alone))
    made = {"configuration": {"images": there, "endpoint": None}}  # where they were labelled
    write_run(store, json.loads((alone / "run.json").read_text()) | made)
    again = configuration(alone, tmp_path / "again", "hf")
    assert run_export(again)["images"] == 10


def test_what_cannot_be_exported_is_one_clear_line_before_anything_is_written(
    labels: Path, tmp_path: Path
) -> None:
    to = tmp_path / "to"
    many = labelled(tmp_path, clustering=clustering(dict.fromkeys(range(255))))
    segments = labels.parent / "out"
    for config, match in [
        (configuration(labels, to, "coco", method="objects"), "holds classes, not objects"),
        (configuration(labels, to, "coco", classes=5), "--classes 5 is more than the 4"),
        (configuration(segments, to, "coco", classes=2), "run specray label on it"),
        (configuration(many, to, "voc"), "voc holds classes up to 253, and there is a class 254"),
    ]:
        with pytest.raises(UserError, match=match) as caught:
            run_export(config)
        assert "\n" not in str(caught.value)
    with pytest.raises(ValueError, match="--classes must be at least 1"):
        configuration(labels, to, "coco", classes=0)
    assert not to.exists()
