"""The configuration of the train-primaps job."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from specray.checks import at_least
from specray.pipelines.config import WorkersConfig
from specray.pipelines.truth import TruthConfig
from specray.semantics.prototypes.config import EMConfig

FeatureSource = Literal["auto", "kept", "computed"]


@dataclass(frozen=True)
class DiagnosisConfig(TruthConfig):
    """Diagnosis by ground truth, which no prototype depends on.

    A linear probe is trained on it beside the prototypes, and both are scored at every checkpoint;
    the best momentum prototypes are written besides the last, as
    prototypes-best-by-ground-truth.safetensors.

    Parameters
    ----------
    validation
        The segment run, with --keep features, of the images that are scored; absent = those of
        --input.
    validation_truth
        Their ground truth; absent = --truth.
    """

    validation: str | None = None
    validation_truth: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("validation", "validation_truth"):
            if self.truth is None and getattr(self, name) is not None:
                raise ValueError(f"--{name.replace('_', '-')} needs --truth")


@dataclass(frozen=True)
class TrainPrimapsConfig:
    """Fit class prototypes to the principal masks of a segment run, by stochastic EM (PriMaPs-EM).

    Data-parallel on Ray Train. Writes prototypes.safetensors, which specray predict applies to any
    images, TensorBoard scalars, and checkpoints: kill it, type the same command again, and it ends
    with the same bits. The result does not depend on the number of workers.

    Try: specray segment --input photos/ --output out/ --methods primaps --keep views --image-size
    320; then specray train-primaps --input out/ --output model/ --classes 20

    As in the paper: --start directions --kmeans sgd --kmeans-steps 184 --em-steps 4600 --weighting
    pixels.

    Parameters
    ----------
    input
        Where the segment job wrote, with --methods primaps: a folder or URI.
    output
        Where the prototypes go: a folder or URI of its own.
    features
        Where the features come from: `kept`, by segment --keep views; `computed`, in the workers,
        from the photographs, with new views in every epoch; `auto` takes what is kept, if it is.
    proposals
        Further segment runs over the same images, with the same features and --shard-size but other
        proposals, such as of another --primap-threshold: each is fitted to by runs of its own, on
        the features of --input.
    weights
        The weights file, for computed features; absent = where the run read it.
    projection
        The projection of the features, for computed ones and for --start centres; absent = where
        the run read it.
    images
        Where the photographs are now, for computed features; absent = where the run read them.
    runs
        Runs that are fitted together to the same batches, each from a start of its own; run 0 is
        prototypes.safetensors, the others prototypes-1.safetensors and on. There are as many again
        for each of --proposals.
    seed
        Seed of everything random.
    endpoint
        URL of an S3-compatible store for s3:// URIs; absent = the one of the run. Credentials come
        from the environment.
    """

    input: str
    output: str
    proposals: tuple[str, ...] = ()
    features: FeatureSource = "auto"
    weights: str | None = None
    projection: str | None = None
    images: str | None = None
    runs: int = 1
    seed: int = 0
    endpoint: str | None = None
    em: EMConfig = field(default_factory=EMConfig)
    workers: WorkersConfig = field(default_factory=WorkersConfig)
    diagnosis: DiagnosisConfig = field(default_factory=DiagnosisConfig)

    def __post_init__(self) -> None:
        at_least(1, self, "runs")
        self.workers.check_batch(self.em.batch)
        if self.runs > 1 and self.em.start == "centres":
            raise ValueError("--start centres is the same for all --runs; pass --runs 1")
