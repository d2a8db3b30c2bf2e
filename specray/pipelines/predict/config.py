"""The configuration of the predict job."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from specray.checks import at_least
from specray.masks.config import Refine
from specray.pipelines.config import RunConfig
from specray.sources import IMAGE_SUFFIXES

Head = Literal["momentum", "running"]


@dataclass(frozen=True)
class SelectionConfig:
    """Which images; the size at which the backbone sees them is that of the prototypes.

    Parameters
    ----------
    keys
        URI of an explicit list of keys (.txt, or .csv or .parquet with a column `key`) instead of a
        listing of the input.
    suffixes
        Names that a listing takes for images, case ignored.
    limit
        Only the first N images of the listing.
    max_pixels
        Images whose header promises more pixels than this become error rows, undecoded.
    max_patches
        Images that would have more patches than this become error rows. K classes take 4 K bytes of
        memory for each pixel that the backbone sees, the CRF several times that.
    """

    keys: str | None = None
    suffixes: tuple[str, ...] = IMAGE_SUFFIXES
    limit: int | None = None
    max_pixels: int = 50_000_000
    max_patches: int = 10_000

    def __post_init__(self) -> None:
        at_least(1, self, "limit", "max_pixels", "max_patches")


@dataclass(frozen=True)
class PredictConfig:
    """Apply prototypes or a segmenter to every image under --input; write one row per image.

    The row of an image has its semantic map, a mask for each of its classes at the original size,
    with the mean confidence of its pixels as score: the softmax of the scores. The same command
    again does only what is missing. specray report shows the classes, specray export writes them in
    other formats.

    Try: specray predict --model fit/prototypes.safetensors --input photos/ --output maps/

    Parameters
    ----------
    model
        What specray train-primaps has fitted, prototypes.safetensors, or specray train-segmenter
        has trained, segmenter.safetensors: a path or URI. It says what it takes: backbone and
        block, or the network with its weights, and the size of the images.
    input
        Where the images are: a folder, s3://bucket/prefix, or any URI that pyarrow opens.
    output
        Where the Parquet goes: a folder or URI of its own.
    projection
        Where the projection of the features is now, if they were projected; it must be the very one
        that the prototypes were fitted with.
    weights
        Where the weights of the backbone of prototypes are now; they must be the very ones that
        these were fitted with. Absent: the published weights, from the Hugging Face hub.
    head
        Of prototypes. `momentum`: their running average, which the paper reports; `running`: as the
        optimiser left them.
    mirror
        Average the features of an image, or the scores of a segmenter, with those of its mirror
        image: twice the work.
    window
        Of a segmenter: pixels of a side of square windows, each half over the next, whose scores
        are averaged, such as --crop of its training. Absent: the image whole, resized to the
        --short-side of the training.
    refine
        `crf`: the fully connected CRF with the parameters of PriMaPs, exactly; `fast`: the same at
        half the size, with an exact update along the borders; `none`: the best score of each pixel.
        Where the CRF gives a pixel another class, its confidence is the softmax of that class.
    confidence
        Store the confidence of every pixel as well: a PNG of 8 bits in each row.
    names
        Names of the classes, before those that a segmenter has: a .json, .yaml or .csv file of `id`
        and `name`.
    accept_dinov3_licence
        As of `specray segment`.
    """

    model: str
    input: str
    output: str
    projection: str | None = None
    weights: str | None = None
    head: Head = "momentum"
    mirror: bool = True
    window: int | None = None
    refine: Refine = "fast"
    confidence: bool = False
    names: str | None = None
    accept_dinov3_licence: bool = False
    images: SelectionConfig = field(default_factory=SelectionConfig)
    run: RunConfig = field(default_factory=RunConfig)

    def __post_init__(self) -> None:
        at_least(1, self, "window")
