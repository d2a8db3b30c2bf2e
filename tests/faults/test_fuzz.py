"""Images that strangers broke: no worker dies of them, and each is exactly one row."""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, TiffImagePlugin

from specray.backbones import BackboneConfig
from specray.errors import ErrorCode, ImageError, Stage
from specray.pipelines.config import ImageConfig, RunConfig, SegmentConfig
from specray.pipelines.segment import run_segment
from specray.sources import decode, image_size
from specray.tables import read
from tests.pipelines.test_segment import peak_of_workers
from tests.sources.images import bombs, picture, saved

IMAGES = int(os.environ.get("SPECRAY_FAULT_IMAGES", "1000"))
"""How many mutated images there are; set it higher on a machine with time."""

BUDGET = ImageConfig(max_pixels=2_000_000, max_patches=200)
"""A header that lies about its size makes an error row, not a minute of work."""

OF_BYTES = {
    ErrorCode.EMPTY,
    ErrorCode.NOT_AN_IMAGE,
    ErrorCode.CORRUPT,
    ErrorCode.TOO_MANY_PIXELS,
    ErrorCode.TOO_SMALL,
    ErrorCode.TOO_MANY_PATCHES,
}
"""What an image that was delivered can be by its bytes alone."""


def exif() -> Image.Exif:
    tags = Image.Exif()
    tags[0x0112] = 6
    tags[0x010E] = "a description"
    tags.get_ifd(0x8769)[0x9286] = b"a comment"
    return tags


def pages(kind: str, **options: object) -> bytes:
    frames = [picture(), picture().rotate(180), picture(mode="L")]
    return saved(frames[0], kind, save_all=True, append_images=frames[1:], **options)


def tiled_tiff(side: int) -> bytes:
    """Tiles without compression, which Pillow reads but does not write."""
    pixels = np.asarray(picture())
    height, width = pixels.shape[:2]
    tiles = [
        pixels[y : y + side, x : x + side].tobytes()
        for y in range(0, height, side)
        for x in range(0, width, side)
    ]
    offsets = [8 + len(tiles[0]) * i for i in range(len(tiles))]
    tags = {256: width, 257: height, 258: (8, 8, 8), 259: 1, 262: 2, 277: 3, 322: side, 323: side}
    ifd = TiffImagePlugin.ImageFileDirectory_v2()
    for tag, value in (tags | {324: offsets, 325: [len(tiles[0])] * len(tiles)}).items():
        ifd[tag] = value
    at = 8 + sum(map(len, tiles))
    return b"II*\0" + at.to_bytes(4, "little") + b"".join(tiles) + ifd.tobytes(at)


SEEDS: dict[str, bytes] = {
    "baseline.jpg": saved(picture(), "JPEG"),
    "progressive.jpg": saved(picture(), "JPEG", progressive=True),
    "cmyk.jpg": saved(picture().convert("CMYK"), "JPEG"),
    "exif.jpg": saved(picture(), "JPEG", exif=exif(), comment=b"words"),
    "grey.jpg": saved(picture(mode="L"), "JPEG"),
    "several.mpo.jpg": pages("MPO"),
    "rgb.png": saved(picture(), "PNG", exif=exif()),
    "alpha.png": saved(picture(mode="RGBA"), "PNG"),
    "grey16.png": saved(Image.fromarray(np.asarray(picture(mode="L"), np.uint16) * 257), "PNG"),
    "palette.png": saved(picture(mode="P"), "PNG", transparency=3),
    "one_bit.png": saved(picture(mode="1"), "PNG"),
    "animated.png": pages("PNG"),
    "animated.gif": pages("GIF", duration=40),
    "plain.gif": saved(picture(mode="P"), "GIF", transparency=1),
    "lossy.webp": saved(picture(), "WEBP", exif=exif()),
    "lossless.webp": saved(picture(mode="RGBA"), "WEBP", lossless=True),
    "animated.webp": pages("WEBP"),
    "strips.tif": saved(picture(), "TIFF", tiffinfo={278: 8}),
    "tiles.tif": tiled_tiff(16),
    "lzw.tif": saved(picture(), "TIFF", compression="tiff_lzw"),
    "deflate.tif": saved(picture(), "TIFF", compression="tiff_adobe_deflate", exif=exif()),
    "packbits.tif": saved(picture(), "TIFF", compression="packbits"),
    "jpeg.tif": saved(picture(), "TIFF", compression="jpeg"),
    "fax.tif": saved(picture(mode="1"), "TIFF", compression="group4"),
    "float.tif": saved(picture(mode="F"), "TIFF"),
    "pages.tif": pages("TIFF", compression="tiff_lzw"),
    "big.tif": saved(picture(), "TIFF", big_tiff=True),
    "rgb.bmp": saved(picture(), "BMP"),
    "palette.bmp": saved(picture(mode="P"), "BMP"),
}

