"""Crops of images with their labels, flipped and recoloured by chance (DSM, section 3.4).

What is done follows from the seed, the epoch and the key of the image alone, as with the views of
PriMaPs-EM (`specray.backbones.views`, whose colours these are).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from specray.backbones.views import SIGMA, View, blur, recoloured
from specray.seeds import derive_seed
from specray.semantics.segmenter.config import SegmenterConfig

FLIP_SHARE: Final = 0.5
JITTER_SHARE: Final = 0.8
STRENGTHS: Final = (0.4, 0.4, 0.2, 0.1)
"""Of brightness, contrast, saturation and hue."""
GREY_SHARE: Final = 0.2
BLUR_SHARE: Final = 0.1
AREA: Final = (0.08, 1.0)
"""Share of the image's area in a crop of random size."""
ASPECT: Final = (3 / 4, 4 / 3)
"""Width by height of a crop of random size."""
_ATTEMPTS: Final = 10


@dataclass(frozen=True)
class Augmentation:
    """What is done to an image and its labels."""

    box: tuple[float, float, float, float]
    """Left, upper, right and lower edge of the crop, in pixels of the image."""
    size: int
    """Pixels on a side of the result."""
    flip: bool
    """Whether left and right are exchanged."""
    colours: View | None
    """What is done to the colours; a sigma of 0 does not blur."""
    seed: int
    """Of the dropout."""


class Sample(NamedTuple):
    """An image and labels that moved together."""

    image: Tensor
    """(3, S, S) uint8."""
    labels: Tensor
    """(S, S) uint8."""
    confidence: Tensor | None
    """(S, S) float32."""


def draw_augmentation(
    seed: int, epoch: int, key: str, size: tuple[int, int], config: SegmenterConfig
) -> Augmentation:
    """What is done to an image in an epoch.

    Parameters
    ----------
    seed, epoch, key
        Of the run; number of the epoch; key of the image.
    size
        (H, W) of the image in pixels.
    config
        Sizes, and what may happen.
    """
    derived = derive_seed(derive_seed(seed, key), f"augmentation {epoch}")
    random = np.random.default_rng(derived)
    draw_box = _fixed_box if config.cropping == "fixed" else _resized_box
    return Augmentation(
        box=draw_box(random, size, config),
        size=config.crop,
        flip=bool(random.random() < FLIP_SHARE),
        colours=_draw_colours(random) if config.jitter else None,
        seed=derived,
    )


def augment(
    augmentation: Augmentation,
    pixels: NDArray[np.uint8],
    labels: NDArray[np.uint8],
    confidence: NDArray[np.float32] | None = None,
) -> Sample:
    """Do it.

    Parameters
    ----------
    augmentation
        Of `draw_augmentation`.
    pixels
        (H, W, 3) RGB; resized by cubic interpolation.
    labels, confidence
        (H, W) of the pixels; each pixel of the result has those of the place it shows.

    Raises
    ------
    ValueError
        The sizes differ.
    """
    maps: list[NDArray[Any]] = [labels] if confidence is None else [labels, confidence]
    if any(each.shape != pixels.shape[:2] for each in maps):
        raise ValueError(f"pixels of {pixels.shape[:2]} and labels of {labels.shape}")
    cut = [_cut(pixels, augmentation, Image.Resampling.BICUBIC)]
    cut += [_cut(each, augmentation, Image.Resampling.NEAREST) for each in maps]
    image = torch.from_numpy(cut[0]).permute(2, 0, 1)
    if augmentation.colours is not None:
        image = _coloured(image, augmentation.colours)
    found = [torch.from_numpy(each) for each in cut[1:]]
    return Sample(image.contiguous(), found[0], found[1] if len(found) > 1 else None)


def _fixed_box(
    random: np.random.Generator, size: tuple[int, int], config: SegmenterConfig
) -> tuple[float, float, float, float]:
    """A square in the image whose short side has `short_side` pixels."""
    scale = config.short_side / min(size)
    height, width = (max(round(side * scale), config.short_side) for side in size)
    top = int(random.integers(height - config.crop + 1)) * size[0] / height
    left = int(random.integers(width - config.crop + 1)) * size[1] / width
    return (
        left,
        top,
        min(left + config.crop * size[1] / width, size[1]),
        min(top + config.crop * size[0] / height, size[0]),
    )


def _resized_box(
    random: np.random.Generator, size: tuple[int, int], config: SegmenterConfig
) -> tuple[float, float, float, float]:
    """A rectangle of random area and aspect; the whole image where none that fits is drawn."""
    height, width = size
    for _ in range(_ATTEMPTS):
        area = random.uniform(*AREA) * height * width
        aspect = math.exp(random.uniform(*np.log(ASPECT)))
        columns, rows = math.sqrt(area * aspect), math.sqrt(area / aspect)
        if columns <= width and rows <= height:
            left = random.uniform(0, width - columns)
            top = random.uniform(0, height - rows)
            return left, top, min(left + columns, width), min(top + rows, height)
    return 0, 0, width, height


def _draw_colours(random: np.random.Generator) -> View:
    jittered, grey, blurred = random.random(3) < (JITTER_SHARE, GREY_SHARE, BLUR_SHARE)
    order = random.permutation(len(STRENGTHS)).tolist()
    factors = random.uniform(-1, 1, len(STRENGTHS)) * STRENGTHS
    factors[:3] += 1  # of brightness, contrast, saturation; hue is turned
    sigma = random.uniform(*SIGMA)
    jitter = tuple((kind, float(factors[kind])) for kind in order) if jittered else ()
    return View(sigma if blurred else 0.0, jitter, bool(grey))


def _cut(
    array: NDArray[Any], augmentation: Augmentation, filter_: Image.Resampling
) -> NDArray[Any]:
    """The crop of an array; the box may end between pixels."""
    size = (augmentation.size, augmentation.size)
    cut = np.array(Image.fromarray(array).resize(size, filter_, augmentation.box))
    return np.ascontiguousarray(cut[:, ::-1]) if augmentation.flip else cut


def _coloured(image: Tensor, colours: View) -> Tensor:
    """(3, H, W) uint8 to the same."""
    found = recoloured(image.float() / 255, colours) * 255
    if colours.sigma:
        found = blur(found[None], [colours.sigma])[0]
    return found.round().clamp(0, 255).to(torch.uint8)
