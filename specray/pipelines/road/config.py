"""The configuration of the run job: its own settings, and a section for every stage."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Final, Literal

from specray.checks import at_least, share
from specray.pipelines.config import SegmentConfig
from specray.pipelines.evaluate.config import EvaluateConfig
from specray.pipelines.labels.config import LabelConfig
from specray.pipelines.predict.config import PredictConfig
from specray.pipelines.report import ReportConfig
from specray.pipelines.segmenter.config import TrainSegmenterConfig
from specray.pipelines.training.config import TrainPrimapsConfig
from specray.semantics.segmenter.config import NetworkConfig

Labels = Literal["label", "primaps", "none"]

_FILLED: Final = ""
"""Stands where the job fills a place in."""


@dataclass(frozen=True)
class RoadConfig:
    """Segment, label, train a network on the labels, predict, evaluate, report: the whole road.

    One job and one output; every stage does what is missing, so the same command continues after
    whatever has happened, and takes in what has been added to the bucket. What a stage can be told
    is said in its section of the --config file, by the names of specray STAGE --print-config, or
    by flags: --label.classes 20. Stages are segment, label or train-primaps, train-segmenter,
    predict, evaluate and report; places and seeds are this job's own.

    Several --rounds train on the maps of the round before. No ground truth chooses among them: a
    round whose maps agree with those before it is the last, and the round is taken whose maps agree
    the most; one that has given up large classes ends them, and is not taken. With --evaluate.truth
    labels before and after are scored, for diagnosis alone.

    Try: specray run --input photos/ --output out/ --label.classes 20 --train-segmenter.steps 1000

    Parameters
    ----------
    input
        Where the images are: a folder, s3://bucket/prefix, or any URI that pyarrow opens.
    output
        Where everything goes: a folder or URI of its own.
    segments
        A finished segment run over these images, to begin with instead of segmenting.
    labels
        Where the first labels come from: `label`, the clusters of specray label; `primaps`, the
        prototypes of specray train-primaps, which take --segment.methods primaps --segment.keep
        views; `none`: there are none, and the segments are what is scored.
    test
        Other images that labels are made of in the end, by the classes, prototypes or network of
        the input, and that are scored instead of it: a folder or URI.
    test_keys
        Of these only the keys of a list, as --segment.keys of the input; absent = all.
    rounds
        Of self-training at most; 0 ends with the first labels.
    settled
        Rounds end when this share of the pixels keeps its class from one to the next, or when the
        share does not rise any more.
    retrain
        Where images have been added, removed or changed since the networks, or prototypes, were
        trained, train them anew; else they are applied as they are.
    seed
        Seed of everything random, in all stages.
    seeds
        Go the whole road once for each of these seeds, in a folder of its own, and score all of
        them together: mean and deviation.
    endpoint
        URL of an S3-compatible store for s3:// URIs. Credentials come from the environment.
    """

    input: str
    output: str
    segments: str | None = None
    labels: Labels = "label"
    test: str | None = None
    test_keys: str | None = None
    rounds: int = 1
    settled: float = 0.98
    retrain: bool = False
    seed: int = 0
    seeds: tuple[int, ...] = ()
    endpoint: str | None = None

    def __post_init__(self) -> None:
        at_least(0, self, "rounds")
        share(self, "settled")


@dataclass(frozen=True)
class PipelineConfig:
    """The whole road, with what each of its stages is told.

    A stage's own ``input``, ``output``, ``seed`` and the like are filled in, see `FILLED`.
    """

    road: RoadConfig
    segment: SegmentConfig = field(default_factory=lambda: SegmentConfig(_FILLED, _FILLED))
    label: LabelConfig = field(default_factory=lambda: LabelConfig(_FILLED, _FILLED))
    train_primaps: TrainPrimapsConfig = field(
        default_factory=lambda: TrainPrimapsConfig(_FILLED, _FILLED)
    )
    train_segmenter: TrainSegmenterConfig = field(
        # the backbone of the segment run, with a light head on it
        default_factory=lambda: TrainSegmenterConfig(
            _FILLED, _FILLED, network=NetworkConfig("vit-decoder")
        )
    )
    predict: PredictConfig = field(default_factory=lambda: PredictConfig(_FILLED, _FILLED, _FILLED))
    evaluate: EvaluateConfig = field(default_factory=lambda: EvaluateConfig((), _FILLED))
    report: ReportConfig = field(default_factory=lambda: ReportConfig(_FILLED))

    OWN: ClassVar[str] = "road"
    """The section whose settings are the job's own."""
    FILLED: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "segment": ("input", "output", "seed"),
        "label": ("input", "output", "seed", "endpoint", "images"),
        "train_primaps": ("input", "output", "seed", "endpoint", "images"),
        "train_segmenter": ("input", "output", "seed", "endpoint", "images"),
        "predict": ("model", "input", "output"),
        "evaluate": ("input", "output", "endpoint"),
        "report": ("output", "input", "endpoint", "edits"),
    }
    """What the job fills in, by stage."""
