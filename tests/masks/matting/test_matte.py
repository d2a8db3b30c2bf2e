"""Cut-outs: no halo worse than the matting library's own, at any size, of any mask."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from pymatting import estimate_alpha_cf, estimate_foreground_ml

from specray.masks import Matte, MattingConfig, composite, cutout, matte, trimap
from specray.masks.matting import alpha as alpha_module
from specray.masks.matting.trimap import band_radius
from tests.masks.matting.scenes import PAIRS, Scene, scene

SIZE = (240, 320)
GREEN = np.array([0, 255, 0], np.uint8)


def halo(found: NDArray[Any], made: Scene, band: NDArray[np.bool_]) -> float:
    """Mean error of a cut-out over green, in the band."""
    return float(np.abs(found - made.over(GREEN))[band].mean())


def by_pymatting(made: Scene, values: NDArray[np.float64]) -> NDArray[np.float64]:
    alpha = estimate_alpha_cf(made.image / 255, values)
    colors = estimate_foreground_ml(made.image / 255, alpha)
    over: NDArray[np.float64] = alpha[..., None] * colors * 255 + (1 - alpha[..., None]) * GREEN
    return over


@pytest.mark.parametrize("hair", [False, True])
def test_the_halo_is_no_worse_than_that_of_pymatting_with_the_same_trimap(hair: bool) -> None:
    ours, theirs, hard = [], [], []
    for pair in PAIRS:
        made = scene(*pair, SIZE, hair)
        known = trimap(made.mask, band_radius(SIZE, 0.05))
        band = known.unknown
        found = matte(made.image, made.mask, MattingConfig(band=0.05))
        ours.append(halo(composite(found, GREEN), made, band))
        theirs.append(halo(by_pymatting(made, known.values), made, band))
        pasted = np.where(made.mask[..., None], made.image, GREEN)
        hard.append(halo(pasted, made, band))
    assert np.mean(ours) < 0.9 * np.mean(theirs)
    assert (np.array(ours) <= theirs).all()
    assert (np.array(ours) < 0.8 * np.array(hard)).all()


def test_alpha_brought_up_from_a_smaller_size_keeps_hair_that_plain_enlarging_blurs() -> None:
    made = scene("chelsea", "rocket", (480, 640), hair=True)
    band = trimap(made.mask, band_radius(made.mask.shape, 0.05)).unknown

    def error(found: NDArray[Any]) -> float:
        return float(np.abs(found - made.alpha)[band].mean())

    config = MattingConfig(matte_size=160, band=0.05)
    found = matte(made.image, made.mask, config).alpha
    small = [Image.fromarray(x).resize((160 * 4 // 3, 160)) for x in (made.image, made.mask)]
    coarse = matte(np.asarray(small[0]), np.asarray(small[1]), config).alpha
    full = matte(made.image, made.mask, MattingConfig(matte_size=480, band=0.05)).alpha
    assert ((found >= 0) & (found <= 1)).all()
    assert error(found) < 1.25 * error(full)
    assert error(found) < 0.7 * error(np.asarray(Image.fromarray(coarse).resize((640, 480))))


def test_the_sawtooth_of_a_mask_made_of_cells_does_not_show() -> None:
    made, cell = scene("chelsea", "rocket", SIZE, hair=False), 16
    cells = made.alpha.reshape(240 // cell, cell, 320 // cell, cell).mean(axis=(1, 3)) > 0.5
    mask = cells.repeat(cell, axis=0).repeat(cell, axis=1)
    found = matte(made.image, mask, cell=float(cell)).alpha
    assert np.abs(found - made.alpha).mean() < 0.5 * np.abs(mask - made.alpha).mean()


def test_over_its_own_background_a_cut_out_gives_the_photograph() -> None:
    made = scene("coffee", "chelsea", SIZE, hair=True)
    found = composite(matte(made.image, made.mask), made.background.astype(np.uint8))
    assert np.abs(found.astype(float) - made.image).mean() < 1


def test_colours_are_those_of_the_photograph_inside_and_none_far_outside() -> None:
    made = scene("coffee", "chelsea", SIZE, hair=True)
    found = cutout(matte(made.image, made.mask))
    inside, outside = found[..., 3] == 255, np.zeros(SIZE, bool)
    outside[:20] = True
    opaque = matte(made.image, made.mask).alpha == 1
    np.testing.assert_array_equal(found[opaque][:, :3], made.image[opaque])
    assert inside.sum() > 1000
    assert not found[outside].any()


def all_of_it(height: int, width: int) -> NDArray[np.bool_]:
    return np.ones((height, width), bool)


def none_of_it(height: int, width: int) -> NDArray[np.bool_]:
    return np.zeros((height, width), bool)


def one_pixel(height: int, width: int) -> NDArray[np.bool_]:
    mask = none_of_it(height, width)
    mask[height // 2, width // 2] = True
    return mask


def all_but_one(height: int, width: int) -> NDArray[np.bool_]:
    return ~one_pixel(height, width)


@pytest.mark.parametrize("make", [all_of_it, none_of_it, one_pixel, all_but_one])
@pytest.mark.parametrize("size", [(1, 1), (2, 50), (64, 48), (1100, 12), (640, 800)])
def test_degenerate_masks_and_sizes_give_a_matte(
    make: Callable[[int, int], NDArray[np.bool_]], size: tuple[int, int]
) -> None:
    mask, image = make(*size), np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    found = matte(image, mask, MattingConfig(matte_size=100))
    assert found.alpha.shape == size
    assert ((found.alpha >= 0) & (found.alpha <= 1)).all()
    if mask.all() or not mask.any():
        assert (found.alpha == mask).all()
    else:
        assert found.alpha.any()
    if mask.all():
        np.testing.assert_array_equal(found.foreground, image)


def test_an_image_without_any_colour_edge_is_cut_along_its_mask() -> None:
    mask = np.zeros((100, 100), bool)
    mask[30:70, 30:70] = True
    found = matte(np.full((100, 100, 3), 128, np.uint8), mask)
    assert found.converged
    assert np.abs(found.alpha - mask).mean() < 0.02


def test_a_solver_that_fails_leaves_it_to_the_edges_of_the_image_and_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(alpha_module, "_ITERATIONS", 1)
    made = scene("coffee", "chelsea", SIZE, hair=True)
    found = matte(made.image, made.mask)
    assert not found.converged
    assert ((found.alpha >= 0) & (found.alpha <= 1)).all()
    assert np.abs(found.alpha - made.alpha).mean() < 0.02


def test_a_mix_is_alpha_f_plus_the_rest_of_b() -> None:
    colors = np.full((1, 3, 3), 200, np.uint8)
    found = composite(Matte(np.array([[0, 0.5, 1]], np.float32), colors, True), GREEN)
    assert found[0].tolist() == [[0, 255, 0], [100, 228, 100], [200, 200, 200]]
