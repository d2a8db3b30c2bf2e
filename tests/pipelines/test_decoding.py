"""Decoded images: at the size of the backbone, and at that of the refinement."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image
from skimage import data

from specray.masks import RefineConfig
from specray.masks.config import Refine
from specray.pipelines.config import ImageConfig, SegmentConfig
from specray.pipelines.decoding import read_images
from specray.sources import Blob
from specray.tables.rows import Row


def decoded(refine: Refine, refine_size: int | None) -> Row:
    """A photograph of 300 x 200 pixels that lies on its side: upright it is 200 x 300."""
    exif = Image.Exif()
    exif[0x0112] = 6
    buffer = io.BytesIO()
    Image.fromarray(data.chelsea()[:200, :300]).save(buffer, "JPEG", exif=exif)
    config = SegmentConfig(
        "",
        "",
        images=ImageConfig(image_size=100),
        refinement=RefineConfig(refine, refine_size),
    )
    (row,) = read_images(config, 16, [("a.jpg", Blob(buffer.getvalue(), "etag"))])
    assert row.get("error") is None
    return row


@pytest.mark.parametrize(
    ("refine_size", "fine"),
    [(None, None), (100, None), (150, (225, 150)), (5000, (300, 200))],
)
def test_masks_are_refined_at_their_own_size(
    refine_size: int | None, fine: tuple[int, int] | None
) -> None:
    row = decoded("fast", refine_size)
    assert (row["height"], row["width"]) == (300, 200)
    assert (row["pixels_h"], row["pixels_w"]) == (150, 100)
    if fine is None:
        assert "fine" not in row
        return
    assert (row["fine_h"], row["fine_w"]) == fine
    large, small = (
        np.frombuffer(row[name], np.uint8).reshape(row[f"{name}_h"], row[f"{name}_w"], 3)
        for name in ("fine", "pixels")
    )
    again = np.asarray(Image.fromarray(large).resize((100, 150), Image.Resampling.BOX))
    assert np.abs(again.astype(int) - small).mean() < 4  # the same picture, upright


def test_nothing_is_decoded_twice_without_refinement() -> None:
    assert "fine" not in decoded("none", 150)
