"""What stages are told: their sections, with the places and what follows from others filled in."""

from __future__ import annotations

import dataclasses
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from specray.backbones import BackboneConfig
from specray.errors import UserError
from specray.flags import parse_stages
from specray.pipelines.config import ImageConfig, RunConfig, SegmentConfig
from specray.pipelines.predict.config import PredictConfig
from specray.pipelines.road.config import PipelineConfig, RoadConfig
from specray.pipelines.road.stages import Stages

TINY = BackboneConfig(backbone="vit_tiny_patch16_224", weights="tiny.safetensors")


def config(*flags: str) -> PipelineConfig:
    given = ["--input", "in", "--output", "out", *flags]
    found: PipelineConfig = parse_stages(PipelineConfig, "specray run", given)
    return found


def test_flags_and_sections_reach_their_stages_and_flags_are_the_stronger(tmp_path: Path) -> None:
    file = tmp_path / "road.yaml"
    file.write_text(
        "input: in\noutput: out\nrounds: 3\nlabel: {clusters: {classes: 5}, source: regions}\n"
        "train_segmenter: {network: {trainable: 0}, training: {steps: 9}}\n"
    )
    found = parse_stages(
        PipelineConfig,
        "specray run",
        ["--config", str(file), "--label.classes", "7", "--train-segmenter.batch=8", "--seed", "4"],
    )
    assert (found.road.rounds, found.road.seed) == (3, 4)
    assert (found.label.clusters.classes, found.label.source) == (7, "regions")
    network, training = found.train_segmenter.network, found.train_segmenter.training
    assert (network.trainable, training.steps, training.batch) == (0, 9, 8)
    assert network.network == "vit-decoder"  # the default of the job alone is another


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--label.output", "x"), "--output of label is filled in"),
        (("--predict.model=x",), "--model of predict is filled in"),
        (("--labels", "primaps"), "needs --segment.methods primaps"),
        (("--label.source", "regions", "--segment.methods", "superpixels"), "methods regions"),
        (("--label.source", "patches"), "--segment.keep features"),
        (("--segment.backbone", "descriptor"), "no network to train"),
        (("--evaluate.truth", "nowhere", "--evaluate.truth-classes", "3"), "ends in .png"),
        (("--labels", "none"), "pass --rounds 0"),
    ],
)
def test_stages_that_do_not_fit_are_refused_before_anything_is_done(
    flags: tuple[str, ...], message: str
) -> None:
    with pytest.raises(UserError, match=message) as caught:
        Stages(config(*flags)).check()
    assert "\n" not in str(caught.value)


def test_a_section_that_is_none_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "road.yaml"
    file.write_text("label: 3\n")
    with pytest.raises(UserError, match="'label' must be a mapping"):
        config("--config", str(file))


def test_every_stage_reads_what_the_one_before_has_written() -> None:
    road = RoadConfig("s3://b/in", "s3://b/out/", endpoint="http://h", seed=3)
    stages = Stages(PipelineConfig(road, segment=SegmentConfig("", "", features=TINY)))
    chain: list[Any] = [stages.segment(), stages.label(), stages.train_segmenter(1)]
    for one, other in pairwise(chain):
        assert one.output == other.input
    assert stages.predict(1).model == f"{chain[-1].output}/segmenter.safetensors"
    assert stages.train_segmenter(2).input == stages.predict(1).output
    assert stages.evaluate(1).input == (stages.predict(1).output,)
    places = [each.output for each in (*chain, stages.predict(1), stages.evaluate(1))]
    assert len(set(places)) == 5 and all(place.startswith("s3://b/out/") for place in places)
    assert not any("//" in place.removeprefix("s3://") for place in places)
    assert {each.seed for each in chain} == {3}
    endpoints = (stages.segment().run, stages.label(), stages.predict(2).run, stages.evaluate(0))
    assert {each.endpoint for each in endpoints} == {"http://h"}


def test_test_images_are_labelled_by_what_was_learnt_and_scored_instead() -> None:
    flags = ("--test", "held", "--segment.limit", "5", "--seed", "2", "--test-keys", "some.txt")
    stages = Stages(config(*flags))
    segment, label, network = stages.segment_test(), stages.label_test(), stages.predict_test(1)
    assert (segment.input, segment.images.limit, segment.seed) == ("held", None, 2)
    assert segment.images.keys == network.images.keys == "some.txt"
    assert (label.input, label.images) == (segment.output, "held")
    assert label.codebook == f"{stages.label().output}/codebook.safetensors"
    assert (network.input, network.images.limit) == ("held", None)
    assert network.model == stages.predict(1).model
    assert stages.predict_test(0).model == stages.predict_prototypes().model
    assert stages.evaluate_test().input == (label.output,) == (network.output,)
    assert not stages.tests_alone
    primaps = ("--labels", "primaps", "--segment.methods", "primaps", "--rounds", "0")
    alone = Stages(config(*flags, *primaps))
    assert alone.tests_alone and alone.labels(0) == alone.test_labels == network.output


def test_the_encoder_is_the_backbone_unless_one_is_named() -> None:
    def network(*flags: str) -> Any:
        found = Stages(config("--segment.backbone", TINY.backbone, *flags)).train_segmenter(1)
        return found.network.encoder, found.weights

    weights = ("--segment.weights", "tiny.safetensors")
    assert network(*weights) == (TINY.backbone, "tiny.safetensors")
    other = ("--train-segmenter.encoder", "vit_base_patch16_224")
    assert network(*weights, *other) == ("vit_base_patch16_224", None)
    deeplab = ("--train-segmenter.network", "deeplab", "--train-segmenter.weights", "r50.pth")
    assert network(*weights, *deeplab) == (None, "r50.pth")


def test_the_same_images_are_predicted_as_were_segmented() -> None:
    images = ImageConfig(limit=7, suffixes=(".png",), max_pixels=10**6, image_size=99)
    segment = SegmentConfig("", "", features=TINY, images=images)
    predict = PredictConfig("", "", "", weights="moved", run=RunConfig(batch_size=2))
    stages = Stages(PipelineConfig(RoadConfig("in", "out"), segment=segment, predict=predict))
    for found in (stages.predict(1), stages.predict_prototypes()):
        chosen = dataclasses.asdict(found.images)
        assert (chosen["limit"], chosen["suffixes"], chosen["max_pixels"]) == (7, (".png",), 10**6)
        assert found.run.batch_size == 2
    assert stages.predict(1).weights is None
    assert stages.predict_prototypes().weights == "moved"
