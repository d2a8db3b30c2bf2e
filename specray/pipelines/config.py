"""The configuration of the jobs: one tree of frozen dataclasses, flags and YAML from the same."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Literal

from specray.backbones import DESCRIPTOR, BackboneConfig, ViewConfig
from specray.checks import at_least, share
from specray.errors import ErrorCode
from specray.masks import (
    Describe,
    InstanceConfig,
    ObjectConfig,
    PrincipalConfig,
    RefineConfig,
    RegionConfig,
    SuperpixelConfig,
)
from specray.sources import IMAGE_SUFFIXES
from specray.spectral import SpectralConfig

Method = Literal["objects", "regions", "instances", "superpixels", "primaps"]
Kept = Literal["eigenvectors", "features", "views"]
Device = Literal["auto", "cpu", "cuda"]
PictureFormat = Literal["png", "webp"]


@dataclass(frozen=True)
class ImageConfig:
    """Which images, and how large they are when the backbone sees them.

    Parameters
    ----------
    keys
        URI of an explicit list of keys (.txt, or .csv or .parquet with a column `key`) instead of a
        listing of the input.
    suffixes
        Names that a listing takes for images, case ignored.
    limit
        Only the first N images of the listing.
    image_size
        Short side in pixels to which images are resized, aspect kept; absent = native size, as the
        papers do. Images are then cropped to whole patches at the right and bottom.
    max_pixels
        Images whose header promises more pixels than this become error rows, undecoded.
    max_patches
        Images that would have more patches than this become error rows: the affinity of N patches
        takes 4 N^2 bytes (10,000: 0.4 GB), --separation spectral up to four times as much. Use
        --image-size for large images.
    """

    keys: str | None = None
    suffixes: tuple[str, ...] = IMAGE_SUFFIXES
    limit: int | None = None
    image_size: int | None = None
    max_pixels: int = 50_000_000
    max_patches: int = 10_000

    def __post_init__(self) -> None:
        at_least(1, self, "limit", "image_size", "max_pixels", "max_patches")


@dataclass(frozen=True)
class StageConfig:
    """What a process of each stage holds of its node. A worker holds one CPU.

    Parameters
    ----------
    decode_cpus
        CPUs of a task that reads and decodes a batch: it waits for the store half of its time. Less
        for a store that is slow to answer. Below the 1 of a worker, or Ray would put both into one.
    worker_gpus
        GPUs of a process that holds the backbone, with GPUs: 0.5 = two share one, for a small
        backbone on a large GPU.
    mask_cpus
        CPUs of a task that makes masks beside a GPU: 0.5 where CPUs are hyper-threads.
    """

    decode_cpus: float = 0.5
    worker_gpus: float = 1.0
    mask_cpus: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.decode_cpus < 1:
            raise ValueError(f"--decode-cpus must be above 0 and below 1, not {self.decode_cpus:g}")
        for name in ("worker_gpus", "mask_cpus"):
            if not 0 < (value := getattr(self, name)) <= 1:
                flag = name.replace("_", "-")
                raise ValueError(f"--{flag} must be above 0 and at most 1, not {value:g}")


@dataclass(frozen=True)
class RunConfig:
    """How the work is spread; the result is the same, but for the rounding of another device.

    Parameters
    ----------
    shard_size
        Most images per output file, the unit of commit and of resume. Files hold three quarters of
        it on average: cuts follow from the keys, so that a new image does not move all of them.
    batch_size
        Images that travel together from decoding to the accelerator.
    num_workers
        Processes that hold the backbone: at most as many. Absent = one per GPU, or one per CPU
        core, and more as nodes come.
    wait
        Seconds to wait for the first node that has room for a worker, then to begin with as many
        as there are of --num-workers: for a cluster that scales itself, which is asked for those
        that are missing.
        0 = refuse to begin with fewer than --num-workers.
    device
        Where the backbone and the eigen-solver run; auto = cuda if the cluster has a GPU.
    endpoint
        URL of an S3-compatible store for s3:// URIs. Credentials come from the environment.
    max_error_rate
        Stop when more than this share of the images become error rows: a run that goes wrong, such
        as one whose credentials may list but not read. Judged from 1,000 images on, and at the end.
        1 = never.
    retry
        Do again those error rows that have one of these codes, besides what is missing; codes are
        in the rows, the counts of a run and its report. `unreadable missing` after an outage.
    dry_run
        List, count and estimate bytes, time and cost; write nothing.
    hourly_price
        Of a machine like this one, in whatever currency: --dry-run then tells the cost, which does
        not depend on how many of them there are.
    overwrite
        Drop what the output holds instead of continuing it.
    """

    shard_size: int = 256
    batch_size: int = 16
    num_workers: int | None = None
    wait: float = 0.0
    stages: StageConfig = field(default_factory=StageConfig)
    device: Device = "auto"
    endpoint: str | None = None
    max_error_rate: float = 0.5
    retry: tuple[ErrorCode, ...] = ()
    dry_run: bool = False
    hourly_price: float | None = None
    overwrite: bool = False

    def __post_init__(self) -> None:
        at_least(1, self, "shard_size", "batch_size", "num_workers")
        at_least(0, self, "wait", "hourly_price")
        share(self, "max_error_rate")


@dataclass(frozen=True)
class WorkersConfig:
    """How a training is spread over workers of Ray Train; the result is the same.

    Parameters
    ----------
    num_workers
        Workers, each with a GPU or a CPU core; a divisor of --batch. Absent = as many as fit.
    min_workers
        With fewer than --num-workers, but with as many as this, the training begins, and goes on
        where a node is lost; it takes in others as they come. Absent = it waits until all are
        there.
    checkpoint_every
        Batches from one checkpoint to the next: as many at most are done again after a death.
    max_failures
        How often workers may die before the job gives up. The same command continues even then.
    device
        Where the work is done; auto = cuda if the cluster has a GPU.
    overwrite
        Begin anew instead of continuing what the output holds.
    """

    num_workers: int | None = None
    min_workers: int | None = None
    checkpoint_every: int = 50
    max_failures: int = 3
    device: Device = "auto"
    overwrite: bool = False

    def __post_init__(self) -> None:
        at_least(1, self, "num_workers", "min_workers", "checkpoint_every")
        at_least(0, self, "max_failures")
        most = self.num_workers
        if most is not None and self.min_workers is not None and self.min_workers > most:
            raise ValueError(f"--min-workers {self.min_workers} exceeds --num-workers {most}")

    def check_batch(self, batch: int) -> None:
        """Refuse workers that cannot have the same share of a batch."""
        if self.num_workers is not None and batch % self.num_workers:
            raise ValueError(f"--num-workers {self.num_workers} does not divide --batch {batch}")


@dataclass(frozen=True)
class SegmentConfig:
    """Find objects, regions, instances in every image under --input; write one row per image.

    Reads images from a folder or a bucket, computes ViT features, the eigenvectors of
    their affinity graph, and from these the object of each image, its regions, or its single
    objects apart, and superpixels, from which `specray label` makes classes. The same command again
    does only what is missing.

    Try: specray segment --input photos/ --output out/ --backbone descriptor

    Parameters
    ----------
    input
        Where the images are: a folder, s3://bucket/prefix, or any URI that pyarrow opens.
    output
        Where the Parquet goes: a folder or URI of its own.
    methods
        What to find: `objects`, the foreground and its parts; `regions`, which cover the image;
        `instances`, the objects one by one; `superpixels`, small parts of one kind; `primaps`,
        principal mask proposals (PriMaPs), which `specray train-primaps` learns classes from.
    describe
        The feature of each segment, by which `specray label` tells what it shows. `mean`: of the
        patches under its mask, which costs next to nothing; `crop`: the class token of its box, as
        in DSM: one more pass of the backbone for each segment; `none`.
    keep
        What to store besides the masks: `eigenvectors` lets the report show them (about 8 KB per
        image); `features` lets `specray label` cluster single patches (2 N C bytes: 350 KB for 900
        patches of 192 channels); `views`, besides these, those of the mirror image and of --views
        photometric views, to train on: 2 N C bytes and one more pass of the backbone for each. A
        shard is made in memory: lower --shard-size where its views would be gigabytes. Without
        --methods nothing else is made.
    seed
        Seed of everything random, together with the key of the image.
    """

    input: str
    output: str
    methods: tuple[Method, ...] = ("objects", "regions", "superpixels")
    describe: Describe = "mean"
    keep: tuple[Kept, ...] = ()
    seed: int = 0
    images: ImageConfig = field(default_factory=ImageConfig)
    features: BackboneConfig = field(default_factory=BackboneConfig)
    views: ViewConfig = field(default_factory=ViewConfig)
    spectral: SpectralConfig = field(default_factory=SpectralConfig)
    objects: ObjectConfig = field(default_factory=ObjectConfig)
    regions: RegionConfig = field(default_factory=RegionConfig)
    instances: InstanceConfig = field(default_factory=InstanceConfig)
    superpixels: SuperpixelConfig = field(default_factory=SuperpixelConfig)
    primaps: PrincipalConfig = field(default_factory=PrincipalConfig)
    refinement: RefineConfig = field(default_factory=RefineConfig)
    run: RunConfig = field(default_factory=RunConfig)

    def __post_init__(self) -> None:
        if len(set(self.methods)) < len(self.methods):
            raise ValueError("--methods must name each method once")
        if not (self.methods or self.keep):
            raise ValueError("without --methods there must be something to --keep")
        if self.describe == "crop" and self.features.backbone == DESCRIPTOR:
            raise ValueError("--describe crop takes the class token of a ViT; use --describe mean")
        # records and fingerprints show what was meant
        if "views" in self.keep and "features" not in self.keep:
            object.__setattr__(self, "keep", ("features", *self.keep))
        if self.features.feature is None:
            tokens = {"primaps"}.issuperset(self.methods) and self.features.backbone != DESCRIPTOR
            resolved = dataclasses.replace(self.features, feature="token" if tokens else "k")
            object.__setattr__(self, "features", resolved)

    @property
    def needs_eigenvectors(self) -> bool:
        """Whether eigenvectors are asked for."""
        return not {"objects", "regions", "eigenvectors"}.isdisjoint((*self.methods, *self.keep))

    @property
    def needs_features(self) -> bool:
        """Whether features of the cells are asked for, apart from the eigenvectors."""
        of_features = {"instances", "superpixels", "primaps", "features"}
        return self.describe == "mean" or not of_features.isdisjoint((*self.methods, *self.keep))
