"""Photometric views of an image: the same picture, blurred and at times recoloured, for training.

What a view is depends on the seed, the key of the image and the number of the view alone, so that
whoever draws it, in whatever order and on how many machines, draws the same (PriMaPs-EM [1]_).

References
----------
.. [1] O. Hahn, N. Araslanov, S. Schaub-Meyer, S. Roth, "Boosting unsupervised semantic segmentation
   with principal mask proposals", TMLR 2024.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import conv2d
from torchvision.transforms.v2 import functional as recolour

from specray.backbones.config import Jitter, ViewConfig
from specray.seeds import derive_seed

RADIUS = 10  # pixels of the blur: 21 taps
SIGMA = (0.1, 2.0)
JITTER_SHARE = 0.3  # of that half of the views that may be jittered
GREY_SHARE = 0.1  # of the other half
STRENGTH = 0.1  # of each kind of jitter
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))  # mean and deviation in [0, 1]

_KINDS = (
    recolour.adjust_brightness,
    recolour.adjust_contrast,
    recolour.adjust_saturation,
    recolour.adjust_hue,
)


@dataclass(frozen=True)
class View:
    """What is done to an image."""

    sigma: float
    """Pixels, of the blur."""
    jitter: tuple[tuple[int, float], ...] = ()
    """Kinds of jitter, in the order in which they come, with their factors."""
    grey: bool = False


def draw_view(seed: int, key: str, number: int) -> View:
    """What is done to an image in one of its views.

    Always blurred; then one half of the views has a chance of jitter, the other of turning grey.

    Parameters
    ----------
    seed, key, number
        Seed of the run, key of the image, number of the view.
    """
    random = np.random.default_rng(derive_seed(derive_seed(seed, key), f"view {number}"))
    sigma = random.uniform(*SIGMA)
    recoloured, chance = random.random(2)
    if recoloured >= 0.5:
        return View(sigma, grey=bool(chance < GREY_SHARE))
    if chance >= JITTER_SHARE:
        return View(sigma)
    order = random.permutation(len(_KINDS)).tolist()
    factors = random.uniform(-STRENGTH, STRENGTH, len(_KINDS))
    factors[:3] += 1  # of brightness, contrast, saturation; hue is turned
    return View(sigma, tuple((kind, float(factors[kind])) for kind in order))


def apply_views(images: Tensor, views: Sequence[View], mode: Jitter = "paper") -> Tensor:
    """One view of each of some images of one size.

    Parameters
    ----------
    images
        (B, 3, H, W) RGB, 0 to 255, on any device.
    views
        (B,) what to do to each.
    mode
        `paper`: colours change in [0, 1], before normalisation. `clamped`: as in the published
        code, after normalisation by ImageNet's statistics, where jitter cuts off all that is
        not in [0, 1]: every value darker than the mean.

    Returns
    -------
    Tensor
        (B, 3, H, W) float32, 0 to 255, not rounded: a backbone takes it in place of the image.
    """
    blurred = blur(images.float(), [view.sigma for view in views])
    if mode == "paper":
        offset, scale = 0.0, 255.0
    else:
        offset, scale = torch.tensor(IMAGENET, device=images.device).view(2, 3, 1, 1) * 255
    for image, view in zip(blurred, views, strict=True):
        if view.jitter or view.grey:
            image.copy_(recoloured((image - offset) / scale, view) * scale + offset)
    return blurred


def view_pixels(image: Tensor, seed: int, key: str, number: int, mode: Jitter = "paper") -> Tensor:
    """One view of one image: (3, H, W) uint8 to float32; see `draw_view` and `apply_views`."""
    return apply_views(image[None], [draw_view(seed, key, number)], mode)[0]


def variants(
    images: Tensor, keys: Sequence[str], seed: int, config: ViewConfig
) -> Iterator[Tensor]:
    """What is seen of some images besides themselves: one batch after the other, made on demand.

    Parameters
    ----------
    images
        (B, 3, H, W) uint8 RGB.
    keys
        (B,) theirs.
    seed, config
        Of the run.

    Yields
    ------
    Tensor
        (B, 3, H, W): the mirror images; of every view the images and their mirror images.
    """
    yield mirrored(images)
    for number in range(1, config.views + 1):
        drawn = [draw_view(seed, key, number) for key in keys]
        view = apply_views(images, drawn, config.jitter)
        yield view
        yield mirrored(view)


def mirrored(images: Tensor) -> Tensor:
    """(..., H, W) images, left and right exchanged."""
    return images.flip(-1)


def recoloured(image: Tensor, view: View) -> Tensor:
    """(3, H, W) float image in [0, 1], or normalised, with the jitter and the grey of a view."""
    for kind, factor in view.jitter:
        image = _KINDS[kind](image, factor)
    if view.grey:
        image = recolour.rgb_to_grayscale(image, num_output_channels=3)
    return image.nan_to_num()  # saturation is 0 / 0 where normalised values of a pixel end at 0


def blur(images: Tensor, sigmas: Sequence[float]) -> Tensor:
    """Gaussian blur of every image by its own sigma, rows and columns one after the other."""
    batch, channels, height, width = images.shape
    x = torch.arange(-RADIUS, RADIUS + 1, device=images.device, dtype=torch.float32)
    squared = torch.tensor(sigmas, device=images.device, dtype=torch.float32).square()
    kernels = torch.softmax(-x.square() / (2 * squared[:, None]), dim=1)  # (B, 2 R + 1)
    kernels = kernels.repeat_interleave(channels, dim=0)[:, None, None]
    rows, columns = (_reflected(length, images.device) for length in (height, width))
    padded = images[:, :, rows][..., columns].flatten(0, 1)[None]
    for kernel in (kernels, kernels.transpose(-1, -2)):
        padded = conv2d(padded, kernel, groups=batch * channels)
    return padded.reshape(images.shape)


def _reflected(length: int, device: torch.device) -> Tensor:
    """Places of a side and, on both ends, of its reflection: also of a side below the radius."""
    period = max(2 * (length - 1), 1)
    places = torch.arange(-RADIUS, length + RADIUS, device=device) % period
    return torch.where(places < length, places, period - places)
