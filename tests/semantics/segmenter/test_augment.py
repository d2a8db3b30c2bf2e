"""Image and labels move together, as seed, epoch and key say."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from specray.semantics.segmenter.augment import Augmentation, augment, draw_augmentation
from specray.semantics.segmenter.config import Cropping, SegmenterConfig

SMALL = SegmenterConfig(short_side=64, crop=56, jitter=False)
CROPPINGS: tuple[Cropping, ...] = ("fixed", "resized")


def coordinates(height: int, width: int) -> NDArray[np.uint8]:
    """An image that says where it is: red grows to the right, green downwards."""
    y, x = np.mgrid[:height, :width]
    shown = [255 * (x + 0.5) / width, 255 * (y + 0.5) / height, 128 + 0 * x]
    return np.stack(shown, axis=-1).round().astype(np.uint8)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(40, 150),
    st.integers(40, 150),
    st.integers(0, 10**6),
    st.sampled_from(CROPPINGS),
)
def test_labels_and_confidences_are_those_of_the_place_that_is_shown(
    height: int, width: int, seed: int, cropping: Cropping
) -> None:
    pixels = coordinates(height, width)
    config = replace(SMALL, cropping=cropping)
    drawn = draw_augmentation(seed, 0, "a.jpg", (height, width), config)
    labels = pixels[..., 0]
    confidence = pixels[..., 1].astype(np.float32)
    image, moved, sure = augment(drawn, pixels, labels, confidence)
    assert image.shape == (3, 56, 56) and moved.shape == (56, 56)
    assert sure is not None
    # the nearest pixel is at most half a pixel away, at the scale of either side; cubic
    # interpolation of a slope is exact but for rounding and the borders
    inner = slice(4, -4)
    for shown, label, side in ((image[0], moved, width), (image[1], sure, height)):
        away = (shown[inner, inner].float() - label[inner, inner].float()).abs()
        assert float(away.max()) <= 0.5 * 255 / side + 2


@settings(max_examples=60, deadline=None)
@given(st.integers(30, 400), st.integers(30, 400), st.integers(0, 10**6))
def test_a_fixed_crop_has_its_share_of_the_short_side_and_lies_inside(
    height: int, width: int, seed: int
) -> None:
    drawn = draw_augmentation(seed, 1, "a.jpg", (height, width), SMALL)
    left, top, right, bottom = drawn.box
    assert 0 <= left < right <= width and 0 <= top < bottom <= height
    short = (right - left) if width <= height else (bottom - top)
    assert short == pytest.approx(min(height, width) * 56 / 64)
    assert right - left == pytest.approx(bottom - top, rel=0.02)  # sides are whole pixels


def test_a_crop_of_random_size_is_as_the_library_that_the_paper_used_draws_it() -> None:
    config = replace(SMALL, cropping="resized")
    boxes = [draw_augmentation(0, e, "a", (300, 400), config).box for e in range(2000)]
    sides = np.array([(right - left, bottom - top) for left, top, right, bottom in boxes])
    areas, aspects = sides.prod(axis=1) / (300 * 400), sides[:, 0] / sides[:, 1]
    assert 0.08 <= areas.min() < 0.1 and 0.9 < areas.max() <= 1
    assert 0.75 - 1e-9 <= aspects.min() < 0.77 and 1.3 < aspects.max() <= 4 / 3 + 1e-9


@pytest.mark.parametrize("cropping", CROPPINGS)
def test_it_depends_on_seed_epoch_and_key_alone(cropping: Cropping) -> None:
    config = SegmenterConfig(short_side=64, crop=56, cropping=cropping)

    def drawn(seed: int, epoch: int, key: str) -> Augmentation:
        return draw_augmentation(seed, epoch, key, (90, 120), config)

    pixels, labels = coordinates(90, 120), coordinates(90, 120)[..., 1]
    first = augment(drawn(0, 3, "a"), pixels, labels)
    again = augment(drawn(0, 3, "a"), pixels, labels)
    assert torch.equal(first.image, again.image) and torch.equal(first.labels, again.labels)
    for other in ((1, 3, "a"), (0, 4, "a"), (0, 3, "b")):
        assert drawn(*other).seed != drawn(0, 3, "a").seed
        assert not torch.equal(augment(drawn(*other), pixels, labels).labels, first.labels)


def test_what_happens_by_chance_happens_as_often_as_described() -> None:
    config = SegmenterConfig()
    drawn = [draw_augmentation(0, 0, f"{i}", (300, 400), config) for i in range(3000)]
    colours = [each.colours for each in drawn if each.colours is not None]
    assert len(colours) == len(drawn)
    assert np.mean([each.flip for each in drawn]) == pytest.approx(0.5, abs=0.03)
    assert np.mean([bool(each.jitter) for each in colours]) == pytest.approx(0.8, abs=0.03)
    assert np.mean([each.grey for each in colours]) == pytest.approx(0.2, abs=0.03)
    assert np.mean([each.sigma > 0 for each in colours]) == pytest.approx(0.1, abs=0.03)
    for kind, (middle, strength) in enumerate(((1, 0.4), (1, 0.4), (1, 0.2), (0, 0.1))):
        factors = np.array([dict(each.jitter)[kind] for each in colours if each.jitter]) - middle
        assert -strength <= factors.min() < -0.95 * strength
        assert 0.95 * strength < factors.max() <= strength


def test_colours_change_without_moving_anything() -> None:
    config = replace(SMALL, jitter=True)
    pixels, labels = coordinates(64, 64), coordinates(64, 64)[..., 0]
    changed = 0
    for epoch in range(10):
        drawn = draw_augmentation(0, epoch, "a", (64, 64), config)
        with_colours = augment(drawn, pixels, labels)
        plain = augment(replace(drawn, colours=None), pixels, labels)
        assert torch.equal(with_colours.labels, plain.labels)
        changed += not torch.equal(with_colours.image, plain.image)
    assert changed >= 7


def test_without_a_change_of_size_pixels_are_copied() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (64, 80, 3)).astype(np.uint8)
    drawn = draw_augmentation(0, 0, "a", (64, 80), SMALL)
    left, top, right, bottom = (round(edge) for edge in drawn.box)
    expected = pixels[top:bottom, left:right]
    image, labels, _ = augment(drawn, pixels, pixels[..., 2])
    expected = expected[:, ::-1] if drawn.flip else expected
    np.testing.assert_array_equal(image.permute(1, 2, 0).numpy(), expected)
    np.testing.assert_array_equal(labels.numpy(), expected[..., 2])


def test_labels_of_another_size_are_refused() -> None:
    drawn = draw_augmentation(0, 0, "a", (64, 80), SMALL)
    with pytest.raises(ValueError, match="labels of"):
        augment(drawn, coordinates(64, 80), coordinates(64, 79)[..., 0])
