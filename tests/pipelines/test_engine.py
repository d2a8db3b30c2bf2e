"""One batch without Ray: rows that depend on their image alone, whatever the image."""

from __future__ import annotations

import dataclasses
import weakref
from collections.abc import Callable
from functools import partial
from typing import Any, get_args

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from pycocotools import mask as coco_mask
from skimage import data
from torch import Tensor

from specray.backbones import DescriptorBackbone
from specray.errors import ErrorCode, ImageError
from specray.masks import InstanceConfig, RefineConfig
from specray.masks.config import Refine, Separation
from specray.pipelines.config import Method, SegmentConfig
from specray.pipelines.engine import Engine
from specray.pipelines.preparing import Prepared, check_grid, prepare
from specray.sources import DecodedImage
from specray.spectral import SpectralConfig
from specray.tables.rows import Row, table_of


def prepared(pixels: NDArray[np.uint8], key: str = "a.png") -> Prepared:
    return prepare(key, DecodedImage(pixels, *pixels.shape[:2]))


def photograph(height: int, width: int, seed: int = 0) -> NDArray[np.uint8]:
    """Another part of a real one for every seed."""
    top, left = np.random.default_rng(seed).integers(0, (512 - 2 * height, 512 - 2 * width))
    part = data.astronaut()[top : top + 2 * height : 2, left : left + 2 * width : 2]
    return np.ascontiguousarray(part)


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


@pytest.fixture(scope="module", params=get_args(Separation))
def instances(request: pytest.FixtureRequest) -> Engine:
    """An engine that looks for instances alone."""
    return engine_of(instances=InstanceConfig(request.param))


def engine_of(**changes: Any) -> Engine:
    config = SegmentConfig("", "", methods=("instances",))
    return Engine(dataclasses.replace(config, **changes), DescriptorBackbone(), "cpu")


@pytest.mark.parametrize("size", [(20, 30), (16, 32), (32, 32), (16, 400), (400, 16), (64, 80)])
def test_images_of_few_patches_have_instances_or_none_and_no_error(
    instances: Engine, size: tuple[int, int]
) -> None:
    for pixels in (noise(*size), np.zeros((*size, 3), dtype=np.uint8)):
        (row,) = instances([prepared(pixels)])
        assert row.get("error") is None
        assert {s["method"] for s in row["segments"]} <= {"instance"}


def test_instances_of_images_of_mixed_sizes_are_as_alone(instances: Engine) -> None:
    sizes = [(160, 128), (128, 160), (160, 128), (160, 128), (100, 70)]
    images = [prepared(photograph(*size, seed), str(seed)) for seed, size in enumerate(sizes)]
    together = instances(images)
    assert sum(len(row["segments"]) for row in together) > 1
    alone = [row for image in images for row in instances([image])]
    assert table_of(together).equals(table_of(alone))
    same_size = [images[i] for i in (0, 2, 3)]
    batched = instances._patient(same_size)  # together, as an accelerator takes them
    expected = table_of([alone[i] for i in (0, 2, 3)])
    assert table_of(batched)["segments"].equals(expected["segments"])


@pytest.mark.parametrize("refine", get_args(Refine))
@pytest.mark.parametrize("size", [(20, 30), (16, 32), (16, 400), (400, 16), (64, 80)])
def test_images_of_few_patches_have_primaps_or_none_and_no_error(
    size: tuple[int, int], refine: Refine
) -> None:
    engine = engine_of(methods=("primaps",), refinement=RefineConfig(refine))
    for pixels in (noise(*size), np.zeros((*size, 3), dtype=np.uint8)):
        (row,) = engine([prepared(pixels)])
        assert row.get("error") is None
        assert {s["method"] for s in row["segments"]} <= {"primap"}


