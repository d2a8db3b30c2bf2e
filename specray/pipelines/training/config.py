"""The configuration of the train-primaps job."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from specray.checks import at_least
from specray.pipelines.config import Device
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
    checkpoint_every
        Batches from one checkpoint to the next: as many at most are done again after a death.
    num_workers
        Workers of Ray Train, each with a GPU or a CPU core; a divisor of --batch. Absent = as many
        as fit.
    max_failures
        How often workers may die before the job gives up. It continues even then.
    device
        Where the work on pixels and the backbone run; auto = cuda if the cluster has a GPU.
    seed
        Seed of everything random.
    endpoint
        URL of an S3-compatible store for s3:// URIs; absent = the one of the run. Credentials come
        from the environment.
    overwrite
        Begin anew instead of continuing what the output holds.
    """

    input: str
    output: str
    proposals: tuple[str, ...] = ()
    features: FeatureSource = "auto"
    weights: str | None = None
    projection: str | None = None
    images: str | None = None
    runs: int = 1
    checkpoint_every: int = 50
    num_workers: int | None = None
    max_failures: int = 3
    device: Device = "auto"
    seed: int = 0
    endpoint: str | None = None
    overwrite: bool = False
    em: EMConfig = field(default_factory=EMConfig)
    diagnosis: DiagnosisConfig = field(default_factory=DiagnosisConfig)

    def __post_init__(self) -> None:
        at_least(1, self, "runs", "checkpoint_every", "num_workers")
        at_least(0, self, "max_failures")
        if self.num_workers is not None and self.em.batch % self.num_workers:
            raise ValueError(
                f"--num-workers {self.num_workers} does not divide --batch {self.em.batch}"
            )
        if self.runs > 1 and self.em.start == "centres":
            raise ValueError("--start centres is the same for all --runs; pass --runs 1")
