"""The configuration of the train-segmenter job."""

from __future__ import annotations

from dataclasses import dataclass, field

from specray.checks import at_least
from specray.pipelines.config import Device
from specray.semantics.segmenter.config import NetworkConfig, SegmenterConfig


@dataclass(frozen=True)
class TrainSegmenterConfig:
    """Train a segmentation network on the semantic maps of specray label or specray predict.

    The self-training of Deep Spectral Methods, data-parallel on Ray Train; photographs and maps are
    streamed by Ray Data. Writes segmenter.safetensors, which specray predict applies to any images,
    TensorBoard scalars, and checkpoints: kill it, type the same command again, and it goes on. What
    a batch is does not depend on the number of workers.

    Try: specray train-segmenter --input labels/ --output net/ --network vit-decoder --steps 1000

    As in the paper: --network deeplab --weights dino_resnet50.pth --batch 144 --learning-rate 5e-3
    --norm batch.

    Parameters
    ----------
    input
        Where the label or the predict job wrote: a folder or URI.
    output
        Where the segmenter goes: a folder or URI of its own.
    weights
        Of the encoder, in the layout of timm (for ResNets torchvision's), as path or URI: a
        .safetensors file, or a .pth of plain tensors. Absent: the published weights of the named
        ViT, from the Hugging Face hub; deeplab has no self-supervised ones there.
    images
        Where the photographs are now; absent = where the run read them.
    max_pixels
        Photographs whose header promises more pixels than this end the training.
    checkpoint_every
        Batches from one checkpoint to the next: as many at most are done again after a death.
    num_workers
        Workers of Ray Train, each with a GPU or a CPU core; a divisor of --batch. Absent = as many
        as fit.
    max_failures
        How often workers may die before the job gives up. It continues even then.
    device
        Where the network runs; auto = cuda if the cluster has a GPU.
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
    weights: str | None = None
    images: str | None = None
    max_pixels: int = 50_000_000
    checkpoint_every: int = 100
    num_workers: int | None = None
    max_failures: int = 3
    device: Device = "auto"
    seed: int = 0
    endpoint: str | None = None
    overwrite: bool = False
    network: NetworkConfig = field(default_factory=NetworkConfig)
    training: SegmenterConfig = field(default_factory=SegmenterConfig)

    def __post_init__(self) -> None:
        at_least(1, self, "max_pixels", "checkpoint_every", "num_workers")
        at_least(0, self, "max_failures")
        if self.num_workers is not None and self.training.batch % self.num_workers:
            raise ValueError(
                f"--num-workers {self.num_workers} does not divide --batch {self.training.batch}"
            )
        if self.network.network == "deeplab" and self.weights is None:
            raise ValueError(
                "--network deeplab needs --weights, such as those of DINO's ResNet-50; or choose "
                "--network vit-decoder"
            )
