"""The yardsticks of prototypes: the same crops, batches and scores for every way to fit them."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from PIL import Image

from specray.backbones import DescriptorBackbone
from specray.masks import RefineConfig
from specray.pipelines.benchmark.prototypes.crops import PASS, SIDE, crop, proposed, read_scored
from specray.pipelines.benchmark.prototypes.epochs import epoch_rows
from specray.pipelines.benchmark.prototypes.protocol import BATCH, prototype_rows
from tests.pipelines.photographs import photograph

NAMES = ["dark", "middle", "bright"]


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Photographs with how bright they are as ground truth, in the layout of CamVid."""
    root = tmp_path_factory.mktemp("camvid") / "train"
    for kind in ("images", "labels"):
        (root / kind).mkdir(parents=True)
    for number in range(BATCH):
        image = photograph(number)
        image.save(root / "images" / f"{number:02}.png")
        labels = np.minimum(np.asarray(image.convert("L")) // 86, 2)
        Image.fromarray(labels.astype(np.uint8)).save(root / "labels" / f"{number:02}.png")
    (root.parent / "classes.json").write_text(json.dumps(NAMES))
    return sorted((root / "images").iterdir())


@pytest.fixture(scope="module")
def rows(paths: list[Path]) -> pa.Table:
    """Of whole patches: the exact CRF takes half a second for each."""
    bare = dataclasses.replace(PASS, refinement=RefineConfig("none"))
    return proposed(paths, DescriptorBackbone(), bare)


def test_crops_are_the_middle_of_the_image_with_its_truth(paths: list[Path]) -> None:
    assert crop(paths[0]).shape == (SIDE, SIDE, 3)
    scored = read_scored(paths[:2], DescriptorBackbone())
    assert scored.grid == (SIDE // 16, SIDE // 16)
    grey = crop(paths[0]).astype(float) @ [0.299, 0.587, 0.114]
    right = np.minimum(grey // 86, 2) == scored.truth[0]
    assert right.mean() > 0.85  # but where resizing smooths the borders


def test_every_way_to_fit_prototypes_is_scored(rows: pa.Table, paths: list[Path]) -> None:
    test = read_scored(paths[:4], DescriptorBackbone())
    found = list(prototype_rows(rows, test, NAMES, 16, kmeans_steps=(1, 2), em_steps=1))
    assert [row["name"] for row in found] == [
        "directions",
        "directions, k-means, 1 batches",
        "directions, k-means, 2 batches",
        "k-means of proposals",
        "k-means, EM by pixels",
        "k-means, EM by proposals",
        "k-means of proposals, EM by pixels",
        "k-means of proposals, EM by proposals",
    ]
    for row in found:
        assert 0 < row["mIoU"] < 100 and row["seeds"] == 3
    again = next(prototype_rows(rows, test, NAMES, 16, kmeans_steps=(1,), em_steps=1))
    assert again == found[0]


def test_an_epoch_on_kept_features_is_timed_against_one_that_computes_them(
    rows: pa.Table, paths: list[Path]
) -> None:
    torch.set_num_threads(1)
    (found,) = epoch_rows(rows, paths, DescriptorBackbone(), repeats=1)
    expected = found["reference_median_s"] / found["candidate_median_s"]
    assert found["ratio"] == pytest.approx(expected)
    assert found["images"] == BATCH and found["ratio"] > 1
