"""Photometric views: drawn from seed, key and number alone, in the two published colour spaces."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from skimage import data
from torch import Tensor
from torchvision.transforms.v2 import functional as reference

from specray.backbones import (
    Jitter,
    ViewConfig,
    apply_views,
    draw_view,
    mirrored,
    variants,
    view_pixels,
)
from specray.backbones.views import View

IMAGE = torch.from_numpy(data.astronaut()[::4, ::4].copy()).permute(2, 0, 1)[:, :96]
MEAN, STD = (
    torch.tensor(values).view(3, 1, 1) * 255
    for values in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
)
MODES: tuple[Jitter, ...] = ("paper", "clamped")


def view(drawn: View, mode: Jitter = "paper", image: Tensor = IMAGE) -> Tensor:
    return apply_views(image[None], [drawn], mode)[0]


@pytest.mark.parametrize("mode", MODES)
def test_a_view_depends_on_seed_key_and_number_alone(mode: Jitter) -> None:
    first = view_pixels(IMAGE, 3, "a.jpg", 1, mode)
    assert (first.dtype, first.shape) == (torch.float32, IMAGE.shape)
    view_pixels(IMAGE, 9, "b.jpg", 4, mode)  # nothing that comes in between changes it
    assert torch.equal(view_pixels(IMAGE, 3, "a.jpg", 1, mode), first)
    for other in ((4, "a.jpg", 1), (3, "b.jpg", 1), (3, "a.jpg", 2)):
        assert not torch.equal(view_pixels(IMAGE, *other, mode), first)


def test_views_are_drawn_with_the_published_shares() -> None:
    drawn = [draw_view(0, f"{i}.jpg", 1) for i in range(4000)]
    sigmas = np.array([each.sigma for each in drawn])
    assert 0.1 <= sigmas.min() < 0.11 and 1.99 < sigmas.max() <= 2
    assert np.mean([bool(each.jitter) for each in drawn]) == pytest.approx(0.15, abs=0.02)
    assert np.mean([each.grey for each in drawn]) == pytest.approx(0.05, abs=0.01)
    assert not any(each.grey and each.jitter for each in drawn)
    jittered = [each.jitter for each in drawn if each.jitter]
    assert len({tuple(kind for kind, _ in jitter) for jitter in jittered}) == 24
    for kind, middle in enumerate((1, 1, 1, 0)):
        factors = np.array([dict(jitter)[kind] for jitter in jittered]) - middle
        assert -0.1 <= factors.min() < -0.09 and 0.09 < factors.max() <= 0.1


@pytest.mark.parametrize("sigma", [0.1, 0.7, 2.0])
@pytest.mark.parametrize("mode", MODES)
def test_the_blur_is_the_one_of_torchvision_with_21_taps(sigma: float, mode: Jitter) -> None:
    expected = reference.gaussian_blur(IMAGE.float(), [21, 21], [sigma, sigma])
    torch.testing.assert_close(view(View(sigma), mode), expected, atol=1e-3, rtol=0)


@pytest.mark.parametrize("side", [1, 8, 10, 11])
def test_an_image_smaller_than_the_blur_is_reflected_as_often_as_it_takes(side: int) -> None:
    image = IMAGE[:, :side, :side].double()
    padded = np.pad(image.numpy(), ((0, 0), (10, 10), (10, 10)), mode="reflect")
    wide = torch.from_numpy(padded).float()
    blurred = view(View(2.0), image=wide)[:, 10:-10, 10:-10]
    torch.testing.assert_close(view(View(2.0), image=image), blurred, atol=1e-3, rtol=0)


JITTERED = View(0.5, ((0, 1.08), (1, 0.93), (2, 1.05), (3, -0.04)))


def jittered(image: Tensor) -> Tensor:
    image = reference.adjust_contrast(reference.adjust_brightness(image, 1.08), 0.93)
    turned: Tensor = reference.adjust_hue(reference.adjust_saturation(image, 1.05), -0.04)
    return turned


def test_colours_change_before_normalisation_as_described_and_after_it_as_published() -> None:
    blurred = reference.gaussian_blur(IMAGE.float(), [21, 21], [0.5, 0.5])
    paper = jittered(blurred / 255) * 255
    torch.testing.assert_close(view(JITTERED), paper, atol=1e-2, rtol=0)
    normalised = (blurred - MEAN) / STD
    clamped = jittered(normalised) * STD + MEAN
    torch.testing.assert_close(view(JITTERED, "clamped"), clamped, atol=1e-2, rtol=0)
    assert (clamped >= MEAN - 0.01).all() and not (paper >= MEAN).all()


def test_grey_is_the_same_in_all_channels_of_its_own_space() -> None:
    grey = View(0.5, grey=True)
    red, *others = view(grey)
    assert all(torch.allclose(red, other, atol=1e-3) for other in others)
    red, *others = (view(grey, "clamped") - MEAN) / STD
    assert all(torch.allclose(red, other, atol=1e-5) for other in others)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("value", [0, 124, 255])
def test_views_of_one_colour_are_finite(mode: Jitter, value: int) -> None:
    flat = torch.full((3, 16, 16), value, dtype=torch.uint8)
    for first in range(4):
        order = [(first + i) % 4 for i in range(4)]
        factors = dict(JITTERED.jitter)
        drawn = View(1.0, tuple((kind, factors[kind]) for kind in order))
        assert view(drawn, mode, flat).isfinite().all()
    normalised = (MEAN.expand(3, 16, 16) - MEAN) / STD  # where saturation would be 0 / 0
    assert view(View(1.0, ((3, 0.05),)), mode, normalised * STD + MEAN).isfinite().all()


def test_a_batch_of_views_are_those_of_its_images() -> None:
    images = torch.stack([IMAGE, mirrored(IMAGE), 255 - IMAGE])
    drawn = [View(0.3), JITTERED, View(1.9, grey=True)]
    together = apply_views(images, drawn)
    alone = torch.stack([view(d, image=i) for d, i in zip(drawn, images, strict=True)])
    torch.testing.assert_close(together, alone, atol=1e-3, rtol=0)


def test_variants_are_mirror_images_and_views_in_their_order() -> None:
    images, keys = torch.stack([IMAGE, 255 - IMAGE]), ("a", "b")
    found = list(variants(images, keys, 5, ViewConfig(views=2)))
    assert len(found) == 5
    assert torch.equal(found[0], images.flip(3))
    for number in (1, 2):
        own = [view_pixels(i, 5, key, number) for i, key in zip(images, keys, strict=True)]
        torch.testing.assert_close(found[2 * number - 1], torch.stack(own), atol=1e-3, rtol=0)
        assert torch.equal(found[2 * number], found[2 * number - 1].flip(3))
    assert len(list(variants(images, keys, 5, ViewConfig(views=0)))) == 1
