"""One batch without Ray: rows that depend on their image alone, whatever the image."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from specray.backbones import DescriptorBackbone
from specray.errors import ErrorCode, ImageError
from specray.pipelines.config import SegmentConfig
from specray.pipelines.engine import Engine
from specray.pipelines.preparing import Prepared, check_grid, prepare
from specray.sources import DecodedImage
from specray.tables.rows import table_of


def prepared(pixels: NDArray[np.uint8], key: str = "a.png") -> Prepared:
    return prepare(key, DecodedImage(pixels, *pixels.shape[:2]), patch_size=16)


def noise(height: int, width: int, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def engine() -> Engine:
    return Engine(SegmentConfig("", "", keep=("eigenvectors",)), DescriptorBackbone(), "cpu")


def test_images_of_mixed_sizes_come_back_in_order_and_as_alone(engine: Engine) -> None:
    sizes = [(64, 96), (48, 48), (64, 96), (100, 70)]
    images = [prepared(noise(*size, seed), str(seed)) for seed, size in enumerate(sizes)]
    together = table_of(engine(images))
    assert together["key"].to_pylist() == ["0", "1", "2", "3"]
    assert together.equals(table_of([row for image in images for row in engine([image])]))


@pytest.mark.parametrize(("height", "width"), [(20, 30), (16, 32), (32, 32), (16, 400)])
def test_images_of_fewer_patches_than_eigenvectors_have_good_rows(
    engine: Engine, height: int, width: int
) -> None:
    (row,) = engine([prepared(noise(height, width))])
    patches = (height // 16) * (width // 16)
    assert len(row["eigenvalues"]) == min(5, patches)
    assert row["segments"][0]["method"] == "object"
    assert row["segments"][0]["rle"]["size"] == [height, width]


def test_an_image_of_one_colour_has_a_good_row(engine: Engine) -> None:
    (row,) = engine([prepared(np.full((64, 64, 3), 128, dtype=np.uint8))])
    assert np.isfinite(row["eigenvalues"]).all()
    assert sum(s["area"] for s in row["segments"] if s["method"] == "region") == 64 * 64


class Overflowing(DescriptorBackbone):
    """A backbone whose arithmetic overflows on white, as half precision does on outliers."""

    def __call__(self, images: Tensor) -> Tensor:
        white = (images == 255).flatten(1).all(dim=1)
        return torch.where(white[:, None, None], torch.nan, super().__call__(images))


def test_features_that_are_not_finite_are_an_error_of_that_image_alone() -> None:
    engine = Engine(SegmentConfig("", ""), Overflowing(), "cpu")
    white = np.full((64, 64, 3), 255, dtype=np.uint8)
    images = [prepared(noise(64, 64)), prepared(white), prepared(noise(64, 64, 1))]
    first, second, third = engine(images)
    assert second["error"]["code"] == "not_finite"
    assert first["segments"] and third["segments"]


def test_images_without_a_whole_patch_or_with_too_many_are_refused() -> None:
    check_grid(160, 160, patch_size=16, max_patches=100, cell=16)
    with pytest.raises(ImageError) as small:
        check_grid(15, 400, patch_size=16, max_patches=100, cell=16)
    with pytest.raises(ImageError, match="--image-size") as large:
        check_grid(160, 176, patch_size=16, max_patches=100, cell=16)
    assert (small.value.code, large.value.code) == (
        ErrorCode.TOO_SMALL,
        ErrorCode.TOO_MANY_PATCHES,
    )


def test_the_budget_counts_the_cells_of_a_finer_affinity() -> None:
    check_grid(80, 80, patch_size=16, max_patches=100, cell=8)
    with pytest.raises(ImageError, match="144 patches"):
        check_grid(96, 96, patch_size=16, max_patches=100, cell=8)
