"""What becomes an error of an image, and what stops the job."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from specray.backbones import BackboneConfig
from specray.datasets.opening import DatasetConfig
from specray.errors import UserError
from specray.pipelines.sweep.actor import ScoreImages, SweepWork, chunks_of
from specray.pipelines.sweep.combinations import grid_of
from specray.pipelines.sweep.sets import labelled_set
from specray.pipelines.weights import load_weights
from specray.tables.rows import Row
from tests.pipelines.photographs import BAD
from tests.pipelines.sweep.cases import BACKBONE, BROKEN, DEPTH, MASKS, write_masks

GRID = grid_of([1], ["q"], [0.0], ["minority"], ["kept"], DEPTH)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_masks(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def work(encoder: Path) -> SweepWork:
    features = BackboneConfig(BACKBONE, str(encoder))
    sha256 = load_weights(features, None).sha256
    return SweepWork(features, sha256, GRID, None, max_pixels=10**6, max_patches=100)


def rows_of(root: Path, work: SweepWork) -> dict[str, Row]:
    truth = DatasetConfig(str(root / "masks"), "masks").open()
    labelled = labelled_set("set", truth, str(root / "images"), None, None)
    actor = ScoreImages(work, "cpu")
    rows = [row for chunk in chunks_of(0, labelled) for row in actor(chunk)]
    assert [row["place"] for row in rows] == list(range(len(rows)))
    return dict(zip(labelled.keys, rows, strict=True))


def test_faults_of_images_are_rows(root: Path, work: SweepWork) -> None:
    (root / "images" / "a" / "000.jpg").unlink()
    (root / "images" / "a" / "002.jpg").write_bytes(BAD["1x1.png"][0])
    rows = rows_of(root, dataclasses.replace(work, max_patches=48))
    codes = {key: row["code"] for key, row in rows.items() if row["code"]}
    # of a photograph that is not there, only the name of its mask is known
    assert codes == {"a/000.png": "missing", "a/002.jpg": "too_small", BROKEN: "corrupt"}
    assert all(row["message"] for key, row in rows.items() if key in codes)
    good = [row for row in rows.values() if not row["code"]]
    assert len(good) == MASKS - 2
    assert {len(row["hits"]) for row in good} == {len(GRID) + 1}
    assert {len(row["ious"]) for row in good} == {8 * (len(GRID) + 1)}


def test_too_many_patches(root: Path, work: SweepWork) -> None:
    rows = rows_of(root, dataclasses.replace(work, max_patches=47))
    assert {row["code"] for row in rows.values()} == {"too_many_patches"}


def test_ground_truth_of_another_size_stops_the_job(root: Path, work: SweepWork) -> None:
    Image.fromarray(np.zeros((5, 6), np.uint8)).save(root / "masks" / "b" / "001.png")
    with pytest.raises(UserError, match="has 6 x 5 pixels, its image 128 x 96"):
        rows_of(root, work)


def test_weights_that_changed(root: Path, work: SweepWork) -> None:
    with pytest.raises(UserError, match="changed since the run began"):
        rows_of(root, dataclasses.replace(work, weights_sha256="another"))
