"""What a person may choose about self-training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from specray.checks import at_least, share

Network = Literal["deeplab", "vit-linear", "vit-decoder"]
Norm = Literal["group", "batch"]
Cropping = Literal["fixed", "resized"]
TrainingPrecision = Literal["auto", "fp32", "bf16"]

_ENCODERS: Final[dict[Network, str]] = {
    "deeplab": "resnet50",
    "vit-linear": "vit_small_patch16_224.dino",
    "vit-decoder": "vit_small_patch16_224.dino",
}


@dataclass(frozen=True)
class NetworkConfig:
    """Which network learns from the labels, and which of its parts.

    Parameters
    ----------
    network
        `deeplab`: DeepLabV3+ with a convolutional encoder, as in the paper; `vit-linear`: one
        linear layer on the patch tokens of a ViT; `vit-decoder`: a few convolutions on the tokens
        of two of its blocks.
    encoder
        Name of the encoder in timm. Absent: resnet50 for deeplab, vit_small_patch16_224.dino for
        the others. A ResNet-50 of DINO has the layout of resnet50.
    trainable
        How many of the encoder's last parts train: stages of a convolutional encoder, blocks of a
        ViT. The rest stays as its weights are; 1 in the paper, 0 trains the head alone, `all` all.
    norm
        `group`: no image depends on its batch: group norms in the head, and the encoder's batch
        norms keep the statistics of its weights. `batch`: batch norms, as in the paper, in all
        that trains, over the images of all workers.
    output_stride
        Pixels on a side of a cell of deeplab's last features; 8 in the paper.
    """

    network: Network = "deeplab"
    encoder: str | None = None
    trainable: int | Literal["all"] = 1
    norm: Norm = "group"
    output_stride: Literal[8, 16] = 8

    def __post_init__(self) -> None:
        if self.trainable != "all":
            at_least(0, self, "trainable")

    @property
    def encoder_name(self) -> str:
        """The encoder, or that of the network where none is named."""
        return self.encoder or _ENCODERS[self.network]


@dataclass(frozen=True)
class SegmenterConfig:
    """How a segmentation network learns from pseudo labels (DSM, section 3.4).

    Parameters
    ----------
    steps
        Batches. The paper's 5,000 are about 47 epochs of VOC 2012.
    batch
        Images of a batch, of all workers together; 144 in the paper.
    accumulate
        Into how many parts a worker divides its images of a batch, one part after the other: more
        parts need less memory. With --norm batch the statistics are those of a part.
    learning_rate
        Of AdamW at the first batch; it falls linearly to 0 at the end. The release of the paper
        has 2e-4 in its instructions and 5e-3 in its configuration.
    encoder_rate
        Learning rate of the encoder's parts that train, as a share of --learning-rate; 1 in the
        paper.
    weight_decay
        Of AdamW.
    short_side
        Pixels of the short side that images are resized to before they are cropped.
    crop
        Pixels of the side of the square crops.
    cropping
        `fixed`: a place of the resized image by chance; `resized`: area and aspect ratio by
        chance, too, 8 % of the image's area at least.
    jitter
        Whether colours change: brightness, contrast, saturation, hue; at times grey or blurred.
    class_balance
        Exponent of the weights of classes by their frequency in the labels: 0 weighs all pixels
        the same, as in the paper; with 1 all classes weigh the same.
    min_confidence
        Pixels whose label is less sure than this, from 0 to 1, are ignored.
    confidence_weights
        Whether pixels weigh as much as their label is sure.
    precision
        Arithmetic of the network; auto = bf16 on GPUs that have it, fp32 elsewhere.
    """

    steps: int = 5000
    batch: int = 96
    accumulate: int = 1
    learning_rate: float = 2e-4
    encoder_rate: float = 1.0
    weight_decay: float = 1e-8
    short_side: int = 256
    crop: int = 224
    cropping: Cropping = "fixed"
    jitter: bool = True
    class_balance: float = 0.0
    min_confidence: float = 0.0
    confidence_weights: bool = False
    precision: TrainingPrecision = "auto"

    def __post_init__(self) -> None:
        at_least(1, self, "steps", "batch", "accumulate", "short_side", "crop")
        at_least(0, self, "learning_rate", "encoder_rate", "weight_decay", "class_balance")
        share(self, "min_confidence")
        if self.crop > self.short_side:
            raise ValueError(f"--crop {self.crop} exceeds --short-side {self.short_side}")
