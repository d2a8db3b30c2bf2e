"""The configuration of the sweep job."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from specray.backbones import DESCRIPTOR
from specray.backbones.config import Feature, Precision
from specray.checks import at_least
from specray.datasets.opening import DatasetConfig, Layout
from specray.pipelines.config import Device
from specray.pipelines.sweep.combinations import Corners, Sign

_ABSENT: Final = "-"
"""Stands in a list for nothing at all."""


@dataclass(frozen=True)
class SetSource:
    """A labelled set as it was named."""

    truth: DatasetConfig
    images: str | None
    """URI of its photographs; None: its layout says where they are."""


@dataclass(frozen=True)
class SetsConfig:
    """Labelled sets to choose by: lists with an entry for each, in one order.

    Parameters
    ----------
    truth
        Ground truth of each set: a folder, file or URI. Boxes of objects make CorLoc, masks of the
        foreground make its IoU.
    dataset
        Layout of each; one for all, if they are the same.
    input
        Where the photographs of each are; absent, or `-`, where the layout says so.
    split
        Split of each, where its layout has splits; else absent, or `-`.
    """

    truth: tuple[str, ...] = ()
    dataset: tuple[Layout, ...] = ()
    input: tuple[str, ...] = ()
    split: tuple[str, ...] = ()

    @property
    def sources(self) -> list[SetSource]:
        """The sets."""
        return _sources("", self.truth, self.dataset, self.input, self.split)


@dataclass(frozen=True)
class HeldOutConfig:
    """Labelled sets that have no part in the choice; what was chosen is scored on them.

    Parameters
    ----------
    held_out_truth
        As --truth. Absent: the gain is known on the sets of the choice alone, which flatter it.
    held_out_dataset
        As --dataset.
    held_out_input
        As --input.
    held_out_split
        As --split.
    """

    held_out_truth: tuple[str, ...] = ()
    held_out_dataset: tuple[Layout, ...] = ()
    held_out_input: tuple[str, ...] = ()
    held_out_split: tuple[str, ...] = ()

    @property
    def sources(self) -> list[SetSource]:
        """The sets."""
        return _sources(
            "held-out-",
            self.held_out_truth,
            self.held_out_dataset,
            self.held_out_input,
            self.held_out_split,
        )


@dataclass(frozen=True)
class GridConfig:
    """What is compared: every combination of these, and always the choice of the papers.

    Parameters
    ----------
    blocks
        Transformer blocks, counted from 0, negative from the end; absent = all of them.
    features
        Features of each block, as --feature of segment.
    color_lambdas
        Weights of the colour affinity. Each but 0 takes three times the time of 0.
    signs
        Which side of the eigenvector is the object. `minority`: the one of fewer patches, as in the
        papers; `border`: the one of fewer patches along the border of the image.
    corners
        `kept`, as in the papers; `zeroed`: the corners have no feature and are background, for some
        ViTs have artefacts there.
    """

    blocks: tuple[int, ...] = ()
    features: tuple[Feature, ...] = ("k", "q", "v", "token")
    color_lambdas: tuple[float, ...] = (0.0,)
    signs: tuple[Sign, ...] = ("minority", "border")
    corners: tuple[Corners, ...] = ("kept", "zeroed")

    def __post_init__(self) -> None:
        for name in ("features", "color_lambdas", "signs", "corners"):
            values = getattr(self, name)
            if not values or len(set(values)) < len(values):
                raise ValueError(f"--{name.replace('_', '-')} must name each value once")
        if min(self.color_lambdas) < 0:
            raise ValueError("--color-lambdas must not be negative")


@dataclass(frozen=True)
class SweepConfig:
    """Find which block, feature and rule of a backbone finds the objects best, by ground truth.

    One pass over labelled sets computes the features of all blocks once, and from each the object
    of the image. Writes scores.parquet (a row per combination, set and metric), sweep.json (with
    the recommended combination, and how sure it is) and report/index.html, and prints tables and
    the command to use. Objects take one eigenvector, so their number is nothing to choose here.
    Images that cannot be read are counted and named. A sweep that was stopped begins anew.

    Try: specray sweep --output sweep/ --backbone vit_small_patch16_224.dino \\
    --truth a/masks b/annotations --dataset masks voc-xml --input a/images b/images

    Parameters
    ----------
    output
        Where the scores go: a folder or URI of its own.
    backbone
        Any ViT of timm by name.
    weights
        Weights in timm's layout: a .safetensors file (or a .pth of plain tensors) as path or URI.
        Absent: the published weights of the named model, from the Hugging Face hub.
    precision
        Arithmetic of the backbone; auto = bf16 on GPUs that have it, fp16 on others, fp32 on CPU.
    accept_dinov3_licence
        DINOv3 weights come under Meta's own DINOv3 License: read it, then set this.
    image_size
        Short side in pixels to which images are resized; absent = native size, as the papers do.
    limit
        Only the first N images of each set.
    seed
        Of the resamples that tell how sure the choice is.
    num_workers
        Processes that hold the backbone; absent = one per GPU, or one per CPU core.
    device
        Where the backbone and the eigen-solver run; auto = cuda if the cluster has a GPU.
    endpoint
        URL of an S3-compatible store for s3:// URIs. Credentials come from the environment.
    overwrite
        Score anew what is scored.
    """

    output: str
    backbone: str = "vit_small_patch16_224.dino"
    weights: str | None = None
    precision: Precision = "auto"
    accept_dinov3_licence: bool = False
    image_size: int | None = None
    limit: int | None = None
    seed: int = 0
    num_workers: int | None = None
    device: Device = "auto"
    endpoint: str | None = None
    overwrite: bool = False
    sets: SetsConfig = field(default_factory=SetsConfig)
    held_out: HeldOutConfig = field(default_factory=HeldOutConfig)
    grid: GridConfig = field(default_factory=GridConfig)

    def __post_init__(self) -> None:
        at_least(1, self, "image_size", "limit", "num_workers")
        if self.backbone == DESCRIPTOR:
            raise ValueError("the descriptor has no blocks to choose from; name a ViT of timm")
        if not self.sets.sources:
            raise ValueError("--truth is missing: at least one labelled set to choose by")
        _ = self.held_out.sources  # refuses lists that do not fit


def _sources(
    prefix: str,
    truth: Sequence[str],
    dataset: tuple[Layout, ...],
    images: Sequence[str],
    splits: Sequence[str],
) -> list[SetSource]:
    count = len(truth)
    if count and not dataset:
        raise ValueError(f"--{prefix}dataset is missing: the layout of --{prefix}truth")
    layouts = dataset * count if len(dataset) == 1 else dataset
    lists: dict[str, Sequence[str]] = {"dataset": layouts, "input": images, "split": splits}
    for name, values in lists.items():
        if values and len(values) != count:
            raise ValueError(
                f"--{prefix}{name} has {len(values)} entries, --{prefix}truth {count}: one for "
                f"each set, {_ABSENT} for none"
            )
    places, parts = (
        [None if value == _ABSENT else value for value in values] or [None] * count
        for values in (images, splits)
    )
    return [
        SetSource(DatasetConfig(each, layout, split), place)
        for each, layout, split, place in zip(truth, layouts, parts, places, strict=True)
    ]
