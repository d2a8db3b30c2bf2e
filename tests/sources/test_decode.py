"""Good pictures come out right, bad bytes come out as a typed error, and nothing else happens."""

from __future__ import annotations

import io
import subprocess
import sys
import warnings
import zlib
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from PIL import Image, ImageOps

from specray.errors import ErrorCode, ImageError, Stage
from specray.sources import DecodedImage, decode, image_size, resized_size
from tests.sources.images import bombs, picture, png_bomb, png_chunk, saved

BUDGET = 10_000_000


def decoded(data: bytes, short_side: int | None = None) -> DecodedImage:
    image = decode(data, max_pixels=BUDGET, short_side=short_side)
    assert image.pixels.dtype == np.uint8
    assert image.pixels.flags.c_contiguous and image.pixels.flags.writeable
    assert (image.height, image.width) == image_size(data)
    assert image.pixels.shape == (*resized_size(image.height, image.width, short_side), 3)
    return image


def code_of(data: bytes, **options: Any) -> ErrorCode:
    with pytest.raises(ImageError) as caught:
        decode(data, **{"max_pixels": BUDGET, **options})
    assert caught.value.stage is Stage.DECODE
    assert "\n" not in caught.value.message
    return caught.value.code


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "GIF"])
@pytest.mark.parametrize("mode", ["RGB", "L", "1", "P"])
@pytest.mark.parametrize(("height", "width"), [(48, 64), (1, 1), (1, 20_000), (20_000, 1)])
def test_formats_without_loss_keep_every_pixel(
    kind: str, mode: str, height: int, width: int
) -> None:
    image = picture(height, width, mode)
    if kind == "GIF":
        image = image.convert("P")
    assert_array_equal(decoded(saved(image, kind)).pixels, np.asarray(image.convert("RGB")))


@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "MPO"])
def test_formats_with_loss_stay_close(kind: str) -> None:
    pixels = decoded(saved(picture(), kind, quality=95)).pixels
    assert np.abs(pixels - np.asarray(picture(), np.float64)).mean() < 4


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("short_side", [None, 24])
def test_pictures_are_set_upright(kind: str, orientation: int, short_side: int | None) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = saved(picture(), kind, exif=exif)
    expected = ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB")
    image = decoded(data, short_side)
    assert (image.height, image.width) == (expected.height, expected.width)
    if short_side is None:
        assert_array_equal(image.pixels, np.asarray(expected))
    else:
        height, width = image.pixels.shape[:2]
        oracle = np.asarray(expected.resize((width, height), Image.Resampling.BICUBIC))
        assert np.abs(image.pixels - oracle.astype(np.float64)).mean() < 3


def test_damaged_exif_does_not_cost_the_picture() -> None:
    data = saved(picture(), "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff" + b"\xff" * 40)
    assert decoded(data).pixels.shape == (48, 64, 3)


def test_cmyk_is_what_pillow_makes_of_it() -> None:
    data = saved(picture().convert("CMYK"), "JPEG", quality=95)
    pixels = decoded(data).pixels
    assert_array_equal(pixels, np.asarray(Image.open(io.BytesIO(data)).convert("RGB")))
    assert np.abs(pixels - np.asarray(picture(), np.float64)).mean() < 4


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparency_is_laid_on_white(kind: str, mode: str) -> None:
    image = picture(mode=mode)
    image.putalpha(Image.linear_gradient("L").resize(image.size))
    options = {"lossless": True, "exact": True} if kind == "WEBP" else {}
    rgba = np.asarray(image.convert("RGBA"), np.float64)
    alpha = rgba[..., 3:] / 255
    expected = rgba[..., :3] * alpha + 255 * (1 - alpha)
    assert np.abs(decoded(saved(image, kind, **options)).pixels - expected).max() <= 1


@pytest.mark.parametrize("kind", ["PNG", "GIF"])
def test_a_transparent_palette_entry_is_white(kind: str) -> None:
    image = Image.new("P", (4, 2), 1)
    image.putpalette([10, 20, 30, 40, 50, 60])
    image.putpixel((0, 0), 0)
    pixels = decoded(saved(image, kind, transparency=0)).pixels
    assert pixels[0, 0].tolist() == [255, 255, 255]
    assert pixels[1, 3].tolist() == [40, 50, 60]


