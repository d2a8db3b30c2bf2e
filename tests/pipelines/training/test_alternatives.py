"""Further sets of proposals, and the features of other methods, in whole runs."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch

from specray.backbones import BackboneConfig, DescriptorBackbone, parse_projection
from specray.errors import UserError
from specray.masks import PrincipalConfig
from specray.pipelines.config import RunConfig, SegmentConfig
from specray.pipelines.derived import SegmentRun, finished_run
from specray.pipelines.predict.config import PredictConfig
from specray.pipelines.predict.job import run_predict
from specray.pipelines.resources import ResourcePlan
from specray.pipelines.segment import run_segment
from specray.pipelines.training.alternatives import alternative
from specray.pipelines.training.config import TrainPrimapsConfig
from specray.pipelines.training.index import index_of
from specray.pipelines.training.inputs import checked_inputs
from specray.pipelines.training.moments import computed_moments, kept_moments
from specray.pipelines.training.planning import training_plan
from specray.pipelines.training.samples import KeptFeatures
from specray.pipelines.training.stream import Lanes, TrainingStream
from specray.semantics.prototypes.config import EMConfig
from specray.sources import open_store
from specray.tables import read
from specray.tables.features import features_of
from tests.pipelines.training.test_job import prototypes, train

RUN = RunConfig(shard_size=8, batch_size=4, num_workers=1)


def segment(proposed: Path, output: Path, **options: Any) -> Path:
    given: dict[str, Any] = {
        "methods": ("primaps",),
        "features": BackboneConfig(backbone="descriptor"),
        "run": RUN,
    }
    run_segment(SegmentConfig(str(proposed.parent / "in"), str(output), **(given | options)))
    return output


@pytest.fixture(scope="module")
def tighter(proposed: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same images with another threshold, and no features."""
    output = tmp_path_factory.mktemp("tighter") / "out"
    return segment(proposed, output, primaps=PrincipalConfig(primap_threshold=0.9))


def opened(path: Path) -> SegmentRun:
    return finished_run(open_store(str(path)))


def test_a_batch_has_every_set_of_proposals_of_its_images(proposed: Path, tighter: Path) -> None:
    run, other = opened(proposed), opened(tighter)
    groups = index_of(run.store, [shard.name for shard in run.shards])
    both = TrainingStream(
        run.store, groups, 3, Lanes(0, 1, 4), KeptFeatures(), 16, None, [alternative(run, other)]
    )
    theirs = index_of(other.store, [shard.name for shard in other.shards])
    alone = [TrainingStream(run.store, groups, 3, Lanes(0, 1, 4), KeptFeatures(), 16, None)]
    differ = 0
    (second,) = _masks_by_image(other, theirs)
    for number in range(both.per_epoch):
        (images,), (single,) = both.batch(number), alone[0].batch(number)
        assert images.proposals.shape[0] == 2
        assert torch.equal(images.proposals[0], single.proposals[0])
        differ += int((images.proposals[0] != images.proposals[1]).any())
        for image in images.proposals[1]:
            assert image.numpy().tobytes() in second or image.flip(1).numpy().tobytes() in second
    assert differ > 0
    for stream in (both, *alone):
        stream.close()


def _masks_by_image(run: SegmentRun, groups: list[Any]) -> list[set[bytes]]:
    """Maps of the proposals of all images of a run, as it is trained on alone."""
    from specray.pipelines.training.samples import MASK_COLUMNS, samples_of
    from specray.tables.groups import ShardGroups

    found: set[bytes] = set()
    for group in groups:
        rows = ShardGroups(run.store, group.shard).read(group.number, list(MASK_COLUMNS))
        for sample in samples_of(rows.take(group.rows), 16, None, kept=False):
            found.add(np.ascontiguousarray(sample.proposals[0]).tobytes())
    return [found]


def test_runs_on_several_sets_are_those_on_each_alone(
    proposed: Path, tighter: Path, tmp_path: Path
) -> None:
    em = {"em_steps": 6, "start": "directions"}
    result = train(proposed, tmp_path / "both", proposals=(str(tighter),), num_workers=1, em=em)
    assert result["runs"] == 2
    plain = train(proposed, tmp_path / "first", num_workers=1, em=em)
    assert plain["runs"] == 1
    first, second = (prototypes(tmp_path / "both", number) for number in range(2))
    alone = prototypes(tmp_path / "first")
    np.testing.assert_allclose(first.momentum, alone.momentum, rtol=0, atol=1e-6)
    np.testing.assert_allclose(first.running, alone.running, rtol=0, atol=1e-6)
    assert not np.allclose(first.running, second.running, atol=1e-6)
    assert first.provenance["proposals"] != second.provenance["proposals"]