@pytest.mark.parametrize("refine", get_args(Refine))
def test_primaps_of_images_of_mixed_sizes_are_as_alone(refine: Refine) -> None:
    engine = engine_of(methods=("primaps",), refinement=RefineConfig(refine))
    sizes = [(160, 128), (128, 160), (160, 128), (100, 70)]
    images = [prepared(photograph(*size, seed), str(seed)) for seed, size in enumerate(sizes)]
    together = engine(images)
    assert all(row["segments"] for row in together)
    alone = [row for image in images for row in engine([image])]
    assert table_of(together).equals(table_of(alone))
    batched = engine._patient([images[0], images[2]])  # together, as an accelerator takes them
    expected = table_of([alone[0], alone[2]])
    assert table_of(batched)["segments"].equals(expected["segments"])


def test_instances_on_a_finer_grid_end_at_its_cells() -> None:
    engine = engine_of(
        spectral=SpectralConfig(downsample_factor=8), refinement=RefineConfig("none")
    )
    (row,) = engine([prepared(photograph(160, 128))])
    assert (row["grid_h"], row["grid_w"]) == (20, 16)
    assert row["segments"]
    for segment in row["segments"]:
        cells = coco_mask.decode(segment["rle"]).reshape(20, 8, 16, 8)
        assert (cells == cells[:, :1, :, :1]).all()
        assert segment["score"] > 0


def test_methods_do_not_disturb_each_other() -> None:
    image = prepared(photograph(160, 128))
    methods: tuple[Method, ...] = get_args(Method)
    rows = [engine_of(methods=(method,))([image])[0] for method in methods]
    (together,) = engine_of(methods=methods)([image])
    alone = together | {"segments": [segment for row in rows for segment in row["segments"]]}
    assert table_of([together]).equals(table_of([alone]))


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


class Failing(DescriptorBackbone):
    """A backbone that raises where `fault` says so; it notes the sizes of its batches."""

    def __init__(self, fault: Callable[[Tensor], Exception | None]) -> None:
        self.batches: list[int] = []
        self._fault = fault
        self._attempt: weakref.ref[Tensor] | None = None

    def __call__(self, images: Tensor) -> Tensor:
        assert self._attempt is None or self._attempt() is None  # else memory would stay full
        self.batches.append(len(images))
        workspace = images.float()
        if error := self._fault(images):
            self._attempt = weakref.ref(workspace)
            raise error
        return super().__call__(images)


def out_of_memory_above(limit: int) -> Callable[[Tensor], Exception | None]:
    error = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nGPU 0")
    return lambda images: error if len(images) > limit else None


def on_black(error: Exception) -> Callable[[Tensor], Exception | None]:
    return lambda images: error if (images == 0).flatten(1).all(dim=1).any() else None


CONFIG = SegmentConfig("", "")
GOOD = [prepared(noise(64, 64, seed), str(seed)) for seed in range(6)]
BLACK = prepared(np.zeros((64, 64, 3), dtype=np.uint8), "black")


@pytest.fixture(scope="module")
def calm() -> list[Row]:
    """The rows of the good images without any fault."""
    return Engine(CONFIG, DescriptorBackbone(), "cpu")(GOOD)


@pytest.mark.parametrize("limit", [1, 2, 3, 5])
def test_a_batch_too_large_for_the_memory_gives_the_same_rows_in_halves(
    calm: list[Row], limit: int
) -> None:
    backbone = Failing(out_of_memory_above(limit))
    engine = Engine(CONFIG, backbone, "cpu")
    rows = engine._patient(GOOD)
    assert table_of(rows).equals(table_of(calm))
    assert max(backbone.batches) == 6 > limit
    assert sum(size for size in backbone.batches if size <= limit) == 6  # nothing twice
    assert engine.fallbacks == 0


@pytest.mark.parametrize("place", range(7))
def test_an_image_that_raises_is_one_row_and_no_trouble_to_the_others(
    calm: list[Row], place: int
) -> None:
    engine = Engine(CONFIG, Failing(on_black(ZeroDivisionError("by\n\t zero"))), "cpu")
    rows = engine._patient([*GOOD[:place], BLACK, *GOOD[place:]])
    poisoned = rows.pop(place)
    assert table_of(rows).equals(table_of(calm))
    assert poisoned == {
        "key": "black",
        "width": 64,
        "height": 64,
        "error": {
            "code": "internal",
            "stage": "segment",
            "message": "ZeroDivisionError: by zero",
        },
    }