def test_palette_with_a_table_of_alphas() -> None:
    image = Image.new("P", (2, 1), 0)
    image.putpalette([0, 0, 0, 100, 100, 100])
    image.putpixel((1, 0), 1)
    pixels = decoded(saved(image, "PNG", transparency=bytes([128, 255]))).pixels
    assert pixels[0].tolist() == [[127] * 3, [100] * 3]


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_a_transparent_colour_is_white(mode: str) -> None:
    image = Image.new(mode, (2, 1), "black")
    image.putpixel((1, 0), 77 if mode == "L" else (77, 77, 77))
    transparent = 0 if mode == "L" else (0, 0, 0)
    pixels = decoded(saved(image, "PNG", transparency=transparent)).pixels
    assert pixels[0].tolist() == [[255] * 3, [77] * 3]


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_grey_of_16_bits_keeps_its_high_byte(kind: str) -> None:
    values = np.array([[0, 255, 256, 32768, 65279, 65535]], np.uint16)
    pixels = decoded(saved(Image.fromarray(values), kind)).pixels
    assert pixels[0].tolist() == [[v] * 3 for v in (0, 0, 1, 128, 254, 255)]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.array([0, 256, 65535], np.int32), [0, 1, 255]),
        (np.array([-100, 0, 100], np.int32), [0, 128, 255]),
        (np.array([0, 10**6, 2 * 10**6], np.int32), [0, 128, 255]),
        (np.array([0, 0.5, 1], np.float32), [0, 128, 255]),
        (np.array([0, 100.4, 255], np.float32), [0, 100, 255]),
        (np.array([-1, 0, 1], np.float32), [0, 128, 255]),
        (np.array([5000, 5000, 5000], np.float32), [0, 0, 0]),
        (np.array([np.nan, np.inf, -np.inf, 0.2], np.float32), [0, 255, 0, 51]),
        (np.array([np.nan, np.nan], np.float32), [0, 0]),
    ],
)
def test_wide_grey_is_scaled(values: np.ndarray[Any, Any], expected: list[int]) -> None:
    pixels = decoded(saved(Image.fromarray(values[None]), "TIFF")).pixels
    assert_array_equal(pixels[0], np.repeat(np.array(expected)[:, None], 3, axis=1))


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "TIFF", "PNG", "MPO"])
def test_the_first_frame_counts(kind: str) -> None:
    frames = [Image.new("RGB", (20, 10), colour) for colour in ("red", "blue", "lime")]
    data = saved(frames[0], kind, save_all=True, append_images=frames[1:])
    pixels = decoded(data).pixels.astype(int)
    assert np.abs(pixels - [255, 0, 0]).max() <= 3


# --- resizing ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("height", "width"), [(480, 641), (641, 480), (33, 7), (8, 8)])
@pytest.mark.parametrize("short_side", [16, 100])
def test_the_shorter_side_is_as_asked(height: int, width: int, short_side: int) -> None:
    image = decoded(saved(picture(height, width), "JPEG"), short_side)
    assert (image.height, image.width) == (height, width)
    sides = image.pixels.shape[:2]
    assert min(sides) == short_side
    assert max(sides) == round(max(height, width) * short_side / min(height, width))


def test_a_great_reduction_equals_the_plain_way() -> None:
    image = picture(1600, 2400)
    data = saved(image, "JPEG", quality=95)
    oracle = Image.open(io.BytesIO(data)).resize((300, 200), Image.Resampling.BICUBIC)
    pixels = decoded(data, 200).pixels
    assert np.abs(pixels - np.asarray(oracle, np.float64)).mean() < 1.5


# --- bad bytes -----------------------------------------------------------------------------------


def test_no_bytes_are_empty() -> None:
    assert code_of(b"") is ErrorCode.EMPTY


@pytest.mark.parametrize(
    "data",
    [
        b"<html>404</html>",
        b"\0" * 100,
        b"BMW is a car, not a bitmap",
        b"RIFF\0\0\0\0WAVEfmt ",
        b"%PDF-1.7",
        saved(picture(), "PPM"),
        saved(picture(), "JPEG2000"),
        saved(picture(), "ICO"),
        b"SIMPLE  =                    T" + b" " * 3000,  # FITS
    ],
)
def test_unknown_bytes_are_not_an_image(data: bytes) -> None:
    assert code_of(data) is ErrorCode.NOT_AN_IMAGE


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF"])
@pytest.mark.parametrize("share", [0.03, 0.3, 0.6, 0.9])
def test_truncated_files_are_corrupt(kind: str, share: float) -> None:
    data = saved(picture(480, 640), kind)
    assert code_of(data[: max(20, int(len(data) * share))]) is ErrorCode.CORRUPT


def test_messages_do_not_depend_on_the_process() -> None:
    messages = set()
    for _ in range(3):
        with pytest.raises(ImageError) as caught:
            decode(b"\xff\xd8\xff garbage", max_pixels=BUDGET)
        messages.add(caught.value.message)
    assert len(messages) == 1 and "0x" not in messages.pop()