def test_runs_over_other_images_or_features_are_refused(proposed: Path, tmp_path: Path) -> None:
    other = segment(proposed, tmp_path / "other", run=dataclasses.replace(RUN, shard_size=5))
    config = TrainPrimapsConfig(str(proposed), "", proposals=(str(other),), em=EMConfig(batch=8))
    inputs = checked_inputs(config, opened(proposed))
    with pytest.raises(UserError, match="not of the same images"):
        alternative(inputs.run, inputs.others[0])


@pytest.fixture(scope="module")
def head(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A projection of the descriptor, with class centres."""
    random = torch.Generator().manual_seed(2)
    state = {
        "linear.weight": torch.randn(6, 258, generator=random),
        "centres": torch.randn(4, 6, generator=random),
    }
    path = tmp_path_factory.mktemp("head") / "head.safetensors"
    path.write_bytes(safetensors.torch.save(state))
    return path


@pytest.fixture(scope="module")
def projected(proposed: Path, head: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    features = BackboneConfig(backbone="descriptor", projection=str(head))
    output = tmp_path_factory.mktemp("projected") / "out"
    return segment(proposed, output, features=features, keep=("views",))


def test_masks_are_the_backbones_and_features_the_projections(
    proposed: Path, projected: Path, head: Path
) -> None:
    projection = parse_projection(head.read_bytes(), head.name)
    plain, other = read(str(proposed)), read(str(projected))
    masks = [
        [[(s["index"], s["rle"]) for s in row["segments"] or ()] for row in rows.to_pylist()]
        for rows in (plain, other)
    ]
    assert masks[0] == masks[1]
    for one, its in zip(features_of(plain), features_of(other), strict=True):
        if one is None or its is None:
            assert one is its
            continue
        real = torch.from_numpy(one.image.astype(np.float32) * one.scale)
        expected = projection(real).numpy()
        found = its.image.astype(np.float32) * its.scale
        np.testing.assert_allclose(found, expected, rtol=0, atol=2e-3 * np.abs(expected).max())
        assert its.others.shape == (5, 48, 6)
    segments = [s for row in other.to_pylist() for s in row["segments"] or ()]
    assert {len(s["feature"]) for s in segments} == {6}


def test_prototypes_begin_at_the_centres_of_the_other_method_and_are_predicted_with_its_features(
    proposed: Path, projected: Path, head: Path, tmp_path: Path
) -> None:
    train(projected, tmp_path / "model", num_workers=1, em={"start": "centres", "em_steps": 0})
    found = prototypes(tmp_path / "model")
    centres = safetensors.torch.load(head.read_bytes())["centres"]
    expected = torch.nn.functional.normalize(centres, dim=-1).numpy()
    np.testing.assert_allclose(found.momentum, expected, rtol=0, atol=1e-6)
    options: dict[str, Any] = {"refine": "none", "run": RunConfig(shard_size=8, num_workers=1)}
    where = (str(tmp_path / "model" / "prototypes.safetensors"), str(proposed.parent / "in"))
    with pytest.raises(UserError, match="name it with --projection"):
        run_predict(PredictConfig(*where, str(tmp_path / "maps"), **options))
    result = run_predict(
        PredictConfig(*where, str(tmp_path / "maps"), projection=str(head), **options)
    )
    assert (result["images"], result["errors"]) == (28, 1)


def test_what_has_no_centres_cannot_begin_there(proposed: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--projection that has class centres"):
        train(proposed, tmp_path, em={"start": "centres"})
    with pytest.raises(ValueError, match="--runs 1"):
        TrainPrimapsConfig("a", "b", runs=2, em=EMConfig(start="centres"))


def test_a_projection_of_other_channels_is_refused_before_anything_is_written(
    proposed: Path, tmp_path: Path
) -> None:
    path = tmp_path / "other.safetensors"
    path.write_bytes(safetensors.torch.save({"linear.weight": torch.zeros(6, 192)}))
    features = BackboneConfig(backbone="descriptor", projection=str(path))
    with pytest.raises(UserError, match="takes 192 channels"):
        segment(proposed, tmp_path / "out", features=features)
    assert not (tmp_path / "out").exists()


def test_directions_of_computed_features_are_those_of_kept_ones(
    proposed: Path, tighter: Path
) -> None:
    run, bare = opened(proposed), opened(tighter)
    config = TrainPrimapsConfig(str(tighter), "", em=EMConfig(4, "directions", batch=8))
    resources = ResourcePlan("cpu", 2)
    plan = training_plan(config, checked_inputs(config, bare), bare.store, resources)
    kept = kept_moments(run.store, [shard.name for shard in run.shards])
    recomputed = plan.pairs.recomputed
    assert recomputed is not None
    shards = [shard.name for shard in bare.shards]
    found = computed_moments(bare.store, shards, recomputed, 16, resources)
    assert found.count == kept.count
    scale = np.abs(kept.outer).max()
    np.testing.assert_allclose(found.outer, kept.outer, rtol=0, atol=2e-3 * scale)
    assert plan.start.shape == (1, 4, DescriptorBackbone()(torch.zeros(1, 3, 16, 16)).shape[-1])