OUT_OF_MEMORY = [
    torch.OutOfMemoryError("CUDA out of memory"),
    MemoryError(),
    RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory"),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    RuntimeError("cusolver error: CUSOLVER_STATUS_ALLOC_FAILED, when calling `cusolverDnSsyevd`"),
]


@pytest.mark.parametrize("error", OUT_OF_MEMORY, ids=str)
def test_an_image_alone_too_large_for_the_accelerator_is_taken_by_the_fallback_and_counted(
    calm: list[Row], error: Exception
) -> None:
    spares: list[Engine] = []

    def fallback() -> Engine:
        spares.append(Engine(CONFIG, DescriptorBackbone(), "cpu"))
        return spares[-1]

    engine = Engine(CONFIG, Failing(on_black(error)), "cpu", fallback)
    rows = engine._patient([*GOOD[:2], BLACK, *GOOD[2:], BLACK])
    assert engine.fallbacks == 2
    assert len(spares) == 1
    expected = spares[0]([BLACK])
    assert table_of([rows[2]]).equals(table_of(expected))
    assert table_of([rows[7]]).equals(table_of(expected))
    assert table_of(rows[:2] + rows[3:7]).equals(table_of(calm))
    assert rows[2].get("error") is None


@pytest.mark.parametrize("error", OUT_OF_MEMORY, ids=str)
@pytest.mark.parametrize("fallback", [False, True])
def test_an_image_too_large_for_every_memory_is_a_row_that_says_so(
    calm: list[Row], error: Exception, fallback: bool
) -> None:
    backbone = Failing(on_black(error))
    spare = partial(Engine, CONFIG, backbone, "cpu") if fallback else None
    engine = Engine(CONFIG, backbone, "cpu", spare)
    first, bad, *rest = engine._patient([GOOD[0], BLACK, *GOOD[1:]])
    assert (bad["error"]["code"], bad["error"]["stage"]) == ("out_of_memory", "segment")
    assert type(error).__name__ in bad["error"]["message"]
    assert "\n" not in bad["error"]["message"]
    assert table_of([first, *rest]).equals(table_of(calm))


def test_only_want_of_memory_is_a_reason_to_fall_back() -> None:
    def fallback() -> Engine:
        raise AssertionError("not asked for")

    engine = Engine(CONFIG, Failing(on_black(ValueError("no"))), "cpu", fallback)
    (row,) = engine([BLACK])
    assert row["error"]["code"] == "internal"
    assert engine.fallbacks == 0


@pytest.mark.parametrize("error", [torch.AcceleratorError("illegal access"), KeyboardInterrupt()])
def test_a_device_that_is_lost_and_an_interrupt_are_no_row(error: BaseException) -> None:
    def raising(images: Tensor) -> Exception | None:
        raise error

    backbone = Failing(raising)
    with pytest.raises(type(error)):
        Engine(CONFIG, backbone, "cpu")(GOOD)
    assert len(backbone.batches) == 1


def test_a_driver_without_memory_is_no_lost_device() -> None:
    def raising(images: Tensor) -> Exception | None:
        return torch.AcceleratorError("CUDA error: out of memory")

    rows = Engine(CONFIG, Failing(raising), "cpu")(GOOD)
    assert {row["error"]["code"] for row in rows} == {"out_of_memory"}


@pytest.mark.parametrize("text", ["x" * 10**6, "\ud800 \udcff", "a\0b", "\x1b[31m", ""])
def test_an_exception_of_any_text_fits_into_a_row(text: str) -> None:
    engine = Engine(CONFIG, Failing(on_black(ValueError(text))), "cpu")
    table = table_of(engine([BLACK]))
    message = table["error"][0].as_py()["message"]
    assert message.startswith("ValueError")
    assert len(message) <= 500
