"""The yardstick of the label job: a synthetic segment run, and what is measured of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pycocotools import mask as coco_mask
from sklearn.metrics import adjusted_rand_score

from specray.errors import UserError
from specray.pipelines.benchmark.labels.scale import label_measured, scale_rows
from specray.pipelines.benchmark.labels.synthetic import PER_IMAGE, Mixture, write_segments
from specray.pipelines.benchmark.scores import score_scale_rows
from specray.semantics import ClusterConfig, fit
from specray.tables.reading import read
from specray.tables.schema import SEGMENTS

IMAGES, DIMENSIONS = 300, 16


@pytest.fixture(scope="module")
def segments(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = str(tmp_path_factory.mktemp("synthetic") / "out")
    assert write_segments(folder, IMAGES, Mixture(dimensions=DIMENSIONS)) > 0
    return folder


def test_a_synthetic_table_is_that_of_a_segment_run(segments: str) -> None:
    rows = read(segments)
    assert rows.schema.equals(SEGMENTS)
    assert rows.num_rows == IMAGES
    for row in rows.slice(0, 20).to_pylist():
        masks = [coco_mask.decode(segment["rle"]) for segment in row["segments"]]
        assert len(masks) == PER_IMAGE
        np.testing.assert_array_equal(sum(masks), np.ones((row["height"], row["width"])))
        assert [segment["area"] for segment in row["segments"]] == [m.sum() for m in masks]


def test_features_are_in_clusters_that_overlap() -> None:
    features, clusters = Mixture().draw(4000, "a")
    book = fit(features, config=ClusterConfig(classes=27), seed=0, features={})
    assert 0.1 < adjusted_rand_score(clusters, book.assign(features).classes) < 0.9


def test_rows_say_how_long_every_phase_took_and_what_memory_it_had() -> None:
    (row,) = scale_rows(60, DIMENSIONS, 3, [1000])
    assert (row["points"], row["dimensions"]) == (60 * PER_IMAGE, DIMENSIONS)
    assert row["name"] == "label, fitted to 1,000"
    assert all(row[f"{phase}_s"] > 0 for phase in ("read", "fit", "label"))
    assert 10**7 < row["worker_peak_bytes"] < row["together_peak_bytes"]
    assert row["driver_peak_bytes"] < row["together_peak_bytes"]


def test_what_a_job_that_fails_says_is_passed_on(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no segment run"):
        label_measured(str(tmp_path), str(tmp_path / "out"), ())


def test_rows_say_how_fast_many_images_are_scored() -> None:
    (row,) = score_scale_rows(40, [1])
    assert (row["name"], row["instances"]) == ("evaluate, 1 worker", 240)
    assert row["images_per_second"] > 0 and row["over_fewest_workers"] == 1
    assert 10**7 < row["worker_peak_bytes"] < row["together_peak_bytes"]
