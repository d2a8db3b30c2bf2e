"""The configuration of the train-primaps job."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from specray.checks import at_least
from specray.pipelines.config import Device
from specray.semantics.prototypes.config import EMConfig

FeatureSource = Literal["auto", "kept", "computed"]


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
    weights
        The weights file, for computed features; absent = where the run read it.
    images
        Where the photographs are now, for computed features; absent = where the run read them.
    runs
        Runs that are fitted together to the same batches, each from a start of its own; run 0 is
        prototypes.safetensors, the others prototypes-1.safetensors and on.
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
    features: FeatureSource = "auto"
    weights: str | None = None
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

    def __post_init__(self) -> None:
        at_least(1, self, "runs", "checkpoint_every", "num_workers")
        at_least(0, self, "max_failures")
        if self.num_workers is not None and self.em.batch % self.num_workers:
            raise ValueError(
                f"--num-workers {self.num_workers} does not divide --batch {self.em.batch}"
            )
