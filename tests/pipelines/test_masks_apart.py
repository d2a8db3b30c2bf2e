"""Masks made beside an accelerator: what the actor of a CPU makes, in tasks of their own."""

from __future__ import annotations

import ast
import dataclasses
import os
import subprocess
import sys
from pathlib import Path
from typing import Literal, cast, get_args

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import ray
from numpy.typing import NDArray
from pycocotools import mask as coco_mask
from skimage import data

from specray.backbones import BackboneConfig, build_backbone
from specray.masks import InstanceConfig, RefineConfig
from specray.masks.config import Refine, Separation
from specray.pipelines.blocks import DECODED, SEGMENTED, SPECTRA, images_of
from specray.pipelines.config import Method, SegmentConfig
from specray.pipelines.engine import Engine
from specray.pipelines.masking import Masking
from specray.pipelines.masks_apart import MakeMasks, make_masks, masked_block
from specray.pipelines.segmenting import segment_block
from specray.pipelines.tally import start_tally
from specray.spectral import SpectralConfig
from specray.tables.rows import Row
from tests.conftest import ROOT
from tests.faults.injected import injected

CONFIG = SegmentConfig(
    "", "", keep=("eigenvectors",), features=BackboneConfig(backbone="descriptor")
)
BACKBONE = build_backbone(CONFIG.features, None, "", "cpu")
CELL = CONFIG.spectral.cell(BACKBONE.patch_size)


def decoded() -> pa.Table:
    """Two photographs, one of them with a finer version, an error and an unused place."""
    small = np.ascontiguousarray(data.chelsea()[:150:2, :200:2])
    fine = np.ascontiguousarray(data.chelsea()[:150, :200])
    other = np.ascontiguousarray(data.astronaut()[:100, :120])
    rows: list[Row] = [
        {"key": "a.jpg", "height": 150, "width": 200}
        | pixels("pixels", small)
        | pixels("fine", fine),
        {"key": "b.jpg", "error": {"code": "corrupt", "stage": "decode", "message": "damaged"}},
        {"key": None},
        {"key": "c.jpg", "height": 100, "width": 120} | pixels("pixels", other),
    ]
    return pa.Table.from_pylist([{"shard": "s", "shard_rows": 3} | row for row in rows], DECODED)


def pixels(name: str, image: NDArray[np.uint8]) -> Row:
    height, width, _ = image.shape
    return {f"{name}_h": height, f"{name}_w": width, name: image.tobytes()}


def spectra(config: SegmentConfig) -> pa.Table:
    return segment_block(decoded(), Engine(config, BACKBONE, "cpu", masks=False), SPECTRA)


@pytest.mark.parametrize("refine", get_args(Refine))
def test_masks_apart_are_those_of_the_actor(refine: Refine) -> None:
    check_same_rows(dataclasses.replace(CONFIG, refinement=RefineConfig(refine)))


@pytest.mark.parametrize("refine", get_args(Refine))
@pytest.mark.parametrize("separation", get_args(Separation))
@pytest.mark.parametrize("factor", [None, 8])
def test_instances_apart_are_those_of_the_actor(
    refine: Refine, separation: Separation, factor: int | None
) -> None:
    config = dataclasses.replace(
        CONFIG,
        methods=("instances",),
        spectral=SpectralConfig(downsample_factor=factor),
        instances=InstanceConfig(separation),
        refinement=RefineConfig(refine),
    )
    rows = check_same_rows(config)
    assert {s["method"] for row in rows for s in row["segments"] or ()} == {"instance"}


def test_all_methods_apart_are_those_of_the_actor() -> None:
    config = dataclasses.replace(CONFIG, methods=get_args(Method))
    row, *_ = check_same_rows(config)
    methods = {"instance", "region", "object", "superpixel", "primap"}
    assert {s["method"] for s in row["segments"]} == methods


