"""From flags to a dataset."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import pytest

from specray.datasets import LAYOUTS, DatasetConfig, Layout
from specray.errors import UserError
from specray.flags import parse
from tests.datasets.writing import coco_tree, write_json, write_text


def test_layouts_have_the_names_of_flags() -> None:
    assert list(LAYOUTS) == sorted(get_args(Layout))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_opens_and_names_what_is_missing(tmp_path: Path, layout: Layout) -> None:
    classes = 3 if layout == "maps" else None
    truth = str(tmp_path / "nowhere")
    dataset = DatasetConfig(truth=truth, dataset=layout, truth_classes=classes).open()
    with pytest.raises(UserError, match=f"--truth: .* in {tmp_path}") as caught:
        dataset.keys()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("values", "fault"),
    [
        ({"split": "val"}, "--split needs --truth"),
        ({"truth_space": "isprs"}, "--truth-space needs --truth"),
        ({"dataset": "cub"}, "--dataset needs --truth"),
        ({"truth": "x"}, "--dataset maps needs either --truth-classes or --truth-space"),
        (
            {"truth": "x", "truth_classes": 3, "truth_space": "isprs"},
            "--dataset maps needs either --truth-classes or --truth-space",
        ),
        ({"truth": "x", "truth_classes": 1}, "--truth-classes must be from 2 to 255, not 1"),
        (
            {"truth": "x", "dataset": "voc-segmentation", "truth_classes": 3},
            "--dataset voc-segmentation has no use for --truth-classes",
        ),
        (
            {"truth": "x", "dataset": "ecssd", "split": "test"},
            "--dataset ecssd has no use for --split",
        ),
        ({"truth": "x", "dataset": "cub", "list": "y"}, "--dataset cub has no use for --list"),
        (
            {"truth": "x", "dataset": "duts", "split": "test"},
            "--split of --dataset duts is te or tr, not test",
        ),
        (
            {"truth": "x", "dataset": "camvid", "split": "x"},
            "--split of --dataset camvid is train, val or test, not x",
        ),
        ({"truth": "x", "dataset": "imagenet"}, "--dataset must be one of camvid, "),
    ],
)
def test_wrong_flags(values: dict[str, Any], fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        DatasetConfig(**values)


def test_flags_reach_the_dataset(tmp_path: Path) -> None:
    write_json(tmp_path / "annotations/instances_train2017.json", coco_tree())
    write_text(tmp_path / "list.txt", "b.jpg")
    flags = ["--truth", str(tmp_path), "--dataset", "coco", "--split", "train2017"]
    config = parse(DatasetConfig, "specray", [*flags, "--list", str(tmp_path / "list.txt")])
    dataset = config.open(None)
    assert dataset.keys() == ["b.jpg"] and dataset.images == str(tmp_path / "train2017")


def test_without_truth_there_is_nothing_to_open() -> None:
    with pytest.raises(ValueError, match="no --truth"):
        DatasetConfig().open()
