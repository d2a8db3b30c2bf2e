"""The configuration of the train-segmenter job."""

from __future__ import annotations

from dataclasses import dataclass, field

from specray.checks import at_least
from specray.pipelines.config import WorkersConfig
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
    seed
        Seed of everything random.
    endpoint
        URL of an S3-compatible store for s3:// URIs; absent = the one of the run. Credentials come
        from the environment.
    """

    input: str
    output: str
    weights: str | None = None
    images: str | None = None
    max_pixels: int = 50_000_000
    seed: int = 0
    endpoint: str | None = None
    network: NetworkConfig = field(default_factory=NetworkConfig)
    training: SegmenterConfig = field(default_factory=SegmenterConfig)
    workers: WorkersConfig = field(default_factory=WorkersConfig)

    def __post_init__(self) -> None:
        at_least(1, self, "max_pixels")
        self.workers.check_batch(self.training.batch)
        if self.workers.min_workers and self.network.norm == "batch":
            # their statistics are those of the parts of a batch that workers have at a time
            raise ValueError("--min-workers needs --norm group")
        if self.network.network == "deeplab" and self.weights is None:
            raise ValueError(
                "--network deeplab needs --weights, such as those of DINO's ResNet-50; or choose "
                "--network vit-decoder"
            )