@pytest.mark.parametrize("factor", [None, 8])
@pytest.mark.parametrize("describe", ["mean", "none"])
def test_features_apart_are_those_of_the_actor(
    describe: Literal["mean", "none"], factor: int | None
) -> None:
    config = dataclasses.replace(
        CONFIG,
        methods=get_args(Method),
        describe=describe,
        keep=("features",),
        spectral=SpectralConfig(downsample_factor=factor),
    )
    for row in check_same_rows(config):
        if row["error"] is not None or row["key"] is None:
            assert row["features"] is None and row["segments"] is None
            continue
        cells = row["grid_h"] * row["grid_w"]
        channels = len(row["features"]) // cells
        assert len(row["features"]) == cells * channels > 0
        for segment in row["segments"]:
            assert (segment["feature"] is None) == (describe == "none")
            if segment["feature"] is not None:
                assert len(segment["feature"]) == channels
                assert 0 < np.linalg.norm(segment["feature"]) < 1.001


def test_a_segment_of_whole_cells_has_the_mean_of_the_features_that_are_kept() -> None:
    config = dataclasses.replace(CONFIG, methods=("superpixels",), keep=("features",))
    row = check_same_rows(config)[3]
    grid = (row["grid_h"], row["grid_w"])
    kept = np.array(row["features"]).reshape(*grid, -1)
    unit = kept / np.linalg.norm(kept, axis=-1, keepdims=True)
    inner = 0
    for segment in row["segments"]:
        inside = coco_mask.decode(segment["rle"])[:96, :112].reshape(6, 16, 7, 16)[:, 0, :, 0] > 0
        right, bottom = np.add(segment["bbox"][:2], segment["bbox"][2:])
        if right <= 96 and bottom <= 80:  # the remainder counts with the cells beside it
            inner += 1
            np.testing.assert_allclose(segment["feature"], unit[inside].mean(axis=0), atol=2e-3)
    assert inner > 3


def check_same_rows(config: SegmentConfig) -> list[Row]:
    """The rows of the stage apart, which are those of the actor."""
    expected = segment_block(decoded(), Engine(config, BACKBONE, "cpu"))
    handed_over = spectra(config)
    assert handed_over.schema == SPECTRA
    cell = config.spectral.cell(BACKBONE.patch_size)
    found = masked_block(handed_over, Masking(config, cell))
    assert found.schema == SEGMENTED
    rows: list[Row] = found.to_pylist()
    assert rows == expected.to_pylist()
    assert any(row["segments"] for row in rows) or not config.methods
    return rows


@pytest.mark.parametrize("methods", [("superpixels",), ("instances", "primaps"), ()])
def test_without_eigenvectors_masks_and_views_apart_are_those_of_the_actor(
    methods: tuple[Method, ...],
) -> None:
    config = dataclasses.replace(CONFIG, methods=methods, keep=("views",))
    row, *_ = check_same_rows(config)
    assert row["eigenvalues"] is None and row["dense_fallback"] is None
    assert row["features"] and row["views"] and row["feature_scale"] > 0


def test_features_are_handed_over_where_something_needs_those_of_the_cells() -> None:
    without = dataclasses.replace(CONFIG, methods=("objects", "regions"), describe="none")
    assert spectra(without)["features"].null_count == 4
    finer = dataclasses.replace(without, spectral=SpectralConfig(downsample_factor=8))
    for needs in (
        {"methods": ("instances", "objects")},
        {"methods": ("superpixels",)},
        {"describe": "mean"},
        {"keep": ("features",)},
    ):
        for row in spectra(dataclasses.replace(finer, **needs)).to_pylist():
            features, vectors = row["features"], row["vectors"]
            assert (features is None) == (vectors is None)
            if features is not None:
                cells = row["grid_h"] * row["grid_w"]
                assert len(features) % cells == 0 and len(features) // cells > 5
                assert max(map(abs, features)) == 1  # half precision holds no large numbers


@pytest.mark.parametrize("column", ["vectors", "features"])
def test_an_image_that_raises_is_an_error_row_alone(column: str) -> None:
    config = dataclasses.replace(CONFIG, methods=("objects", "instances"), keep=("features",))
    handed_over = spectra(config)
    values = handed_over[column].to_pylist()
    values[0] = values[0][:-1]
    field = SPECTRA.field(column)
    damaged = handed_over.set_column(
        SPECTRA.get_field_index(column), field, pa.array(values, field.type)
    )
    rows = masked_block(damaged, Masking(config, CELL)).to_pylist()
    assert (rows[0]["error"]["code"], rows[0]["error"]["stage"]) == ("internal", "segment")
    assert rows[0]["segments"] is None and rows[0]["eigenvalues"] is None
    assert rows[0]["features"] is None and rows[3]["features"] is not None
    assert rows[3] == masked_block(handed_over, Masking(config, CELL)).to_pylist()[3]


