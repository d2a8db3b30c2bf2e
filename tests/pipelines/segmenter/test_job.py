"""Whole runs of train-segmenter, on Ray Data and Ray Train."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from specray.errors import UserError
from specray.pipelines.config import RunConfig
from specray.pipelines.labelled import label_run
from specray.pipelines.predict.config import PredictConfig
from specray.pipelines.predict.job import run_predict
from specray.pipelines.report import ReportConfig, run_report
from specray.pipelines.segmenter.config import TrainSegmenterConfig
from specray.pipelines.segmenter.crops import CropPlan, MakeCrops, crop_batches
from specray.pipelines.segmenter.job import run_train_segmenter
from specray.pipelines.training.index import index_of
from specray.pipelines.training.stream import Lanes
from specray.semantics.segmenter.config import NetworkConfig, SegmenterConfig
from specray.semantics.segmenter.segmenter_file import Segmenter
from specray.sources import open_store
from specray.tables import read
from tests.pipelines.segmenter.cases import ENCODER, IMAGES
from tests.pipelines.spreading import spread

STEPS, BATCH = 5, 6
TRAINING = SegmenterConfig(
    steps=STEPS, batch=BATCH, learning_rate=1e-3, short_side=64, crop=48, class_balance=0.5
)
NETWORK = NetworkConfig("vit-decoder", ENCODER)


def train(labelled: Path, output: Path, encoder: Path, **options: Any) -> dict[str, Any]:
    given: dict[str, Any] = {"network": NETWORK, "training": TRAINING, "weights": str(encoder)}
    return run_train_segmenter(
        TrainSegmenterConfig(str(labelled), str(output), **spread(given | options))
    )


def segmenter(output: Path) -> Segmenter:
    return Segmenter.from_bytes((output / "segmenter.safetensors").read_bytes())


def plan(labelled: Path, **training: Any) -> CropPlan:
    labels = label_run(str(labelled), None, None)
    groups = index_of(labels.run.store, [shard.name for shard in labels.run.shards])
    config = dataclasses.replace(TRAINING, **training)
    store, ids = labels.run.store, labels.ids
    return CropPlan(store, groups, labels.images, ids, labels.has_confidence, config, 3, 10**7)


def test_workers_share_the_batches_of_one_and_go_on_where_one_has_ended(labelled: Path) -> None:
    crops = plan(labelled, confidence_weights=True)
    whole = list(crop_batches(crops, Lanes(0, 1, BATCH), 0, STEPS))
    assert len(whole) == STEPS > crops.per_epoch == IMAGES // BATCH
    late = list(crop_batches(crops, Lanes(0, 1, BATCH), 3, STEPS))
    assert list(whole[0]) == ["image", "labels", "seed", "confidence"]
    for number, batch in enumerate(whole):
        for name, array in batch.items():
            if number >= 3:
                np.testing.assert_array_equal(array, late[number - 3][name])
    for workers in (2, 4):  # four do not divide the batch
        lanes = [Lanes(rank, workers, BATCH) for rank in range(workers)]
        parts = [MakeCrops(crops, own)({"item": np.arange(STEPS)}) for own in lanes]
        for number, batch in enumerate(whole):
            for name, array in batch.items():
                together = np.concatenate(
                    [
                        part[name][number * len(own.places) : (number + 1) * len(own.places)]
                        for own, part in zip(lanes, parts, strict=True)
                    ]
                )
                np.testing.assert_array_equal(array, together)
    epoch = np.concatenate([batch["seed"] for batch in whole[: crops.per_epoch]])
    assert len(set(epoch.tolist())) == IMAGES  # each image once


def test_one_worker_and_two_train_the_same_network_which_predict_applies(
    labelled: Path, encoder: Path, tmp_path: Path
) -> None:
    results = [
        train(labelled, tmp_path / str(workers), encoder, num_workers=workers, checkpoint_every=2)
        for workers in (1, 2)
    ]
    assert [result["workers"] for result in results] == [1, 2]
    assert (results[0]["images"], results[0]["steps"], results[0]["classes"]) == (IMAGES, STEPS, 5)
    one, other = (segmenter(tmp_path / name).build() for name in ("1", "2"))
    image = torch.randint(0, 256, (1, 3, 64, 80), generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        np.testing.assert_allclose(one(image), other(image), rtol=0, atol=1e-4)
    assert list((tmp_path / "1" / "tensorboard").iterdir())
    # again: nothing is trained
    before = (tmp_path / "1" / "segmenter.safetensors").read_bytes()
    assert train(labelled, tmp_path / "1", encoder, num_workers=2, checkpoint_every=2) == results[0]
    assert (tmp_path / "1" / "segmenter.safetensors").read_bytes() == before
    with pytest.raises(UserError, match="another configuration"):
        train(labelled, tmp_path / "1", encoder, seed=1)

    where = (str(tmp_path / "1" / "segmenter.safetensors"), str(labelled.parent / "in"))
    run = RunConfig(shard_size=8, num_workers=1)
    maps = str(tmp_path / "maps")
    result = run_predict(PredictConfig(*where, maps, refine="none", confidence=True, run=run))
    assert (result["images"], result["errors"], result["classes"]) == (IMAGES + 1, 1, 5)
    for row in read(maps).to_pylist():
        if row["error"] is None:
            assert sum(s["area"] for s in row["segments"]) == row["height"] * row["width"]
    report = run_report(ReportConfig(maps))
    assert report["classes"] == 5
    record = json.loads(open_store(maps).read("run.json").data)
    assert record["decisive"]["segmenter"] == record["weights"]["sha256"]
    with pytest.raises(UserError, match="has its weights with it"):
        run_predict(PredictConfig(*where, str(tmp_path / "more"), weights=str(encoder), run=run))


def test_what_cannot_be_trained_is_refused_in_one_line(
    labelled: Path, encoder: Path, tmp_path: Path
) -> None:
    many = dataclasses.replace(TRAINING, batch=100)
    with pytest.raises(UserError, match="fewer than --batch"):
        train(labelled, tmp_path / "out", encoder, training=many)
    with pytest.raises(UserError, match="lies inside"):
        train(labelled, labelled / "net", encoder)
    with pytest.raises(UserError, match="do not fit"):
        other = NetworkConfig("vit-linear", "vit_tiny_patch16_224")
        train(labelled, tmp_path / "out", encoder, network=other)
    with pytest.raises(ValueError, match="needs --weights"):
        TrainSegmenterConfig("a", "b")
    with pytest.raises(ValueError, match="does not divide"):
        train(labelled, tmp_path / "out", encoder, num_workers=4)


def test_a_photograph_that_is_gone_ends_the_training_in_one_line(
    labelled: Path, encoder: Path, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=r"cannot read [ab]/\d+\.jpg") as caught:
        train(
            labelled,
            tmp_path / "out",
            encoder,
            images=str(tmp_path / "empty"),
            num_workers=1,
            max_failures=0,
        )
    assert "\n" not in str(caught.value)
