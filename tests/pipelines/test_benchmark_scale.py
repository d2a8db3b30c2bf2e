"""The yardsticks of what is large: synthetic runs, and what is measured of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pycocotools import mask as coco_mask
from sklearn.metrics import adjusted_rand_score

from specray.errors import UserError
from specray.pipelines.benchmark.labels.scale import label_measured, scale_rows
from specray.pipelines.benchmark.labels.synthetic import PER_IMAGE, Mixture, write_segments
from specray.pipelines.benchmark.scale_out import (
    busy_share,
    cpu_ms,
    driver_memory,
    rate_of,
    scale_out_rows,
    steady,
)
from specray.pipelines.benchmark.scores import score_scale_rows
from specray.pipelines.benchmark.sleeping import Batch
from specray.pipelines.benchmark.watching import Look
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


@pytest.mark.slow
def test_rows_say_what_the_framework_costs_on_each_number_of_nodes() -> None:
    stages, planned, one, two = scale_out_rows(600, [1, 2], rate=200, seconds=1)
    assert all(value > 0 for name, value in stages.items() if name != "name")
    assert (planned["name"], planned["keys"]) == ("plan of 600", 600)
    assert planned["manifest_s"] > 0 and planned["plan_s"] > 0
    for row, nodes in ((one, 1), (two, 2)):
        assert (row["nodes"], row["nodes_with_actors"], row["errors"]) == (nodes, nodes, 0)
        assert row["committed_rows"] == row["images"] >= 200 * nodes
        assert row["sleep_ms"] == 5
        rate = row["steady_images_per_second"]
        assert row["efficiency"] == pytest.approx(rate / nodes / one["steady_images_per_second"])
        assert row["actor_overhead_ms"] == pytest.approx(1000 * nodes / rate - 5)
        roles = ("driver", "actor", "tally", "task", "ray", "agent", "service")
        assert sum(row[f"{role}_cpu_ms"] for role in roles) == pytest.approx(row["cpu_ms"])
        assert row["overhead_cpu_ms"] == pytest.approx(row["cpu_ms"] - stages["decode_ms"])
        assert 0 <= row["driver_cpu_share"] < 2
        assert 0 < row["local_share"] <= 1
        assert row["driver_peak_bytes"] >= row["driver_end_bytes"] > 10**7
    assert one.keys() == two.keys()
    assert one["local_share"] == 1


def test_the_steady_state_is_the_later_half_from_the_last_engine_to_the_first_end() -> None:
    batches = [
        Batch(name, start + i, start + i + 1, 4)
        for name, start in (("a", 0), ("b", 3))
        for i in range(8)
    ]
    span = steady(batches)
    assert (span.begin, span.end, span.images) == (6, 8, 4 * 4)
    assert rate_of(batches, span) == pytest.approx(2 * 4)
    looks = [Look(t, {"driver": t / 10, "ray": 0.0}, 10**8, (t, 2 * t)) for t in range(12)]
    assert cpu_ms(looks, span) == pytest.approx({"driver": 1000 * 0.2 / 16, "ray": 0})
    assert busy_share(looks, span) == pytest.approx(0.5)


def test_the_growth_of_the_driver_is_that_of_the_later_half() -> None:
    batches = [Batch("a", t, t + 1, 192) for t in range(200)]
    sizes = [10**8 + 10**6 * min(t, 50) + 1000 * t for t in range(202)]
    looks = [Look(float(t), {}, size, (0.0, 0.0)) for t, size in enumerate(sizes)]
    told = driver_memory(looks, batches)
    assert told["driver_growth_bytes"] == pytest.approx(10**6)
    assert told["driver_peak_bytes"] == max(sizes)
    assert driver_memory(looks, batches[:20])["driver_growth_bytes"] is None
