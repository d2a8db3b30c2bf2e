"""Ground truth that looks on: scores, the probe, and what is left alone."""

from __future__ import annotations

import dataclasses
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image

from specray.datasets.label_spaces import numbered
from specray.errors import UserError
from specray.masks import ImageGeometry
from specray.pipelines.derived import SegmentRun, finished_run
from specray.pipelines.training.config import DiagnosisConfig, TrainPrimapsConfig
from specray.pipelines.training.diagnosis import Diagnosis, DiagnosisPlan
from specray.pipelines.training.index import index_of
from specray.pipelines.training.samples import KeptFeatures, draw
from specray.pipelines.training.stream import Lanes, TrainingStream
from specray.pipelines.truth import TruthMaps
from specray.semantics.prototypes.config import EMConfig
from specray.semantics.prototypes.em import PrototypeEM
from specray.sources import open_store
from specray.tables import read
from specray.tables.features import features_of
from tests.pipelines.conftest import IMAGES
from tests.pipelines.photographs import HEIGHT, WIDTH
from tests.pipelines.training.test_job import prototypes, train

CLASSES = 3


@pytest.fixture(scope="session")
def truth(proposed: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of the photographs: how bright a pixel is, and a border that does not count."""
    folder = tmp_path_factory.mktemp("truth")
    for path in sorted((proposed.parent / "in").glob("*/0*.jpg")):
        grey = np.asarray(Image.open(path).convert("L"))
        labels = np.minimum(grey // 86, CLASSES - 1).astype(np.uint8)
        labels[:4] = 255
        target = folder / path.parent.name / f"{path.stem}.png"
        target.parent.mkdir(exist_ok=True)
        Image.fromarray(labels).save(target)
    return folder


@pytest.fixture(scope="module")
def run(proposed: Path) -> SegmentRun:
    return finished_run(open_store(str(proposed)))


def plan_of(run: SegmentRun, truth: Path) -> DiagnosisPlan:
    maps = TruthMaps(open_store(str(truth)), numbered(CLASSES))
    groups = index_of(run.store, [shard.name for shard in run.shards])
    return DiagnosisPlan(maps, maps, run.store, groups, 16, None)


def fitted(channels: int = 258) -> PrototypeEM:
    start = torch.randn(2, 4, channels, generator=torch.Generator().manual_seed(0))
    return PrototypeEM(start, EMConfig(4))


def test_scores_are_those_of_maps_that_are_made_one_by_one(run: SegmentRun, truth: Path) -> None:
    trainer, cpu = fitted(), torch.device("cpu")
    found = Diagnosis(plan_of(run, truth), trainer, 0, 1, None, cpu).score(0)
    rows = [row for row in read(run.store.uri).to_pylist() if row["error"] is None]
    table = read(run.store.uri)
    features = {
        row["key"]: own
        for row, own in zip(table.to_pylist(), features_of(table), strict=True)
        if own is not None
    }
    head = F.normalize(trainer.vectors[1], dim=-1).float()
    matrix = np.zeros((4, CLASSES))
    for row in rows:
        own = features[row["key"]]
        image = torch.from_numpy(own.image.astype(np.float32) * own.scale)
        scores = (image @ head.T).T.reshape(1, 4, *own.grid)
        up = F.interpolate(scores, (HEIGHT, WIDTH), mode="bilinear", align_corners=False)
        labels = up.argmax(1)[0].numpy()
        true = np.asarray(Image.open((truth / row["key"]).with_suffix(".png")))
        for cluster in range(4):
            for cls in range(CLASSES):
                matrix[cluster, cls] += ((labels == cluster) & (true == cls)).sum()
    from scipy.optimize import linear_sum_assignment

    pairs = linear_sum_assignment(matrix, maximize=True)
    assert found["momentum"][1].accuracy == pytest.approx(matrix[pairs].sum() / matrix.sum())


def test_parts_of_the_images_add_up_to_all_of_them(run: SegmentRun, truth: Path) -> None:
    plan, trainer, cpu = plan_of(run, truth), fitted(), torch.device("cpu")
    kept: list[torch.Tensor] = []

    def keep(counts: torch.Tensor) -> torch.Tensor:
        kept.append(counts)
        return counts

    whole = Diagnosis(plan, trainer, 0, 1, keep, cpu).score(0)
    for rank in range(3):
        Diagnosis(plan, trainer, rank, 3, keep, cpu).score(0)
    assert torch.equal(kept[0], kept[1] + kept[2] + kept[3])
    assert whole["momentum"] == whole["running"]


def test_true_classes_turn_with_their_images(run: SegmentRun, truth: Path) -> None:
    plan = plan_of(run, truth)
    known: dict[bytes, tuple[str, bool]] = {}
    for path in truth.glob("*/*.png"):
        labels = np.asarray(Image.open(path))
        key = f"{path.parent.name}/{path.stem}.jpg"
        known[labels.tobytes()] = (key, False)
        known[np.ascontiguousarray(labels[:, ::-1]).tobytes()] = (key, True)
    stream = TrainingStream(
        run.store, plan.groups, 3, Lanes(0, 1, 1), KeptFeatures(), 16, None, (), plan.training
    )
    turned = []
    for number in range(IMAGES):
        (images,) = stream.batch(number)
        assert images.truth is not None
        key, mirrored = known[images.truth[0].numpy().tobytes()]
        assert mirrored == draw(3, 0, key).mirrored
        turned.append(mirrored)
    stream.close()
    assert 0 < sum(turned) < IMAGES


def test_nothing_of_the_truth_reaches_the_prototypes_whoever_looks_on(
    proposed: Path, truth: Path, tmp_path: Path
) -> None:
    options: dict[str, Any] = {"checkpoint_every": 5, "em": {"em_steps": 11}}
    diagnosis = DiagnosisConfig(str(truth), CLASSES)
    plain = train(proposed, tmp_path / "plain", num_workers=1, **options)
    known = train(proposed, tmp_path / "known", num_workers=1, diagnosis=diagnosis, **options)
    shared = train(proposed, tmp_path / "shared", num_workers=2, diagnosis=diagnosis, **options)
    assert "by_ground_truth" not in plain
    names = ("momentum", "running")
    for name in names:
        one, other = (getattr(prototypes(tmp_path / at), name) for at in ("plain", "known"))
        np.testing.assert_array_equal(one, other)
    found, again = known["by_ground_truth"], shared["by_ground_truth"]
    assert found["last"].keys() == {"momentum", "running", "probe"}
    for head, (scores,) in found["last"].items():
        assert 0 < scores["miou"] < 1
        assert scores["accuracy"] == pytest.approx(again["last"][head][0]["accuracy"], abs=1e-4)
    (best,) = found["best_momentum"]
    assert best["step"] in (5, 10, 11) and best["miou"] >= found["last"]["momentum"][0]["miou"]
    name = "prototypes-best-by-ground-truth.safetensors"
    assert not (tmp_path / "plain" / name).exists()
    chosen = dataclasses.asdict(prototypes_at(tmp_path / "known" / name))["provenance"]
    assert chosen["chosen_by_ground_truth"] == best


def prototypes_at(path: Path) -> Any:
    from specray.semantics.prototypes.classifier import Classifier

    return Classifier.from_bytes(path.read_bytes())


def png(array: NDArray[Any]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (None, "there is no a/x.png"),
        (b"no picture", "is no PNG"),
        (png(np.zeros((4, 6, 3), np.uint8)), "has colours"),
        (png(np.zeros((4, 5), np.uint8)), "has 5 x 4 pixels, its image 6 x 4"),
    ],
)
def test_truth_that_is_none_is_refused_in_one_line(
    data: bytes | None, message: str, tmp_path: Path
) -> None:
    (tmp_path / "a").mkdir()
    if data is not None:
        (tmp_path / "a" / "x.png").write_bytes(data)
    maps = TruthMaps(open_store(str(tmp_path)), numbered(2))
    with pytest.raises(UserError, match=message) as caught:
        maps("a/x.jpg", ImageGeometry(4, 6, 4, 6, 2, 2, 3))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"validation": "v"}, "--validation needs --truth"),
        ({"truth": "t"}, "either --truth-classes or --truth-space"),
        ({"truth": "t", "truth_classes": 3, "truth_space": "isprs"}, "either"),
        ({"truth": "t", "truth_classes": 300}, "from 2 to 255"),
    ],
)
def test_flags_that_do_not_go_together_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TrainPrimapsConfig("a", "b", diagnosis=DiagnosisConfig(**options))
