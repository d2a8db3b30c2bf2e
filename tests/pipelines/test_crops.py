"""Segments described by crops: which pixels the backbone gets, and what becomes of its tokens."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import timm
import torch
from numpy.typing import NDArray
from torch import Tensor

from specray.backbones.vit import ClassToken
from specray.errors import ErrorCode, ImageError
from specray.masks import RLE, ImageGeometry, Segment, erode_dilate, segments_from_labels
from specray.pipelines.crops import describe_crops
from specray.pipelines.preparing import Prepared

NAME = "vit_tiny_patch16_224"
SIDE = 16

Box = tuple[float, float, float, float]


class Where:
    """An encoder whose token says which pixels of `places` a crop is made of."""

    patch_size = SIDE

    def __init__(self) -> None:
        self.batches: list[tuple[int, ...]] = []

    def __call__(self, images: Tensor) -> Tensor:
        self.batches.append(tuple(images.shape))
        rows, columns = images[:, 0].float(), images[:, 1].float()
        ends = (rows.amin((1, 2)), columns.amin((1, 2)), rows.amax((1, 2)), columns.amax((1, 2)))
        return torch.stack([*ends, torch.full((len(images),), 64.0)], dim=1)


class Sizes:
    """An encoder that remembers the sizes of its crops."""

    patch_size = SIDE

    def __init__(self) -> None:
        self.seen: list[tuple[int, ...]] = []

    def __call__(self, images: Tensor) -> Tensor:
        self.seen += [tuple(images.shape[2:])] * len(images)
        return torch.ones(len(images), 2)


def places(height: int, width: int, original: tuple[int, int] | None = None) -> Prepared:
    """An image whose red is the row of a pixel and whose green is its column."""
    rows, columns = np.indices((height, width))
    pixels = np.stack([rows, columns, np.zeros_like(rows)], axis=2).astype(np.uint8)
    return Prepared("a.png", pixels, *(original or (height, width)))


def described(
    image: Prepared, boxes: Sequence[Box], encoder: Where | ClassToken
) -> list[NDArray[np.float16]]:
    return [feature_of(s) for s in describe_crops(image, map_segments(boxes), SIDE, encoder)]


def map_segments(boxes: Sequence[Box]) -> list[Segment]:
    """Segments of pixels in these boxes."""
    rle = RLE(size=[1, 1], counts=b"01")
    return [Segment("region", i, 0.5, box, 1, rle) for i, box in enumerate(boxes)]


def feature_of(segment: Segment) -> NDArray[np.float16]:
    assert segment.feature is not None
    return segment.feature


def crops(image: Prepared, boxes: Sequence[Box]) -> list[tuple[int, int, int, int]]:
    """Top, left, bottom, right of the pixels of each crop."""
    return ends_of(described(image, boxes, Where()))


def ends_of(features: Sequence[NDArray[np.float16]]) -> list[tuple[int, int, int, int]]:
    found = []
    for feature in features:
        ends = (feature[:4].astype(float) / feature[4] * 64).round().astype(int).tolist()
        found.append((ends[0], ends[1], ends[2] + 1, ends[3] + 1))
    return found


@pytest.mark.parametrize(
    ("box", "crop"),
    [
        ((16, 32, 48, 16), (32, 16, 48, 64)),  # whole patches
        ((20, 17, 3, 5), (16, 16, 32, 32)),  # inside of one
        ((15, 15, 2, 2), (0, 0, 32, 32)),  # across the corner of four
        ((0, 0, 1, 1), (0, 0, 16, 16)),
        ((0, 0, 100, 70), (0, 0, 64, 96)),  # with the remainder, which the backbone never sees
        ((90, 60, 10, 10), (48, 80, 64, 96)),
        ((97, 65, 2, 3), (48, 80, 64, 96)),  # in the remainder alone: the nearest patch
        ((97, 0, 3, 70), (0, 80, 64, 96)),
    ],
)
def test_a_crop_is_the_patches_that_its_box_touches(
    box: Box, crop: tuple[int, int, int, int]
) -> None:
    assert crops(places(70, 100), [box]) == [crop]


@pytest.mark.parametrize("original", [(140, 200), (139, 201), (523, 747), (66, 95), (40, 57)])
def test_crops_of_whole_patches_are_these_at_any_size_of_the_original(
    original: tuple[int, int],
) -> None:
    image = places(70, 100, original)
    geometry = ImageGeometry(*original, 70, 100, SIDE, 4, 6)
    labels = np.full((4, 6), -1)
    labels[0, 0], labels[1, 1:3], labels[1:3, 4] = 0, 1, 2
    segments = segments_from_labels(labels, geometry, "region", [1.0] * 3)
    expected = [(0, 0, 16, 16), (16, 16, 32, 48), (16, 64, 48, 80)]
    assert crops(image, [segment.bbox for segment in segments]) == expected
    found = describe_crops(image, segments, SIDE, Where())
    assert ends_of([feature_of(segment) for segment in found]) == expected


@pytest.mark.parametrize("size", [(375, 500), (333, 500), (500, 375), (480, 360)])
@pytest.mark.parametrize(("erode", "dilate"), [(0, 0), (2, 5)])
def test_crops_are_the_cells_of_the_box_also_where_a_remainder_stretches_it(
    size: tuple[int, int], erode: int, dilate: int
) -> None:
    """DSM's box: the extent in cells, times the side of a cell."""
    height, width = size
    grid = (height // SIDE, width // SIDE)
    labels = np.random.default_rng(0).integers(0, 5, grid)
    labels = np.sort(np.sort(labels, axis=0), axis=1)
    geometry = ImageGeometry(height, width, height, width, SIDE, *grid)
    segments = segments_from_labels(labels, geometry, "region", [1.0] * 5, erode, dilate)
    pixels = np.zeros((height, width, 3), np.uint8)
    sizes = Sizes()
    describe_crops(Prepared("a.png", pixels, *size), segments, SIDE, sizes)
    expected = []
    for label in np.unique(labels):
        rows, columns = np.nonzero(erode_dilate(labels == label, erode, dilate))
        extent = (SIDE * int(np.ptp(side) + 1) for side in (rows, columns))
        expected.append(tuple(extent))
    assert sorted(sizes.seen) == sorted(expected)


def test_a_token_that_is_not_finite_is_the_error_of_its_image() -> None:
    class Overflow(Where):
        def __call__(self, images: Tensor) -> Tensor:
            return torch.full((len(images), 3), torch.nan)

    with pytest.raises(ImageError, match="--precision fp32") as caught:
        described(places(70, 100), [(0, 0, 16, 16)], Overflow())
    assert caught.value.code == ErrorCode.NOT_FINITE


def test_every_box_has_a_crop_inside_of_the_patches() -> None:
    rng = np.random.default_rng(0)
    image = places(70, 100, (33, 210))
    corners = rng.integers(0, (210, 33), (200, 2))
    boxes: list[Box] = [
        (x, y, rng.integers(1, 211 - x), rng.integers(1, 34 - y)) for x, y in corners.tolist()
    ]
    for top, left, bottom, right in crops(image, boxes):
        assert 0 <= top < bottom <= 64 and 0 <= left < right <= 96
        assert top % SIDE == left % SIDE == bottom % SIDE == right % SIDE == 0


def test_crops_of_one_size_go_together_in_bounded_batches() -> None:
    encoder = Where()
    boxes: list[Box] = [*((16 * (i % 6), 0, 16, 16) for i in range(35)), (0, 0, 32, 16)]
    described(places(70, 100), boxes, encoder)
    assert sorted(encoder.batches) == [
        *((1, 3, 16, 32), (3, 3, 16, 16), (16, 3, 16, 16), (16, 3, 16, 16))
    ]


def test_an_image_without_segments_asks_for_nothing() -> None:
    encoder = Where()
    assert describe_crops(places(70, 100), [], SIDE, encoder) == []
    assert encoder.batches == []


@pytest.fixture(scope="module")
def encoder() -> ClassToken:
    """A ViT of random weights."""
    generator = torch.Generator().manual_seed(0)
    own = timm.create_model(NAME, num_classes=0, dynamic_img_size=True).state_dict()
    state = {
        key: 0.05 * torch.randn(value.shape, generator=generator) + float("norm" in key)
        for key, value in own.items()
    }
    return ClassToken(NAME, state)


def noise(height: int, width: int) -> Prepared:
    pixels = np.random.default_rng(1).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Prepared("a.png", pixels, height, width)


def test_a_feature_is_the_unit_class_token_of_its_crop(encoder: ClassToken) -> None:
    image = noise(70, 100)
    boxes: list[Box] = [(16, 32, 48, 16), (0, 0, 100, 70), (20, 17, 3, 5)]
    expected = [image.pixels[32:48, 16:64], image.pixels[:64, :96], image.pixels[16:32, 16:32]]
    for feature, crop in zip(described(image, boxes, encoder), expected, strict=True):
        (token,) = encoder(torch.tensor(crop).permute(2, 0, 1)[None])
        assert feature.dtype == np.float16
        np.testing.assert_array_equal(feature, (token / token.norm()).half().numpy())
        assert abs(np.linalg.norm(feature.astype(np.float64)) - 1) < 1e-3


def test_crops_of_one_size_are_together_what_they_are_alone(encoder: ClassToken) -> None:
    image = noise(70, 100)
    boxes: list[Box] = [(16 * i, 16, 32, 32) for i in range(5)]
    alone = [described(image, [box], encoder)[0] for box in boxes]
    np.testing.assert_allclose(described(image, boxes, encoder), alone, atol=1e-3)
