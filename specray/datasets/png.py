"""PNG files of numbers, of masks and of colours."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from specray.datasets.folder import Folder
from specray.errors import UserError
from specray.sources.decode import HOSTILE_BYTES


def read_numbers(folder: Folder, name: str) -> NDArray[np.integer[Any]]:
    """A map of numbers, palettes unapplied.

    Returns
    -------
    (H, W) uint8, or uint16 from a file of 16 bits.

    Raises
    ------
    UserError
        It is not there, damaged, or has colours instead of numbers.
    """
    numbers = np.asarray(_read(folder, name))
    if numbers.dtype == np.bool_:
        return numbers.astype(np.uint8)
    if numbers.ndim != 2 or numbers.dtype not in (np.uint8, np.uint16):
        raise UserError(
            f"--truth: {name} in {folder.uri} has colours; it must be a map of numbers, such as a "
            "palette PNG"
        )
    return numbers


def read_bytes_map(folder: Folder, name: str) -> NDArray[np.uint8]:
    """A map of 8-bit numbers, (H, W); otherwise as `read_numbers`."""
    numbers = read_numbers(folder, name)
    if numbers.dtype != np.uint8:
        raise UserError(f"--truth: {name} in {folder.uri} has 16 bits; it must have 8-bit numbers")
    return numbers.astype(np.uint8, copy=False)


def read_mask(folder: Folder, name: str) -> NDArray[np.bool_]:
    """A mask: what is brighter than half of the range of the file is foreground.

    So DSM reads the masks of CUB and of saliency. Two that would come out empty are taken at their
    word: 0 and 1 in a file of 8 bits, and the numbers from 1 on of a palette of colours, as in
    DAVIS 2017.

    Returns
    -------
    (H, W) bool.

    Raises
    ------
    UserError
        It is not there, or damaged.
    """
    image = _read(folder, name)
    if image.mode == "P":
        colours = np.asarray(image.convert("RGB"))
        if (colours != colours[..., :1]).any():
            return np.asarray(image) > 0
    grey = np.asarray(image if image.mode in {"1", "L", "I;16"} else image.convert("L"))
    if grey.dtype == np.bool_ or grey.max() == 1:
        return grey.astype(np.bool_)
    return grey > np.iinfo(grey.dtype).max // 2


def read_colours(folder: Folder, name: str) -> NDArray[np.uint8]:
    """Colours, (H, W, 3).

    Raises
    ------
    UserError
        It is not there, damaged, or has no three channels.
    """
    image = _read(folder, name)
    if image.mode != "RGB":
        raise UserError(f"--truth: {name} in {folder.uri} has no three channels of 8 bits")
    return np.asarray(image)


def _read(folder: Folder, name: str) -> Image.Image:
    data = folder.read(name)
    faults = (*HOSTILE_BYTES, Image.DecompressionBombError)
    with (
        folder.damaged(name, "PNG", *faults),
        Image.open(io.BytesIO(data), formats=["PNG"]) as image,
    ):
        image.load()
        return image
