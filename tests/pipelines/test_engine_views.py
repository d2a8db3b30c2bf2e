"""What the pass keeps to train on: features of the image, of its mirror image and of views."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from specray.backbones import (
    BackboneConfig,
    DescriptorBackbone,
    ViewConfig,
    build_backbone,
    view_pixels,
)
from specray.pipelines.config import ImageConfig, Kept, Method, RunConfig, SegmentConfig
from specray.pipelines.engine import Engine
from specray.pipelines.preparing import Prepared, prepare
from specray.pipelines.segment import run_segment
from specray.sources import DecodedImage, open_store
from specray.spectral import SpectralConfig
from specray.tables.commit import list_shards
from specray.tables.features import COLUMNS, ImageFeatures, features_of, variant
from specray.tables.reading import read
from specray.tables.rows import Row, table_of
from tests.pipelines.photographs import photograph, write_photographs

DESCRIPTOR = BackboneConfig(backbone="descriptor")
CONFIG = SegmentConfig("", "", methods=(), keep=("views",), features=DESCRIPTOR)


def prepared(pixels: NDArray[np.uint8], key: str = "a.png") -> Prepared:
    return prepare(key, DecodedImage(pixels, *pixels.shape[:2]))


def image(seed: int = 0) -> NDArray[np.uint8]:
    return np.asarray(photograph(seed))


def rows_of(config: SegmentConfig, *images: Prepared) -> list[Row]:
    return Engine(config, DescriptorBackbone(), "cpu")(images)


def kept(config: SegmentConfig, pixels: NDArray[np.uint8]) -> ImageFeatures:
    (found,) = features_of(table_of(rows_of(config, prepared(pixels))))
    assert found is not None
    return found


def real(found: ImageFeatures, number: int) -> NDArray[np.float64]:
    return found[number].astype(np.float64) * found.scale


def seen(pixels: Tensor) -> NDArray[np.float64]:
    """What the backbone says."""
    return DescriptorBackbone()(pixels[None])[0].double().numpy()


def check_half(
    stored: NDArray[np.float64], exact: NDArray[np.float64], scale: float, rounding: float = 0
) -> None:
    """Half precision: 11 bits of each number, and 2 ** -25 of the largest one.

    `rounding` is what sums in float32 leave open, for another order of their terms.
    """
    error = np.abs(stored - exact)
    assert (error <= 2**-11 * np.abs(exact) + (2**-25 + rounding) * scale + 1e-7).all()


def test_scale_times_what_is_kept_is_what_the_backbone_said_to_half_precision() -> None:
    found, pixels = kept(CONFIG, image()), torch.from_numpy(image().copy()).permute(2, 0, 1)
    assert np.abs(found.image).max() == 1
    check_half(real(found, 0), seen(pixels), found.scale)
    for number in (1, 2):
        view = view_pixels(pixels, 0, "a.png", number)
        check_half(real(found, variant(number, False)), seen(view), found.scale)
        check_half(real(found, variant(number, True)), seen(view.flip(2)), found.scale)


def test_mirrored_features_are_those_of_the_mirrored_image() -> None:
    found, mirror = kept(CONFIG, image()), kept(CONFIG, np.ascontiguousarray(image()[:, ::-1]))
    check_half(real(found, variant(0, True)), real(mirror, 0), 8 * found.scale)
    check_half(real(mirror, variant(0, True)), real(found, 0), 8 * found.scale)


@pytest.mark.parametrize("views", [0, 1, 3])
def test_there_are_as_many_variants_as_asked_for_on_the_grid_of_the_image(views: int) -> None:
    found = kept(dataclasses.replace(CONFIG, views=ViewConfig(views)), image())
    assert found.grid == (6, 8)
    assert found.stacked().shape == (2 + 2 * views, 48, 258)


def test_more_views_and_other_images_change_no_view() -> None:
    few = rows_of(CONFIG, prepared(image()))[0]
    more = dataclasses.replace(CONFIG, views=ViewConfig(3))
    many = rows_of(more, prepared(image(1), "b.png"), prepared(image()))[1]
    assert many["views"].startswith(few["views"])
    other = dataclasses.replace(CONFIG, seed=1)
    assert rows_of(other, prepared(image()))[0]["views"] != few["views"]


def test_views_of_a_batch_are_those_of_its_images() -> None:
    images = [prepared(image(seed), str(seed)) for seed in range(3)]
    engine = Engine(CONFIG, DescriptorBackbone(), "cpu")
    together = features_of(table_of(engine._patient(images)))  # as an accelerator takes them
    alone = features_of(table_of(engine(images)))
    for one, other in zip(together, alone, strict=True):
        assert one is not None and other is not None
        np.testing.assert_allclose(one.stacked(), other.stacked(), atol=2e-3)


def test_views_come_on_the_grid_of_the_affinity_as_features_do() -> None:
    finer = dataclasses.replace(CONFIG, spectral=SpectralConfig(downsample_factor=8))
    found = kept(finer, image())
    assert found.grid == (12, 16)
    assert found.stacked().shape == (6, 12 * 16, 258)


@pytest.mark.parametrize("method", ["objects", "regions", "instances", "superpixels"])
def test_keeping_views_changes_no_masks_and_no_features(method: Method) -> None:
    without = dataclasses.replace(CONFIG, methods=(method,), keep=("features",))
    with_views = dataclasses.replace(without, keep=("features", "views"))
    (plain,), (more,) = (rows_of(config, prepared(image())) for config in (without, with_views))
    assert table_of([plain]).equals(table_of([more | {"views": None}]))
    assert more["views"] is not None


NO_SPECTRUM = {"eigenvalues", "eigenvectors", "dense_fallback"}


@pytest.mark.parametrize("method", ["instances", "superpixels", "primaps"])
def test_without_eigenvectors_the_masks_are_the_same_and_the_spectrum_is_null(
    method: Method,
) -> None:
    config = dataclasses.replace(CONFIG, methods=(method,), keep=())
    with_spectra = dataclasses.replace(config, keep=("eigenvectors",))
    (bare,), (whole,) = (rows_of(each, prepared(image())) for each in (config, with_spectra))
    assert bare["segments"]
    assert NO_SPECTRUM.isdisjoint(bare) and whole.keys() >= NO_SPECTRUM
    assert table_of([bare]).equals(table_of([whole | dict.fromkeys(NO_SPECTRUM)]))


def test_without_methods_there_are_features_and_no_segments() -> None:
    (row,) = rows_of(dataclasses.replace(CONFIG, keep=("features",)), prepared(image()))
    assert row["segments"] == [] and row.get("error") is None
    assert len(row["features"]) == 6 * 8 * 258


class OverflowingOnViews(DescriptorBackbone):
    """A backbone whose arithmetic overflows on what is no whole number."""

    def __call__(self, images: Tensor) -> Tensor:
        found = super().__call__(images)
        return torch.where(images.is_floating_point() * torch.ones(1) > 0, torch.inf, found)


def test_views_whose_features_are_not_finite_are_an_error_of_their_image() -> None:
    (row,) = Engine(CONFIG, OverflowingOnViews(), "cpu")([prepared(image())])
    assert row["error"]["code"] == "not_finite"
    assert row.keys() == {"key", "width", "height", "error"}


@pytest.mark.parametrize(
    ("methods", "keep", "expected"),
    [
        (("primaps",), (), "token"),
        (("primaps",), ("eigenvectors",), "token"),
        ((), ("views",), "token"),
        (("primaps", "objects"), (), "k"),
        (("superpixels",), ("views",), "k"),
    ],
)
def test_primaps_take_tokens_and_all_else_keys_unless_told(
    methods: tuple[Method, ...], keep: tuple[Kept, ...], expected: str
) -> None:
    config = SegmentConfig("in", "out", methods=methods, keep=keep)
    assert config.features.feature == expected
    told = dataclasses.replace(config, features=BackboneConfig(feature="v"))
    assert told.features.feature == "v"
    plain = dataclasses.replace(config, features=DESCRIPTOR)  # which has nothing to choose
    assert plain.features.feature == "k"


def test_a_run_that_would_make_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="--keep"):
        SegmentConfig("in", "out", methods=())


def test_tokens_of_a_vit_are_kept_as_they_are(vit_tiny: Path) -> None:
    backbone = BackboneConfig("vit_tiny_patch16_224", str(vit_tiny))
    config = dataclasses.replace(CONFIG, features=backbone)
    assert config.features.feature == "token"
    vit = build_backbone(config.features, vit_tiny.read_bytes(), str(vit_tiny), "cpu")
    (found,) = features_of(table_of(Engine(config, vit, "cpu")([prepared(image())])))
    assert found is not None
    pixels = torch.from_numpy(image().copy()).permute(2, 0, 1)
    tokens = vit(pixels[None])[0].double().numpy()
    assert np.abs(tokens).max() > 2  # of no unit length
    check_half(real(found, 0), tokens, found.scale, rounding=2**-18)
    view = vit(view_pixels(pixels, 0, "a.png", 2)[None])[0].double().numpy()
    check_half(real(found, variant(2, False)), view, found.scale)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_an_accelerator_keeps_the_views_that_a_cpu_keeps(vit_tiny: Path) -> None:
    features = BackboneConfig("vit_tiny_patch16_224", str(vit_tiny), precision="fp32")
    config = dataclasses.replace(CONFIG, features=features, views=ViewConfig(8))
    images = [prepared(image(seed), str(seed)) for seed in range(4)]
    found = []
    for device in ("cpu", "cuda"):
        vit = build_backbone(config.features, vit_tiny.read_bytes(), str(vit_tiny), device)
        found.append(features_of(table_of(Engine(config, vit, device)(images))))
    for one, other in zip(*found, strict=True):
        assert one is not None and other is not None
        np.testing.assert_allclose(one.stacked(), other.stacked(), atol=5e-3)


def run(source: Path, output: Path, **changes: Any) -> dict[str, Any]:
    small: dict[str, Any] = {"shard_size": 6, "batch_size": 3, "num_workers": 1, "device": "cpu"}
    config = SegmentConfig(
        str(source),
        str(output),
        methods=("superpixels",),
        keep=("views",),
        images=ImageConfig(),
        features=DESCRIPTOR,
        run=RunConfig(**small | changes),
    )
    return run_segment(config)


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photographs")
    write_photographs(folder, 10)
    (folder / "bad.jpg").write_bytes(b"no image")
    return folder


@pytest.mark.usefixtures("ray_cluster")
def test_every_image_has_its_views_whoever_makes_them_and_the_bytes_are_the_same(
    photographs: Path, tmp_path: Path
) -> None:
    result = run(photographs, tmp_path / "one")
    assert (result["images"], result["errors"]) == (11, 1)
    run(photographs, tmp_path / "two", batch_size=2, num_workers=2)
    rows = read(str(tmp_path / "one"), columns=["key", "error", *COLUMNS])
    assert rows["key"].to_pylist() == sorted(
        path.relative_to(photographs).as_posix() for path in photographs.rglob("*.jpg")
    )
    found = features_of(rows)
    assert [each is None for each in found] == rows["error"].is_valid().to_pylist()
    assert {each.stacked().shape for each in found if each is not None} == {(6, 48, 258)}
    one, two = (open_store(str(tmp_path / name)) for name in ("one", "two"))
    names = sorted(list_shards(one))
    assert names == sorted(list_shards(two))
    for name in names:
        assert one.read(name).data == two.read(name).data


def test_a_dry_run_foretells_the_bytes_of_features_and_views(
    photographs: Path, tmp_path: Path, ray_cluster: None
) -> None:
    foretold = run(photographs / "a", tmp_path / "out", dry_run=True)
    written = run(photographs / "a", tmp_path / "out", shard_size=100)
    payload = written["images"] * 6 * 2 * 48 * 258
    assert payload < written["bytes"] < 1.25 * payload
    assert foretold["estimated_output_bytes"] == pytest.approx(written["bytes"], rel=0.02)
