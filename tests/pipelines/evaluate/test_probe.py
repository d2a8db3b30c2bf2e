"""The linear probe: what scikit-learn's ridge makes of the same patches, on the other half."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.linear_model import RidgeClassifier
from sklearn.metrics import accuracy_score

from specray.datasets import DatasetConfig, stem
from specray.pipelines.evaluate.config import EvaluateConfig
from specray.pipelines.evaluate.job import run_evaluate
from specray.pipelines.evaluate.tasks.probe import half_of
from specray.tables import read
from specray.tables.features import features_of
from tests.pipelines.conftest import IMAGES

CLASSES = 3


def test_the_probe_is_a_ridge_of_the_other_half(proposed: Path, tmp_path: Path) -> None:
    truth = tmp_path / "truth"
    patches: dict[int, list[tuple[np.ndarray, np.ndarray]]] = {0: [], 1: []}
    rows = read(str(proposed))
    for row, own in zip(rows.to_pylist(), features_of(rows), strict=True):
        path = (truth / row["key"]).with_suffix(".png")
        path.parent.mkdir(parents=True, exist_ok=True)
        if own is None:
            Image.fromarray(np.zeros((96, 128), np.uint8)).save(path)
            continue
        size = row["height"], row["width"]
        cell = size[0] // own.grid[0]
        # whole patches of a class: that of their brightness
        with Image.open(proposed.parent / "in" / row["key"]) as image:
            grey = np.asarray(image.convert("L"), np.float64)
        whole = grey[: own.grid[0] * cell, : own.grid[1] * cell]
        means = whole.reshape(own.grid[0], cell, own.grid[1], cell).mean(axis=(1, 3))
        classes = np.digitize(means, [100, 160]).astype(np.uint8)
        full = np.full(size, 255, np.uint8)
        full[: own.grid[0] * cell, : own.grid[1] * cell] = classes.repeat(cell, 0).repeat(cell, 1)
        Image.fromarray(full).save(path)
        unit = own.image.astype(np.float32)
        unit /= np.linalg.norm(unit, axis=1, keepdims=True)
        patches[half_of(stem(row["key"]))].append((unit, classes.ravel()))

    config = EvaluateConfig(
        (str(proposed),),
        str(tmp_path / "scores"),
        tasks=("probe",),
        truth=DatasetConfig(str(truth), truth_classes=CLASSES),
        bootstrap=10,
        num_workers=2,
    )
    result = run_evaluate(config)
    assert (result["images"], result["failed"]) == (IMAGES + 1, 1)

    found, true = [np.full(96 * 128, -1)], [np.zeros(96 * 128)]  # the broken one is wrong
    for half, others in ((0, 1), (1, 0)):
        fitted = RidgeClassifier(alpha=1.0)
        seen = [np.concatenate(each) for each in zip(*patches[others], strict=True)]
        fitted.fit(*seen)
        for unit, classes in patches[half]:
            found.append(np.repeat(fitted.predict(unit), cell**2))
            true.append(np.repeat(classes, cell**2))
    oracle = accuracy_score(np.concatenate(true), np.concatenate(found))
    # features are rounded to 17 bits: a patch between two classes may fall to the other
    assert result["figures"]["probe.accuracy"] == pytest.approx(oracle, abs=0.002)
    assert oracle > result["figures"]["probe.miou"] > 0
