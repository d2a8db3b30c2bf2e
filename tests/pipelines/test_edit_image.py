"""One image to its cut-out, without Ray: odd images, faults, names."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from pycocotools import mask as coco_mask

from specray.errors import ErrorCode, ImageError, Stage, UserError
from specray.pipelines import edit_image
from specray.pipelines.edit_image import EditImage, cutout_name
from specray.sources import Blob, check_key, open_store
from tests.pipelines.photographs import GOOD, HEIGHT, WIDTH, encode, photograph

MAX_PIXELS = 10**6


def half(height: int = HEIGHT, width: int = WIDTH) -> NDArray[np.bool_]:
    mask = np.zeros((height, width), bool)
    mask[height // 4 : -height // 4, width // 4 : -width // 4] = True
    return mask


def place(data: bytes, *masks: NDArray[np.bool_], **changed: Any) -> dict[str, Any]:
    rles = [coco_mask.encode(np.asfortranarray(mask.astype(np.uint8))) for mask in masks]
    height, width = masks[0].shape if masks else (HEIGHT, WIDTH)
    known = {"key": "a/b.jpg", "size": len(data), "etag": _md5(data), "cell": 0.0, "masks": rles}
    return known | {"height": height, "width": width} | changed


def _md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def edit(folder: Path, **options: Any) -> EditImage:
    chosen: dict[str, Any] = {"format": "png", "background": None, "max_pixels": MAX_PIXELS}
    return EditImage(open_store(str(folder)), **chosen | options)


def code_of(row: dict[str, Any]) -> str:
    assert row["error"]["stage"] == Stage.EDIT
    code: str = row["error"]["code"]
    return code


@pytest.mark.parametrize("name", sorted(GOOD))
def test_odd_images_are_cut_out_upright_at_their_size(tmp_path: Path, name: str) -> None:
    data = GOOD[name]
    size = (WIDTH, HEIGHT) if name == "rotated.jpg" else (HEIGHT, WIDTH)
    row = edit(tmp_path)(place(data, half(*size)), Blob(data, _md5(data)))
    picture = Image.open(tmp_path / row["file"])
    assert (picture.mode, picture.size) == ("RGBA", size[::-1])
    assert row["file_size"] == (tmp_path / row["file"]).stat().st_size
    assert row["coverage"] == pytest.approx(np.asarray(picture)[..., 3].mean() / 255, abs=0.01)
    assert row["matting_fallback"] is False


def test_a_colour_and_a_picture_lie_behind_the_object(tmp_path: Path) -> None:
    data = GOOD["plain.jpg"]
    blue = encode(Image.new("RGB", (300, 20), "blue"), "PNG")
    for background in ((0, 0, 255), blue):
        row = edit(tmp_path, background=background)(place(data, half()), Blob(data, _md5(data)))
        picture = np.asarray(Image.open(tmp_path / row["file"]))
        assert picture.shape == (HEIGHT, WIDTH, 3)
        assert (picture[0, 0] == [0, 0, 255]).all()
        middle = np.asarray(Image.open(io.BytesIO(data)))[HEIGHT // 2, WIDTH // 2]
        np.testing.assert_array_equal(picture[HEIGHT // 2, WIDTH // 2], middle)


def test_webp_is_written_with_transparency_as_far_as_its_sides_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = GOOD["plain.jpg"]
    work = edit(tmp_path, format="webp")
    row = work(place(data, half()), Blob(data, _md5(data)))
    picture = Image.open(tmp_path / row["file"])
    assert (picture.format, picture.mode) == ("WEBP", "RGBA")
    monkeypatch.setattr(edit_image, "_WEBP_SIDE", WIDTH - 1)
    assert code_of(work(place(data, half()), Blob(data, _md5(data)))) == "too_many_pixels"


def test_several_objects_are_one_cut_out(tmp_path: Path) -> None:
    data, left, right = GOOD["plain.jpg"], half(), half()
    left[:, WIDTH // 2 - 10 :] = False
    right[:, : WIDTH // 2 + 10] = False
    row = edit(tmp_path)(place(data, left, right), Blob(data, _md5(data)))
    alpha = np.asarray(Image.open(tmp_path / row["file"]))[HEIGHT // 2, :, 3]
    assert alpha[WIDTH // 4 + 8] == alpha[-WIDTH // 4 - 8] == 255


def test_what_has_no_object_or_nothing_but_an_object_is_a_no_object_row(tmp_path: Path) -> None:
    data, work = GOOD["plain.jpg"], edit(tmp_path)
    whole = np.ones((HEIGHT, WIDTH), bool)
    assert code_of(work(place(data), Blob(data, _md5(data)))) == "no_object"
    assert code_of(work(place(data, whole), Blob(data, _md5(data)))) == "no_object"
    assert not list(tmp_path.iterdir())


def test_another_image_under_the_key_is_a_changed_row(tmp_path: Path) -> None:
    data, other, work = GOOD["plain.jpg"], encode(photograph(9), "JPEG"), edit(tmp_path)
    assert code_of(work(place(data, half()), Blob(other, _md5(other)))) == "changed"
    same_size = data[:-1] + bytes([data[-1] ^ 1])
    assert code_of(work(place(data, half()), Blob(same_size, _md5(same_size)))) == "changed"
    assert code_of(work(place(data, half(9, 9)), Blob(data, _md5(data)))) == "changed"


def test_a_copy_is_the_same_image_whatever_etag_its_store_gives_it(tmp_path: Path) -> None:
    data, work = GOOD["plain.jpg"], edit(tmp_path)
    assert "error" not in work(place(data, half()), Blob(data, "abc-2"))
    assert "error" not in work(place(data, half(), etag="abc-2"), Blob(data, _md5(data)))
    assert code_of(work(place(data, half(), etag="abc-2"), Blob(data, "def-2"))) == "changed"


def test_faults_of_the_image_are_rows_and_those_of_the_output_are_not(tmp_path: Path) -> None:
    data, work = GOOD["plain.jpg"], edit(tmp_path, max_pixels=100)
    gone = ImageError(ErrorCode.MISSING, Stage.READ, "there is no object")
    assert code_of(work(place(data, half()), gone)) == "missing"
    assert code_of(work(place(data, half()), Blob(data, _md5(data)))) == "too_many_pixels"
    broken = data[:1500]
    assert code_of(edit(tmp_path)(place(broken, half()), Blob(broken, _md5(broken)))) == "corrupt"
    (tmp_path / "cutouts").write_text("in the way")
    with pytest.raises(UserError, match="cannot write"):
        edit(tmp_path)(place(data, half()), Blob(data, _md5(data)))


def test_what_nobody_foresaw_is_a_row(tmp_path: Path) -> None:
    data = GOOD["plain.jpg"]
    row = edit(tmp_path)(place(data, half(), masks=[{"counts": b"x"}]), Blob(data, _md5(data)))
    assert code_of(row) == "internal"


ODD_KEYS = (
    "../x",
    "a//b",
    "x" * 300 + ".jpg",
    "a\nb",
    "C:\\x",
    "a.png/b",
    "a.webp/b",
    "~",
    "ä.JPG",
)


@pytest.mark.parametrize("key", ODD_KEYS)
@pytest.mark.parametrize("suffix", ["png", "webp"])
def test_every_key_has_a_name_that_every_store_takes(key: str, suffix: str) -> None:
    name = cutout_name(key, suffix)
    check_key(name)
    assert name.startswith("cutouts/")
    assert name.endswith(f".{suffix}")
    assert all(len(part.encode()) < 255 for part in name.split("/"))
    assert not any(part.endswith(f".{suffix}") for part in name.split("/")[:-1])


@given(st.sets(st.text("aAbB./~é", min_size=1, max_size=6), min_size=2, max_size=8))
def test_no_two_keys_share_a_name_also_where_case_does_not_count(keys: set[str]) -> None:
    names = {cutout_name(key, "png").casefold() for key in keys}
    assert len(names) == len(keys)
