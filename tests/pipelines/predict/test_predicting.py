"""The stages of a prediction without Ray: one row per image, wherever it is made."""

from __future__ import annotations

import dataclasses
import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import ray
import skimage.data
from numpy.typing import NDArray
from PIL import Image
from pycocotools import mask as coco_mask

from specray.backbones import BackboneConfig
from specray.masks import PRIMAPS_CRF, RefineConfig
from specray.masks.config import Refine
from specray.pipelines.blocks import DECODED, SPECTRA
from specray.pipelines.config import SegmentConfig
from specray.pipelines.masks_apart import finished_block
from specray.pipelines.predict.maps import MakeMap
from specray.pipelines.predict.predicting import PREDICTED, PredictWork
from specray.pipelines.preparing import Prepared
from specray.pipelines.segmenting import segment_block
from specray.pipelines.tally import start_tally
from specray.tables.rows import Row
from tests.pipelines.predict.cases import CLASSES, prototypes, vit, vit_features


@pytest.fixture(scope="module")
def work(vit_tiny: Path) -> PredictWork:
    """Prototypes on ViT-Tiny, without a CRF."""
    features = vit_features(vit_tiny)
    backbone = BackboneConfig("vit_tiny_patch16_224", str(vit_tiny), "token")
    config = SegmentConfig(
        "", "", methods=(), describe="none", keep=("features",), features=backbone
    )
    make = MakeMap(RefineConfig("none", crf=PRIMAPS_CRF), 16, confidence=True)
    return PredictWork(config, features["weights"], prototypes(vit(vit_tiny)), True, make)


def labels(row: Row) -> NDArray[np.int64]:
    """(H, W) classes of a row whose masks are disjoint and cover the image."""
    masks = [coco_mask.decode(s["rle"]).astype(np.int64) for s in row["segments"]]
    assert (np.sum(masks, axis=0) == 1).all()
    shown = zip(row["segments"], masks, strict=True)
    classes: NDArray[np.int64] = np.sum([s["index"] * mask for s, mask in shown], axis=0)
    return classes


def confidence(row: Row) -> NDArray[np.uint8]:
    """(H, W) in steps of 256."""
    return np.asarray(Image.open(io.BytesIO(row["confidence"])))


def test_the_map_of_the_mirror_image_is_the_mirrored_map(work: PredictWork) -> None:
    pixels = np.ascontiguousarray(skimage.data.astronaut()[:160, 100:324])
    turned = np.ascontiguousarray(pixels[:, ::-1])
    engine = work.maker("cpu")()
    one, other = engine([Prepared("a", pixels, 160, 224), Prepared("b", turned, 160, 224)])
    assert len(one["segments"]) > 2
    np.testing.assert_array_equal(labels(one), labels(other)[:, ::-1])
    difference = confidence(one).astype(int) - confidence(other)[:, ::-1]
    assert abs(difference).max() <= 1  # rounded


def test_without_the_mirror_image_it_is_another(work: PredictWork) -> None:
    pixels = np.ascontiguousarray(skimage.data.astronaut()[:160, 100:324])
    turned = np.ascontiguousarray(pixels[:, ::-1])
    engine = dataclasses.replace(work, mirror=False).maker("cpu")()
    one, other = engine([Prepared("a", pixels, 160, 224), Prepared("b", turned, 160, 224)])
    assert (labels(one) != labels(other)[:, ::-1]).any()


def decoded() -> pa.Table:
    """A photograph with remainders, half the size of the original; an error; an unused place."""
    photograph = np.ascontiguousarray(skimage.data.chelsea()[:200:2, :250:2])
    row: Row = {"key": "a.jpg", "height": 200, "width": 250, "size": 1, "etag": "e"}
    pixels = {"pixels_h": 100, "pixels_w": 125, "pixels": photograph.tobytes()}
    error = {"code": "corrupt", "stage": "decode", "message": "damaged"}
    rows: list[Row] = [row | pixels, {"key": "b.jpg", "error": error}, {"key": None}]
    return pa.Table.from_pylist([{"shard": "s", "shard_rows": 2} | r for r in rows], DECODED)


@pytest.mark.parametrize("refine", ["none", "fast", "crf"])
def test_maps_beside_an_accelerator_are_those_of_the_actor(
    work: PredictWork, refine: Refine
) -> None:
    make = dataclasses.replace(work.make, refinement=RefineConfig(refine, crf=PRIMAPS_CRF))
    work = dataclasses.replace(work, make=make)
    alone = work.maker("cpu")
    together = segment_block(decoded(), alone(), alone.block)
    beside = dataclasses.replace(alone, maps=False)
    scored = segment_block(decoded(), beside(), SPECTRA)
    apart = finished_block(scored, make, PREDICTED, alone=False)
    assert apart.to_pylist() == together.to_pylist()
    row, error, unused = together.to_pylist()
    assert labels(row).shape == (200, 250)
    assert confidence(row).shape == (100, 125)
    assert {s["index"] for s in row["segments"]} <= set(range(CLASSES))
    assert (error["error"]["code"], error["segments"]) == ("corrupt", None)
    assert unused["key"] is None


@pytest.mark.usefixtures("ray_cluster")
def test_stage_runs_in_tasks_and_passes_everything_else_through(work: PredictWork) -> None:
    beside = dataclasses.replace(work.maker("cpu"), maps=False)
    scored = segment_block(decoded(), beside(), SPECTRA)
    stage = work.finishing("cuda", start_tally(1))
    assert stage is not None
    made = ray.data.from_arrow(scored).map_batches(stage, batch_size=None, batch_format="pyarrow")
    expected = finished_block(scored, work.make, PREDICTED, alone=False).to_pylist()
    assert pa.concat_tables(ray.get(made.to_arrow_refs())).to_pylist() == expected


def test_an_image_whose_map_fails_is_an_error_row(work: PredictWork) -> None:
    image = Prepared("a", np.zeros((32, 32, 3), np.uint8), 32, 32)
    damaged = {"grid_h": 2, "grid_w": 2, "features": np.zeros(5, np.float16), "feature_scale": 1.0}
    row = work.make(image, damaged)
    assert (row["error"]["code"], row["error"]["stage"]) == ("internal", "segment")
    assert "segments" not in row