def test_want_of_memory_is_named() -> None:
    def starved(*_: object) -> list[list[Row]]:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    _, image = next(images_of(decoded()))
    spectrum = spectra(CONFIG).to_pylist()[0]
    spectrum |= {name: np.array(spectrum[name]) for name in ("eigenvalues", "vectors", "features")}
    row = make_masks(cast(Masking, starved), image, spectrum)
    assert row["error"]["code"] == "out_of_memory"


KEEPING = dataclasses.replace(CONFIG, keep=("eigenvectors", "features", "views"))
OF_A_SPECTRUM = (
    *("grid_h", "eigenvalues", "eigenvectors", "features", "feature_scale", "views"),
    "segments",
)


def test_an_image_that_ends_its_process_is_an_error_row_without_a_spectrum(tmp_path: Path) -> None:
    environment = injected(
        tmp_path,
        "specray.pipelines.masking",
        "import os; module.Masking.__call__ = lambda self, images, *rest: os._exit(7)",
    )
    path = tmp_path / "spectra.parquet"
    pq.write_table(spectra(KEEPING), path)
    code = (
        "import sys, pyarrow.parquet as pq; from tests.pipelines import test_masks_apart as t; "
        "from specray.pipelines.masks_apart import masked_block; "
        "rows = masked_block(pq.read_table(sys.argv[1]), t.Masking(t.KEEPING, t.CELL), alone=True);"
        "print(rows.select([*t.OF_A_SPECTRUM, 'error']).slice(0, 1).to_pylist())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | environment,
        cwd=ROOT,
    )
    (row,) = ast.literal_eval(done.stdout.strip().splitlines()[-1])
    assert row.pop("error")["code"] == "crashed"
    assert row == dict.fromkeys(OF_A_SPECTRUM)


@pytest.mark.usefixtures("ray_cluster")
def test_stage_runs_in_tasks_and_passes_everything_else_through() -> None:
    handed_over = spectra(CONFIG)
    stage = MakeMasks(Masking(CONFIG, CELL), start_tally(1))
    made = ray.data.from_arrow(handed_over).map_batches(
        stage, batch_size=None, batch_format="pyarrow"
    )
    expected = masked_block(handed_over, Masking(CONFIG, CELL)).to_pylist()
    assert pa.concat_tables(ray.get(made.to_arrow_refs())).to_pylist() == expected


GRAPH = """
from specray.pipelines.cluster import start_local
from specray.pipelines.config import Method, SegmentConfig
from specray.pipelines.graph import StreamingPass
from specray.pipelines.segmenting import SegmentWork
from specray.pipelines.tally import start_tally
from specray.sources import open_store
from specray.tables.shards import Shard

start_local(3, num_gpus=1)  # only Ray believes in it
store = open_store("{folder}")
shards = [Shard(0, "part", 0, 5, "shards/0.parquet")]
config = SegmentConfig("in", "out")
stream = StreamingPass(config, store, store, shards, 16, SegmentWork(config, None, 16))
plan = stream._plan(shards, fewer=False)
stage = stream._graph(shards, plan, start_tally(1))._logical_plan.dag
names = []
while stage is not None:
    names.insert(0, stage.name)
    stage = next(iter(stage.input_dependencies), None)
print(plan.device, *names)
"""


@pytest.mark.slow
def test_a_cluster_with_a_gpu_gets_a_stage_for_masks(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", GRAPH.format(folder=tmp_path)],
        capture_output=True,
        text=True,
        check=True,
    )
    device, *stages = done.stdout.strip().splitlines()[-1].split()
    assert device == "cuda"
    mapped = [stage for stage in stages if "MapBatches" in stage]
    assert [stage[len("MapBatches(") : -1] for stage in mapped] == [
        *("Decode", "Segment", "MakeMasks", "Commit")
    ]