@pytest.mark.parametrize("kind", sorted(bombs(60_000, 60_000)))
def test_the_pixel_budget_is_checked_in_the_header(kind: str) -> None:
    assert code_of(bombs(60_000, 60_000)[kind]) is ErrorCode.TOO_MANY_PIXELS
    assert code_of(bombs(4_000, 3_000)[kind]) is ErrorCode.TOO_MANY_PIXELS


def test_the_budget_is_inclusive() -> None:
    data = saved(picture(48, 64), "PNG")
    assert decode(data, max_pixels=48 * 64).pixels.shape == (48, 64, 3)
    assert code_of(data, max_pixels=48 * 64 - 1) is ErrorCode.TOO_MANY_PIXELS


def test_the_budget_holds_for_the_enlarged_picture() -> None:
    data = saved(picture(1, 20_000), "PNG")
    assert code_of(data, short_side=480) is ErrorCode.TOO_MANY_PIXELS


MEASURE = """
import resource, sys
from specray.errors import ImageError
from specray.sources import decode
data = sys.stdin.buffer.read()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    decode(data, max_pixels=1_000_000)
except ImageError as error:
    print(error.code, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.parametrize("kind", sorted(bombs(60_000, 60_000)))
@pytest.mark.parametrize("side", [13_000, 60_000])
def test_a_bomb_takes_no_memory(kind: str, side: int) -> None:
    run = subprocess.run(
        [sys.executable, "-c", MEASURE],
        input=bombs(side, side)[kind], capture_output=True, check=True,
    )  # fmt: skip
    code, kibibytes = run.stdout.split()
    assert code == b"too_many_pixels"
    assert int(kibibytes) < 64 * 1024  # 60,000 x 60,000 pixels are 10 GiB


def test_text_that_explodes_in_a_png_is_refused() -> None:
    text = png_chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(100_000_000), 9))
    data = saved(picture(), "PNG")
    assert code_of(data[:33] + text + data[33:]) is ErrorCode.CORRUPT


def test_no_warning_leaks() -> None:
    noisy = [
        saved(picture(mode="P"), "PNG", transparency=bytes(range(256))),
        saved(
            picture(), "JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\xff\xff\xff\xff"
        ),
        saved(picture(), "TIFF").replace(b"\x11\x01\x04\0\x01\0\0\0", b"\x11\x01\x04\0\x02\0\0\0"),
        png_bomb(10_000, 10_000),  # a warning of Pillow, an error of ours
    ]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for data in noisy:
            try:
                decode(data, max_pixels=BUDGET)
            except ImageError as error:
                assert "Warning" not in error.message
    assert caught == []


FUZZED = {
    "jpeg": saved(picture(), "JPEG", exif=Image.Exif()),
    "progressive": saved(picture(), "JPEG", progressive=True),
    "mpo": saved(picture(), "MPO", save_all=True, append_images=[picture()]),
    "png": saved(picture(), "PNG"),
    "palette": saved(picture(mode="P"), "PNG", transparency=3),
    "webp": saved(picture(), "WEBP"),
    "animated webp": saved(picture(), "WEBP", save_all=True, append_images=[picture(mode="L")]),
    "bmp": saved(picture(mode="P"), "BMP"),
    "gif": saved(picture(), "GIF", save_all=True, append_images=[picture(mode="L")]),
    "tiff": saved(picture(), "TIFF"),
    "lzw tiff": saved(picture(), "TIFF", compression="tiff_lzw"),
    "jpeg tiff": saved(picture(), "TIFF", compression="jpeg"),
    "float tiff": saved(picture(mode="F"), "TIFF"),
}


@pytest.mark.parametrize("name", FUZZED)
def test_mutated_files_decode_or_raise_an_image_error(name: str) -> None:
    generator = np.random.default_rng(sorted(FUZZED).index(name))
    good = np.frombuffer(FUZZED[name], np.uint8)
    for variant in range(40):
        data = good.copy()
        head = len(data) if variant % 2 else min(len(data), 200)  # half of them in the header
        places = generator.integers(2, head, generator.integers(1, 9))
        data[places] = generator.integers(0, 256, len(places))
        cut = len(data) if variant % 5 else int(generator.integers(1, len(data)))
        mutated = data[:cut].tobytes()
        for use in (
            lambda data: decode(data, max_pixels=1_000_000).pixels.shape[2] == 3,
            lambda data: decode(data, max_pixels=1_000_000, short_side=32).pixels.shape[2] == 3,
            lambda data: min(image_size(data)) >= 0,
        ):
            try:
                assert use(mutated)
            except ImageError as error:
                assert error.stage is Stage.DECODE
