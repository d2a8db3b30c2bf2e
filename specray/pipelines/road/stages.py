"""What every stage of the road is told: its section, with the places filled in."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

from specray.backbones import DESCRIPTOR, BackboneConfig
from specray.errors import UserError
from specray.pipelines.config import SegmentConfig
from specray.pipelines.derived import finished_run
from specray.pipelines.evaluate.config import EvaluateConfig
from specray.pipelines.labels.config import LabelConfig
from specray.pipelines.predict.config import PredictConfig
from specray.pipelines.report import ReportConfig
from specray.pipelines.road.config import PipelineConfig
from specray.pipelines.segmenter.config import TrainSegmenterConfig
from specray.pipelines.training.config import TrainPrimapsConfig
from specray.sources import open_store

Images = TypeVar("Images", bound=Any)
"""Settings of which images a stage takes, with ``keys`` and ``limit``."""


@dataclass(frozen=True)
class Stages:
    """The configurations of the stages; round 0 is that of the first labels."""

    config: PipelineConfig

    def check(self) -> None:
        """Refuse, before anything is done, what would end at a later stage.

        Raises
        ------
        UserError
            Stages do not fit together.
        """
        road, segment = self.config.road, self.config.segment
        if road.labels == "primaps" and road.segments is None and "primaps" not in segment.methods:
            raise UserError(
                "--labels primaps needs --segment.methods primaps, and --segment.keep views or "
                "--train-primaps.features computed"
            )
        source = self.config.label.source
        kept = source == "patches" and "features" in segment.keep
        there = kept or source in segment.methods
        if road.labels == "label" and road.segments is None and not there:
            raise UserError(
                f"--label.source {source} needs --segment."
                + ("keep features" if source == "patches" else f"methods {source}")
            )
        if road.labels == "none" and (road.rounds or road.test):
            raise UserError(
                "--labels none leaves nothing to learn from: pass --rounds 0, and no --test"
            )
        if road.rounds:
            self.train_segmenter(1)
        if self.scored:
            self.config.evaluate.truth.open(road.endpoint).keys()  # refuses what is not there

    @property
    def scored(self) -> bool:
        """Whether there is ground truth."""
        return self.config.evaluate.truth.truth is not None

    @cached_property
    def features(self) -> BackboneConfig:
        """Of the segments, whoever made them."""
        road = self.config.road
        if road.segments is None:
            return self.config.segment.features
        made = finished_run(open_store(road.segments, road.endpoint)).configuration
        return BackboneConfig(**made["features"])

    @property
    def segments(self) -> str:
        """Where the segment run is."""
        return self.config.road.segments or self._place("segments")

    @property
    def prototypes(self) -> str:
        """Where train-primaps writes."""
        return self._place("prototypes")

    def segmenter(self, number: int) -> str:
        """Where a round trains its network."""
        return self._place(f"round-{number}/segmenter")

    @property
    def tests_alone(self) -> bool:
        """Whether nobody needs labels of the input: prototypes are learnt without any."""
        road = self.config.road
        return road.test is not None and road.labels == "primaps" and not road.rounds

    def labels(self, number: int) -> str:
        """Where the label maps of a round are."""
        if self.tests_alone:
            return self.test_labels
        return self._place(f"round-{number}/labels" if number else "labels")

    def scores(self, number: int) -> str:
        """Where the scores of these are."""
        return self._place(f"round-{number}/scores" if number else "scores")

    @property
    def test_labels(self) -> str:
        """Where those of the test images are."""
        return self._place("test/labels")

    def segment(self) -> SegmentConfig:
        """Of the segment stage."""
        road = self.config.road
        return self._segment(self._filled(input=road.input, output=self.segments))

    def segment_test(self) -> SegmentConfig:
        """Of the test images, as the input was segmented."""
        filled = self._filled(input=self._test, output=self._place("test/segments"))
        segment = self._segment(filled)
        return dataclasses.replace(segment, images=self._of_test(segment.images))

    def _segment(self, filled: dict[str, Any]) -> SegmentConfig:
        given, road = self.config.segment, self.config.road
        run = dataclasses.replace(given.run, endpoint=road.endpoint or given.run.endpoint)
        return dataclasses.replace(given, run=run, **filled)

    def label(self) -> LabelConfig:
        """Of the label stage."""
        filled = self._filled(input=self.segments, output=self.labels(0), images=True)
        return dataclasses.replace(self.config.label, **filled)

    def label_test(self) -> LabelConfig:
        """Of the test images, by the classes of the input."""
        filled = self._filled(input=self.segment_test().output, output=self.test_labels)
        codebook = f"{self.labels(0)}/codebook.safetensors"
        filled |= {"endpoint": self.config.road.endpoint, "images": self._test}
        return dataclasses.replace(self.config.label, codebook=codebook, match=None, **filled)

    def predict_test(self, number: int) -> PredictConfig:
        """Of the test images, by the network of a round; by the prototypes if there is none."""
        of = self.predict(number) if number else self.predict_prototypes()
        images = self._of_test(of.images)
        return dataclasses.replace(of, input=self._test, output=self.test_labels, images=images)

    def _of_test(self, images: Images) -> Images:
        """Which of the test images."""
        return dataclasses.replace(images, keys=self.config.road.test_keys, limit=None)

    @property
    def _test(self) -> str:
        assert self.config.road.test is not None
        return self.config.road.test

    def train_primaps(self) -> TrainPrimapsConfig:
        """Of the prototypes."""
        filled = self._filled(input=self.segments, output=self.prototypes, images=True)
        return dataclasses.replace(self.config.train_primaps, **filled)

    def train_segmenter(self, number: int) -> TrainSegmenterConfig:
        """Of a round; its encoder is the backbone of the segment stage where none is named.

        Raises
        ------
        UserError
            That one is no network.
        """
        given, features = self.config.train_segmenter, self.features
        if given.network.encoder is None and given.network.network != "deeplab":
            if features.backbone == DESCRIPTOR:
                raise UserError(
                    "--segment.backbone descriptor is no network to train: name one, such as "
                    "--train-segmenter.encoder vit_small_patch16_224.dino, or pass --rounds 0"
                )
            network = dataclasses.replace(given.network, encoder=features.backbone)
            weights = given.weights or features.weights
            given = dataclasses.replace(given, network=network, weights=weights)
        filled = self._filled(
            input=self.labels(number - 1), output=self.segmenter(number), images=True
        )
        return dataclasses.replace(given, **filled)

    def predict_prototypes(self) -> PredictConfig:
        """Of the first labels by prototypes."""
        given, features = self.config.predict, self.features
        given = dataclasses.replace(
            given,
            weights=given.weights or features.weights,
            projection=given.projection or features.projection,
            window=None,  # for networks
            accept_dinov3_licence=given.accept_dinov3_licence or features.accept_dinov3_licence,
        )
        return self._predict(given, f"{self.prototypes}/prototypes.safetensors", 0)

    def predict(self, number: int) -> PredictConfig:
        """Of the labels of a round."""
        # these are of prototypes; the network has its weights with it
        given = dataclasses.replace(self.config.predict, weights=None, projection=None)
        return self._predict(given, f"{self.segmenter(number)}/segmenter.safetensors", number)

    def _predict(self, given: PredictConfig, model: str, number: int) -> PredictConfig:
        road, images = self.config.road, self.config.segment.images
        chosen = {name: getattr(images, name) for name in ("keys", "suffixes", "limit")}
        return dataclasses.replace(
            given,
            model=model,
            input=road.input,
            output=self.labels(number),
            images=dataclasses.replace(given.images, **chosen, max_pixels=images.max_pixels),
            run=dataclasses.replace(given.run, endpoint=road.endpoint or given.run.endpoint),
        )

    def evaluate(self, number: int) -> EvaluateConfig:
        """Of the labels of a round."""
        found = self._evaluate(self.labels(number), self.scores(number))
        # what was published is what comes of self-training, where there is any
        published = found.published if bool(number) == bool(self.config.road.rounds) else ()
        return dataclasses.replace(found, published=published)

    def evaluate_segments(self) -> EvaluateConfig:
        """Of the segments themselves."""
        return self._evaluate(self.segments, self.scores(0))

    def evaluate_test(self) -> EvaluateConfig:
        """Of the labels of the test images."""
        return self._evaluate(self.test_labels, self._place("test/scores"))

    def _evaluate(self, place: str, scores: str) -> EvaluateConfig:
        endpoint = self.config.road.endpoint
        return dataclasses.replace(
            self.config.evaluate, input=(place,), output=scores, endpoint=endpoint
        )

    def report(self, output: str) -> ReportConfig:
        """Of a run."""
        road = self.config.road
        return dataclasses.replace(
            self.config.report, output=output, input=road.input, endpoint=road.endpoint
        )

    def _place(self, name: str) -> str:
        return f"{self.config.road.output.rstrip('/')}/{name}"

    def _filled(self, input: str, output: str, *, images: bool = False) -> dict[str, Any]:
        road = self.config.road
        found: dict[str, Any] = {"input": input, "output": output, "seed": road.seed}
        # where the segment run has read them is where this job reads them
        return found | ({"endpoint": road.endpoint, "images": road.input} if images else {})
