"""Image files of every odd kind, made on the spot."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
from PIL import Image


def picture(height: int = 48, width: int = 64, mode: str = "RGB") -> Image.Image:
    """A smooth gradient with four different corners, so that every rotation shows."""
    y, x = np.mgrid[:height, :width]
    channels = [255 * x / max(width - 1, 1), 255 * y / max(height - 1, 1), (x + y) % 256]
    return Image.fromarray(np.stack(channels, axis=-1).astype(np.uint8)).convert(mode)


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_bomb(width: int, height: int) -> bytes:
    """A small PNG file whose header promises a large picture."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = zlib.compress(bytes(1_000_000), 9)
    return (
        b"\x89PNG\r\n\x1a\n"
        + png_chunk(b"IHDR", header)
        + png_chunk(b"IDAT", data)
        + png_chunk(b"IEND", b"")
    )


def bombs(width: int, height: int) -> dict[str, bytes]:
    """Files of every format, with the sides in their headers replaced."""
    jpeg = bytearray(saved(picture(), "JPEG"))
    frame = jpeg.index(b"\xff\xc0")
    jpeg[frame + 5 : frame + 9] = struct.pack(">HH", height, width)
    gif = bytearray(saved(picture(), "GIF"))
    gif[6:10] = struct.pack("<HH", width, height)
    bmp = bytearray(saved(picture(), "BMP"))
    bmp[18:26] = struct.pack("<ii", width, height)
    frames = [picture(), picture().rotate(180)]
    webp = bytearray(saved(frames[0], "WEBP", save_all=True, append_images=frames[1:]))
    assert webp[12:16] == b"VP8X"
    sides = [min(side, 16383) - 1 for side in (width, height)]
    webp[24:30] = b"".join(side.to_bytes(3, "little") for side in sides)
    tiff = saved(picture(), "TIFF")
    for tag, old, new in ((256, 64, width), (257, 48, height)):
        for layout in ("<HHIHxx", "<HHII"):
            kind = 3 if layout == "<HHIHxx" else 4
            tiff = tiff.replace(
                struct.pack(layout, tag, kind, 1, old), struct.pack("<HHII", tag, 4, 1, new)
            )
    return {
        "png": png_bomb(width, height),
        "jpeg": bytes(jpeg),
        "gif": bytes(gif),
        "bmp": bytes(bmp),
        "webp": bytes(webp),
        "tiff": tiff,
    }
