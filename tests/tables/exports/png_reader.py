"""A reader of grey PNGs, after the specification and without the library that writes them."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


def read_grey_16(path: Path) -> NDArray[np.int64]:
    """(H, W) pixels of a PNG of one channel of 16 bits, not interlaced."""
    chunks = list(_chunks(path.read_bytes()))
    assert chunks[0][0] == b"IHDR" and chunks[-1] == (b"IEND", b"")
    width, height, depth, colour, *methods = struct.unpack(">IIBBBBB", chunks[0][1])
    assert (depth, colour, methods) == (16, 0, [0, 0, 0])
    data = zlib.decompress(b"".join(body for kind, body in chunks if kind == b"IDAT"))
    rows = np.frombuffer(data, np.uint8).reshape(height, 1 + 2 * width)
    above = bytearray(2 * width)
    pixels = np.empty((height, width), dtype=np.int64)
    for y, (kind, *row) in enumerate(rows.tolist()):
        above = _unfiltered(kind, row, above)
        pixels[y] = np.frombuffer(above, ">u2")
    return pixels


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    place = 8
    while place < len(data):
        length, kind = struct.unpack_from(">I4s", data, place)
        body = data[place + 8 : place + 8 + length]
        (checksum,) = struct.unpack_from(">I", data, place + 8 + length)
        assert checksum == zlib.crc32(kind + body)
        yield kind, body
        place += 12 + length


def _unfiltered(kind: int, row: list[int], above: bytearray) -> bytearray:
    """The bytes of a row, two to a pixel, given those above it; section 9 of the PNG standard."""
    found = bytearray(len(row))
    for i, value in enumerate(row):
        left, up, corner = (found[i - 2], above[i], above[i - 2]) if i > 1 else (0, above[i], 0)
        predicted = (0, left, up, (left + up) // 2, _paeth(left, up, corner))[kind]
        found[i] = value + predicted & 255
    return found


def _paeth(left: int, up: int, corner: int) -> int:
    guess = left + up - corner
    return min((left, up, corner), key=lambda value: abs(guess - value))
