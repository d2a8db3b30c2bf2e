"""Whole runs of train-primaps, on Ray Train."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from specray.errors import UserError
from specray.pipelines.config import WorkersConfig
from specray.pipelines.training.config import TrainPrimapsConfig
from specray.pipelines.training.job import run_train_primaps
from specray.semantics.prototypes.classifier import Classifier
from specray.semantics.prototypes.config import EMConfig
from specray.sources import open_store
from tests.pipelines.conftest import IMAGES
from tests.pipelines.spreading import spread


def train(segments: Path, output: object, **options: Any) -> dict[str, Any]:
    em = EMConfig(**{"classes": 4, "batch": 8, "em_steps": 12} | options.pop("em", {}))
    where = (str(segments), str(output))
    return run_train_primaps(TrainPrimapsConfig(*where, em=em, **spread(options)))


def prototypes(output: Path, number: int = 0) -> Classifier:
    name = "prototypes" if number == 0 else f"prototypes-{number}"
    return Classifier.from_bytes((output / f"{name}.safetensors").read_bytes())


def test_one_worker_and_two_fit_the_same_prototypes(proposed: Path, tmp_path: Path) -> None:
    options: dict[str, Any] = {"runs": 2, "em": {"start": "directions"}}
    results = [
        train(proposed, tmp_path / str(workers), num_workers=workers, **options)
        for workers in (1, 2)
    ]
    assert [result["workers"] for result in results] == [1, 2]
    assert results[0]["images"] == IMAGES
    for number in range(2):
        one, other = (prototypes(tmp_path / name, number) for name in ("1", "2"))
        np.testing.assert_allclose(one.momentum, other.momentum, rtol=0, atol=1e-6)
        np.testing.assert_allclose(one.running, other.running, rtol=0, atol=1e-6)
    first, second = (prototypes(tmp_path / "1", number) for number in range(2))
    assert not np.array_equal(first.momentum, second.momentum)
    assert first.features["backbone"] == "descriptor"
    assert list((tmp_path / "1" / "tensorboard").iterdir())
    # again: nothing is trained, and nothing changes
    before = (tmp_path / "1" / "prototypes.safetensors").read_bytes()
    assert train(proposed, tmp_path / "1", num_workers=2, **options) == results[0]
    assert (tmp_path / "1" / "prototypes.safetensors").read_bytes() == before
    with pytest.raises(UserError, match="another configuration"):
        train(proposed, tmp_path / "1", em={"em_steps": 2})


def test_the_setting_of_the_paper_runs_through_both_phases_into_a_bucket(
    proposed: Path, s3_server: str, s3_bucket: str
) -> None:
    paper = {"start": "directions", "kmeans": "sgd", "kmeans_steps": 5, "weighting": "pixels"}
    output = f"s3://{s3_bucket}/model"
    options: dict[str, Any] = {"checkpoint_every": 4, "features": "computed", "em": paper}
    result = train(proposed, output, endpoint=s3_server, **options)
    assert (result["steps"], result["features"]) == (17, "computed")
    store = open_store(output, s3_server)
    assert json.loads(store.read("run.json").data)["status"] == "finished"
    assert Classifier.from_bytes(store.read("prototypes.safetensors").data).classes == 4
    keys = [entry.key for entry in store.list()]
    assert any(key.startswith("tensorboard/") for key in keys)
    states = [key for key in keys if key.startswith("checkpoints/")]
    assert {key.split("/")[2] for key in states if "step-" in key} == {
        "step-00000016",
        "step-00000017",
    }


def test_passes_of_lloyd_end_when_nothing_is_gained(proposed: Path, tmp_path: Path) -> None:
    left = [tmp_path / name for name in ("checkpoints/old/step-00000001/state.pt", "prototypes-7")]
    for path in left:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    lloyd = {"start": "directions", "kmeans": "lloyd", "kmeans_steps": 300, "em_steps": 2}
    result = train(proposed, tmp_path, em=lloyd, num_workers=1, overwrite=True)
    assert not any(path.exists() for path in left)
    assert result["steps"] == 302  # the numbers of passes that were not needed are passed over


def test_what_cannot_be_trained_is_refused_in_one_line(proposed: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="fewer than --batch"):
        train(proposed, tmp_path, em={"batch": 500})
    with pytest.raises(UserError, match="lies inside"):
        train(proposed, proposed / "model")
    assert not list(tmp_path.iterdir())


def test_workers_that_do_not_divide_the_batch_are_refused() -> None:
    with pytest.raises(ValueError, match="does not divide"):
        TrainPrimapsConfig("a", "b", workers=WorkersConfig(num_workers=3))
