"""YouTube-VIS and OVIS."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

from specray.datasets.videos import ovis, youtube_vis
from specray.errors import UserError
from tests.datasets.writing import BLOCK, BLOCK_BOX, video_tree, write_json, write_text

FRAMES = ["v1/00000.jpg", "v1/00005.jpg", "v2/00000.jpg"]


@pytest.mark.parametrize(
    "file",
    [
        "train.json",
        "train/instances.json",
        "annotations_train.json",
        "instances_train_sub.json",
        "annotations/instances_train_sub.json",
    ],
)
def test_files_of_annotations(tmp_path: Path, file: str) -> None:
    write_json(tmp_path / file, video_tree())
    dataset = youtube_vis(str(tmp_path))
    assert (dataset.keys(), dataset.images) == (FRAMES, str(tmp_path / "train/JPEGImages"))
    assert ovis(str(tmp_path)).images == str(tmp_path / "train")
    assert [dataset.group(key) for key in FRAMES] == ["v1", "v1", "v2"]


def test_frames_have_the_objects_that_are_in_them(tmp_path: Path) -> None:
    write_json(tmp_path / "annotations_train.json", video_tree())
    dataset = ovis(str(tmp_path))
    assert dataset.kinds == {"instances", "boxes", "mask"}
    truths = pickle.loads(pickle.dumps(dataset.truths(FRAMES)))
    first, second, empty = (truths.of(key, dataset.kinds) for key in FRAMES)
    assert first.boxes.tolist() == [*BLOCK_BOX, [0, 0, 1, 1]]
    assert [each["area"] for each in first.instances] == [6, 1]
    assert np.count_nonzero(first.mask) == 7
    assert len(second.instances) == 1 and (second.mask == BLOCK).all()
    assert empty.instances == () and len(empty.boxes) == 0
    assert empty.mask.shape == (4, 6) and not empty.mask.any()


def test_a_list_of_frames_counts_from_the_video_on(tmp_path: Path) -> None:
    write_json(tmp_path / "train.json", video_tree())
    names = tmp_path / "ytvs2019_10k.txt"
    write_text(names, "/home/user01/train/AnnTrue/v1/00005.png", "/home/x/v2/00000.png")
    assert youtube_vis(str(tmp_path), names=str(names)).keys() == FRAMES[1:]
    write_text(names, "/home/user01/train/AnnTrue/v3/00005.png")
    with pytest.raises(UserError, match=r"--list: 1 of 1 images .* such as v3/00005"):
        youtube_vis(str(tmp_path), names=str(names)).keys()


def test_withheld_missing_and_damaged_annotations(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"there is no annotations_train.json in"):
        ovis(str(tmp_path)).keys()
    tree = video_tree()
    write_json(tmp_path / "valid.json", tree | {"annotations": None})
    with pytest.raises(UserError, match=r"valid.json in .* has no annotations; .* --split train"):
        youtube_vis(str(tmp_path), split="valid").keys()
    tree["annotations"][0]["segmentations"].pop()
    write_json(tmp_path / "train.json", tree)
    with pytest.raises(UserError, match=r"train.json in .* is no file of annotated videos"):
        youtube_vis(str(tmp_path)).keys()
