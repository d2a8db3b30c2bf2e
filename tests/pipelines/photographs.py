"""Small photographs, good, odd and bad, that the tests of whole runs share."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import skimage.data
from PIL import Image

HEIGHT, WIDTH = 96, 128


def photograph(seed: int = 0) -> Image.Image:
    """A part of a real photograph, another for every seed."""
    rng = np.random.default_rng(seed)
    image = Image.fromarray(skimage.data.astronaut())
    left, top = rng.integers(0, 512 - 2 * WIDTH), rng.integers(0, 512 - 2 * HEIGHT)
    box = (int(left), int(top), int(left) + 2 * WIDTH, int(top) + 2 * HEIGHT)
    return image.crop(box).resize((WIDTH, HEIGHT))


def encode(image: Image.Image, kind: str, **options: object) -> bytes:
    """The bytes of an image file."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def write_photographs(folder: Path, count: int) -> list[str]:
    """Write JPEG files, some in sub-folders; returns their keys in order."""
    keys = sorted(f"{'ab'[i % 2]}/{i:03}.jpg" for i in range(count))
    for i, key in enumerate(keys):
        path = folder / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode(photograph(i), "JPEG", quality=90))
    return keys


def png_header(width: int, height: int) -> bytes:
    """A PNG that promises a size and holds next to nothing."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def rotated() -> bytes:
    """A JPEG whose EXIF says that it lies on its side."""
    exif = Image.Exif()
    exif[0x0112] = 6
    return encode(photograph(3), "JPEG", exif=exif)


def wide_grey() -> Image.Image:
    """16 bits of grey."""
    grey = np.asarray(photograph(4).convert("L")).astype(np.uint16) * 257
    return Image.fromarray(grey)


GOOD: dict[str, bytes] = {
    "plain.jpg": encode(photograph(1), "JPEG"),
    "cmyk.jpg": encode(photograph(2).convert("CMYK"), "JPEG"),
    "rotated.jpg": rotated(),
    "grey16.png": encode(wide_grey(), "PNG"),
    "grey.png": encode(photograph(5).convert("L"), "PNG"),
    "palette.png": encode(photograph(6).convert("P"), "PNG"),
    "alpha.png": encode(photograph(7).convert("RGBA"), "PNG"),
    "animated.gif": encode(
        photograph(8), "GIF", save_all=True, append_images=[photograph(9), photograph(10)]
    ),
    "animated.webp": encode(
        photograph(8), "WEBP", save_all=True, append_images=[photograph(9), photograph(10)]
    ),
}

BAD: dict[str, tuple[bytes, str]] = {
    "empty.jpg": (b"", "empty"),
    "truncated.jpg": (encode(photograph(1), "JPEG")[:1500], "corrupt"),
    "text.jpg": (b"<html>404 not found</html>", "not_an_image"),
    "1x1.png": (encode(Image.new("RGB", (1, 1)), "PNG"), "too_small"),
    "1x20000.png": (encode(Image.new("RGB", (1, 20000)), "PNG"), "too_small"),
    "60000x60000.png": (png_header(60000, 60000), "too_many_pixels"),
    "4000x4000.png": (encode(Image.new("RGB", (4000, 4000)), "PNG"), "too_many_patches"),
}
"""File name to its bytes and the code of its error."""
