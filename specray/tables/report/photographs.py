"""Photographs of rows, read again from where the images are."""

from __future__ import annotations

import numpy as np
from PIL import Image

from specray.errors import ImageError
from specray.sources import Store, decode
from specray.tables.report.pictures import Pixels
from specray.tables.rows import Row


def read_photograph(
    row: Row, source: Store | None, size: tuple[int, int]
) -> tuple[Pixels | None, str | None]:
    """The photograph of a row, or why there is none.

    Parameters
    ----------
    row
        With ``key``, ``etag``, ``height`` and ``width``.
    source
        Where the photographs are; None: out of reach.
    size
        (height, width) to bring it to, not larger than it is.
    """
    if source is None:
        return None, "the report was made without access to the photographs"
    height, width = size
    smaller = (height, width) != (row["height"], row["width"])
    try:
        blob = source.read(row["key"])
        if row["etag"] not in (None, blob.etag):
            return None, "the image has changed since it was segmented"
        image = decode(
            blob.data,
            max_pixels=row["width"] * row["height"],  # the very bytes of the row: no surprise
            short_side=min(height, width) if smaller else None,
        )
    except ImageError as error:
        return None, error.message
    # another step only where rounding made the sides differ by a few pixels
    thumbnail = Image.fromarray(image.pixels).resize((width, height), Image.Resampling.BICUBIC)
    return np.asarray(thumbnail), None