INTERESTING = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 2**31 - 1, 2**31, 2**32 - 1)

Mutation = Callable[[bytearray, random.Random], bytearray]


def flip_bits(data: bytearray, chance: random.Random) -> bytearray:
    for _ in range(chance.choice((1, 3, 20))):
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    return data


def flip_header(data: bytearray, chance: random.Random) -> bytearray:
    """Few bits where they matter most; the first two bytes stay, which choose the decoder."""
    for _ in range(chance.choice((1, 2, 5))):
        data[chance.randrange(2, min(len(data), 160))] = chance.randrange(256)
    return data


def truncate(data: bytearray, chance: random.Random) -> bytearray:
    return data[: chance.randrange(len(data))]


def insert(data: bytearray, chance: random.Random) -> bytearray:
    at = chance.randrange(len(data))
    return data[:at] + chance.randbytes(chance.choice((1, 2, 17, 300))) + data[at:]


def remove(data: bytearray, chance: random.Random) -> bytearray:
    at = chance.randrange(len(data))
    return data[:at] + data[at + chance.choice((1, 2, 17, 300)) :]


def overwrite_number(data: bytearray, chance: random.Random) -> bytearray:
    """A length, a size or an offset that is at the limit of its type, in either byte order."""
    size = chance.choice((1, 2, 4))
    number = chance.choice(INTERESTING) % 256**size
    at = chance.randrange(2, max(3, len(data) - size))
    data[at : at + size] = number.to_bytes(size, chance.choice(("little", "big")))
    return data


def swap_fields(data: bytearray, chance: random.Random) -> bytearray:
    """Two fields of the header in each other's place: lengths that belong to other chunks."""
    size = chance.choice((2, 4))
    last = max(size + 4, min(len(data), 400) - size)
    a, b = chance.randrange(2, last), chance.randrange(2, last)
    data[a : a + size], data[b : b + size] = data[b : b + size], data[a : a + size]
    return data


def repeat_chunk(data: bytearray, chance: random.Random) -> bytearray:
    start = chance.randrange(len(data))
    piece = data[start : start + chance.randrange(1, 200)]
    return data[:start] + piece * chance.choice((2, 50)) + data[start:]


def splice_header(data: bytearray, chance: random.Random) -> bytearray:
    """The header of one file before the body of another, often of another format."""
    other = SEEDS[chance.choice(sorted(SEEDS))]
    return bytearray(other[: chance.choice((4, 12, 40, 120))]) + data[chance.randrange(4, 120) :]


def splice_chunk(data: bytearray, chance: random.Random) -> bytearray:
    other = SEEDS[chance.choice(sorted(SEEDS))]
    start, at = chance.randrange(len(other)), chance.randrange(len(data))
    data[at : at + chance.choice((0, 100))] = other[start : start + chance.randrange(1, 400)]
    return data


MUTATIONS: tuple[Mutation, ...] = (
    flip_bits,
    flip_header,
    truncate,
    insert,
    remove,
    overwrite_number,
    swap_fields,
    repeat_chunk,
    splice_header,
    splice_chunk,
)


