"""Bytes that strangers wrote, to RGB pixels, within a budget and without surprises."""

from __future__ import annotations

import io
import re
import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, UnidentifiedImageError

from specray.errors import ErrorCode, ImageError, Stage

HOSTILE_BYTES: Final = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    NameError,
    OSError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
    struct.error,
    zlib.error,
)
"""What Pillow raises on damaged bytes. The list is wide because its parsers let through whatever
their first wrong assumption happens to raise, and because nothing that one image contains may
stop a run over millions. RuntimeError includes RecursionError, LookupError includes KeyError and
IndexError, ArithmeticError includes OverflowError and ZeroDivisionError."""

_MAGIC: Final = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"RIFF", "WEBP"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"II+\0", "TIFF"),
    (b"MM\0+", "TIFF"),
    (b"BM", "BMP"),
)
"""The allow-list: first bytes and the one decoder of Pillow that may see them. MPO files of
cameras are JPEG files with further pictures behind the first."""

_TRANSPOSE: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""EXIF orientation to the operation that sets the picture upright."""

_DRAFT_GAP: Final = 2
"""A JPEG decoder may reduce by 2, 4 or 8 itself, much faster than it decodes; it stops at this
multiple of the wanted size, so that the antialiased filter still does the last step."""


@dataclass(frozen=True)
class DecodedImage:
    """An upright RGB picture.

    Parameters
    ----------
    pixels
        (H, W, 3) uint8, contiguous, resized if that was asked for.
    height, width
        Pixels of the original, after EXIF rotation and before any resizing.
    """

    pixels: npt.NDArray[np.uint8]
    height: int
    width: int


def decode(data: bytes, *, max_pixels: int, short_side: int | None = None) -> DecodedImage:
    """Decode the first picture of a JPEG, MPO, PNG, WebP, BMP, GIF or TIFF file.

    The picture is set upright by its EXIF orientation. Transparency is laid on white. Grey,
    palette, CMYK and YCbCr become RGB as Pillow does it, colour profiles are not applied. Grey of
    16 bits keeps its high byte, as Pillow does with colour of 16 bits; see `_to_8_bits` for wider
    grey. Of an animation the first frame counts.

    Parameters
    ----------
    data
        The whole file.
    max_pixels
        Budget for height x width, of the original and of the resized picture. The header is
        checked against it before anything is decoded. Pillow itself stops at twice
        `PIL.Image.MAX_IMAGE_PIXELS`, about 179 million.
    short_side
        Resize to this length of the shorter side in pixels, bicubic with antialiasing, up or
        down, keeping the aspect; the longer side is rounded. None keeps the size.

    Raises
    ------
    ImageError
        ``empty``, ``not_an_image``, ``corrupt``, ``too_many_pixels`` or, which is the fault of the
        machine, ``out_of_memory``, at stage ``decode``. Nothing else is raised, whatever the bytes.
    """
    with _faults_as_image_errors(), _open(data) as image:
        width, height = image.size
        _check_budget(width, height, max_pixels)
        target = None
        if short_side is not None:
            target = resized_size(height, width, short_side)[::-1]  # Pillow wants the width first
            _check_budget(*target, max_pixels)
            image.draft(None, (target[0] * _DRAFT_GAP, target[1] * _DRAFT_GAP))
        image.load()
        rgb = _to_rgb(image)
        if target is not None:
            rgb = rgb.resize(target, Image.Resampling.BICUBIC)
        orientation = _orientation(image)
        upright = rgb.transpose(_TRANSPOSE[orientation]) if orientation > 1 else rgb
        pixels = np.array(upright)
    return DecodedImage(pixels, *_upright_size(width, height, orientation))


def image_size(data: bytes) -> tuple[int, int]:
    """Return (height, width) as `decode` does, from the header alone.

    The one difference: the orientation of a PNG file counts only if it stands before the pixels.

    Raises
    ------
    ImageError
        ``empty``, ``not_an_image``, ``corrupt``, or ``too_many_pixels`` where Pillow itself
        refuses, at stage ``decode``.
    """
    with _faults_as_image_errors(), _open(data) as image:
        # the TIFF reader has swapped the sides already; PNG would decode to look for more EXIF
        in_header = image.format != "TIFF" and (image.format != "PNG" or "exif" in image.info)
        orientation = _orientation(image) if in_header else 1
        return _upright_size(image.width, image.height, orientation)


def resized_size(height: int, width: int, short_side: int | None) -> tuple[int, int]:
    """Return the (height, width) in which `decode` delivers a picture of this size.

    Examples
    --------
    >>> resized_size(480, 641, short_side=240)
    (240, 320)
    """
    if short_side is None:
        return height, width
    scale = short_side / min(height, width)
    return round(height * scale), round(width * scale)


@contextmanager
def _faults_as_image_errors() -> Iterator[None]:
    """Turn what Pillow raises into an `ImageError` and keep its warnings to itself."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\.|specray\.sources\.decode")
        try:
            yield
        except Image.DecompressionBombError as error:
            raise _error(ErrorCode.TOO_MANY_PIXELS, str(error)) from None
        except UnidentifiedImageError:
            raise _error(ErrorCode.CORRUPT, "the header is damaged") from None
        except MemoryError as error:  # the budget held, so the bytes are not to blame
            raise _error(ErrorCode.OUT_OF_MEMORY, f"MemoryError: {error}"[:200]) from None
        except HOSTILE_BYTES as error:
            # without addresses of objects: equal bytes give equal rows
            text = re.sub(r" at 0x[0-9a-f]+", "", str(error)).strip()
            raise _error(ErrorCode.CORRUPT, f"{type(error).__name__}: {text}"[:200]) from None


