"""Lists of sets, and what is refused before any image is read."""

from __future__ import annotations

import dataclasses

import pytest

from specray.flags import parse
from specray.pipelines.sweep.combinations import Combination
from specray.pipelines.sweep.config import GridConfig, HeldOutConfig, SetsConfig, SweepConfig
from specray.pipelines.sweep.sets import named
from specray.pipelines.sweep.telling import command_of


def test_lists_are_parallel_and_a_dash_is_nothing() -> None:
    sets = SetsConfig(("m", "c"), ("masks", "coco"), ("photos", "-"), ("-", "val2017"))
    first, second = sets.sources
    assert (first.truth.truth, first.truth.dataset, first.truth.split) == ("m", "masks", None)
    assert (second.truth.split, second.images, first.images) == ("val2017", None, "photos")


def test_one_layout_stands_for_all_sets() -> None:
    held_out = HeldOutConfig(("c", "c"), ("coco",), held_out_split=("train2017", "val2017"))
    assert [each.truth.split for each in held_out.sources] == ["train2017", "val2017"]
    assert [each.truth.dataset for each in held_out.sources] == ["coco", "coco"]
    assert HeldOutConfig().sources == []


@pytest.mark.parametrize(
    ("sets", "message"),
    [
        (SetsConfig(), "--truth is missing"),
        (SetsConfig(("a",)), "--dataset is missing"),
        (SetsConfig(("a", "b", "c"), ("masks", "coco")), "--dataset has 2 entries, --truth 3"),
        (SetsConfig(("a", "b"), ("masks",), ("x",)), "--input has 1 entries, --truth 2"),
        (SetsConfig((), ("masks",)), "--dataset has 0 entries|--truth is missing"),
        (SetsConfig(("a",), ("masks",), (), ("val",)), "no use for --split"),
    ],
)
def test_lists_that_do_not_fit(sets: SetsConfig, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SweepConfig("out", sets=sets)


def test_a_held_out_list_is_named_by_its_own_flag() -> None:
    held_out = HeldOutConfig(("a", "b"), ("masks",), ("x",))
    with pytest.raises(ValueError, match="--held-out-input has 1 entries, --held-out-truth 2"):
        SweepConfig("out", sets=SetsConfig(("m",), ("masks",)), held_out=held_out)


def test_flags_and_the_descriptor() -> None:
    flags = ["--output", "o", "--truth", "a", "b", "--dataset", "masks", "voc-xml", "--limit", "3"]
    config = parse(SweepConfig, "specray sweep", [*flags, "--blocks", "-1", "4"])
    assert config.sets.truth == ("a", "b")
    assert config.grid.blocks == (-1, 4)
    with pytest.raises(ValueError, match="descriptor has no blocks"):
        dataclasses.replace(config, backbone="descriptor")


def test_values_of_the_grid() -> None:
    with pytest.raises(ValueError, match="--features must name each value once"):
        GridConfig(features=("k", "k"))
    with pytest.raises(ValueError, match="must not be negative"):
        GridConfig(color_lambdas=(-1.0,))


def test_sets_have_different_names() -> None:
    assert named(["s3://b/davis/masks/"] * 2, [None, None]) == ["davis/masks", "davis/masks (2)"]


def test_the_command_says_what_differs_from_segment() -> None:
    config = SweepConfig(
        "out", "vit_x", "my weights", image_size=320, sets=SetsConfig(("m",), ("masks",))
    )
    assert command_of(config, Combination(9, "v", 10.0)) == (
        "specray segment --backbone vit_x --weights 'my weights' --feature v --block 9 "
        "--color-lambda 10.0 --image-size 320"
    )