def mutated(seed: int) -> tuple[str, bytes]:
    """The file name and bytes of the image of a seed."""
    chance = random.Random(seed)
    name = sorted(SEEDS)[seed % len(SEEDS)]
    data = bytearray(SEEDS[name])
    for mutate in chance.choices(MUTATIONS, k=chance.choice((1, 1, 2, 3))):
        if len(data) > 8:  # what is shorter has no fields left to break
            data = mutate(data, chance)
    return f"{seed:06}.{name}", bytes(data)


@pytest.mark.slow
@pytest.mark.usefixtures("ray_cluster")
def test_mutated_images_end_no_worker_and_each_is_exactly_one_row(tmp_path: Path) -> None:
    files = dict(map(mutated, range(IMAGES)))
    files |= {f"bomb.{kind}": data for kind, data in bombs(60_000, 60_000).items()}
    (tmp_path / "in").mkdir()
    for name, data in files.items():
        (tmp_path / "in" / name).write_bytes(data)
    config = SegmentConfig(
        input=str(tmp_path / "in"),
        output=str(tmp_path / "out"),
        features=BackboneConfig(backbone="descriptor"),
        images=BUDGET,
        run=RunConfig(shard_size=64, num_workers=2, device="cpu", max_error_rate=1),
    )
    result = run_segment(config)
    assert peak_of_workers() < 2 * 2**30
    assert (result["images"], result["repeated_images"]) == (len(files), 0)

    rows = read(config.output, columns=["key", "segments", "error"]).to_pylist()
    assert [row["key"] for row in rows] == sorted(files)
    errors = {row["key"]: row["error"] for row in rows if row["error"]}
    unexpected = {key: error for key, error in errors.items() if error["code"] not in OF_BYTES}
    assert not unexpected
    assert all(error["stage"] == Stage.DECODE for error in errors.values())
    assert all(row["segments"] for row in rows if not row["error"])
    codes = Counter(error["code"] for error in errors.values())
    assert codes == result["error_codes"]
    # else they were not hostile enough to show anything, or so broken that nothing looked inside
    assert 0.2 < len(errors) / len(rows) < 0.9
    assert {"corrupt", "not_an_image", "too_many_pixels"} <= codes.keys()


def assert_decodes_or_is_an_image_error(data: bytes) -> None:
    """The promise of `decode` and `image_size`, and that they say the same every time."""
    outcomes = []
    for _ in range(2):
        try:
            size = image_size(data)
            pixels = decode(data, max_pixels=BUDGET.max_pixels).pixels
            outcomes.append((size, pixels.shape, pixels.tobytes()))
        except ImageError as error:
            assert error.stage is Stage.DECODE and error.code in OF_BYTES
            assert "\n" not in error.message and len(error.message) < 300
            outcomes.append(error.args)
    assert outcomes[0] == outcomes[1]


@given(name=st.sampled_from(sorted(SEEDS)), data=st.data())
@settings(max_examples=IMAGES // 5, deadline=None)
def test_a_file_with_any_bytes_replaced_decodes_or_is_an_image_error(
    name: str, data: st.DataObject
) -> None:
    file = bytearray(SEEDS[name])
    places = st.integers(0, len(file) - 1)
    for place, byte in data.draw(st.dictionaries(places, st.integers(0, 255), max_size=8)).items():
        file[place] = byte
    assert_decodes_or_is_an_image_error(bytes(file[: data.draw(st.integers(1, len(file)))]))


@given(
    start=st.sampled_from([file[:size] for file in SEEDS.values() for size in (4, 16, 40)]),
    rest=st.binary(max_size=300),
)
@settings(max_examples=IMAGES // 5, deadline=None)
def test_any_bytes_behind_a_good_start_decode_or_are_an_image_error(
    start: bytes, rest: bytes
) -> None:
    assert_decodes_or_is_an_image_error(start + rest)