def _open(data: bytes) -> Image.Image:
    """Read the header with the one decoder that the first bytes ask for."""
    if not data:
        raise _error(ErrorCode.EMPTY, "the object has no bytes")
    decoder = next((name for magic, name in _MAGIC if data.startswith(magic)), None)
    if decoder == "WEBP" and data[8:12] != b"WEBP":  # sound and video are RIFF files too
        decoder = None
    if decoder == "BMP" and data[15:18] != b"\0\0\0":  # the header has at most 124 bytes
        decoder = None
    if decoder is None:
        raise _error(ErrorCode.NOT_AN_IMAGE, f"unknown first bytes {data[:8].hex()}")
    return Image.open(io.BytesIO(data), formats=[decoder])


def _check_budget(width: int, height: int, max_pixels: int) -> None:
    if width * height > max_pixels:
        message = f"{width} x {height} pixels are more than the budget of {max_pixels}"
        raise _error(ErrorCode.TOO_MANY_PIXELS, message)


def _orientation(image: Image.Image) -> int:
    """Return the EXIF orientation, 1 if it is absent or damaged: good pixels still count."""
    try:
        value = image.getexif().get(ExifTags.Base.Orientation)
        return value if value in _TRANSPOSE else 1
    except HOSTILE_BYTES:
        return 1


def _upright_size(width: int, height: int, orientation: int) -> tuple[int, int]:
    """Return (height, width) of the upright picture."""
    return (width, height) if orientation >= 5 else (height, width)


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "F" or image.mode.startswith("I"):
        return Image.fromarray(_to_8_bits(np.asarray(image))).convert("RGB")
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        canvas = Image.new("RGB", image.size, "white")
        canvas.paste(rgba, mask=rgba.getchannel("A"))
        return canvas
    return image.convert("RGB")


def _to_8_bits(grey: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """Scale wide grey values (H, W) to 0..255.

    Integers within 0..65535 keep their high byte. Floats within 0..1 or 0..255 count as full
    scale. Everything else, where no scale is agreed on, is stretched from its least to its
    greatest finite value; NaN becomes 0.
    """
    finite = grey[np.isfinite(grey)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
    if grey.dtype.kind in "iu" and low >= 0 and high <= 65535:
        return (grey >> 8).astype(np.uint8)
    if grey.dtype.kind == "f" and low >= 0 and high <= 1:
        low, high = 0.0, 1.0
    elif grey.dtype.kind == "f" and low >= 0 and high <= 255:
        low, high = 0.0, 255.0
    span = (high - low) or 1.0
    scaled = np.clip((grey.astype(np.float64) - low) / span, 0, 1) * 255
    return np.nan_to_num(scaled).round().astype(np.uint8)


def _error(code: ErrorCode, message: str) -> ImageError:
    return ImageError(code, Stage.DECODE, message)
