"""Potsdam-3 as STEGO unpacks it: MATLAB files of aerial photographs and of their classes.

The photographs are MATLAB files too. ``python -m specray.datasets.potsdam ROOT ROOT/png`` writes
them as PNGs, which specray segment reads.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.io import loadmat
from scipy.io.matlab import MatReadError

from specray.datasets.class_maps import ClassMaps, class_maps
from specray.datasets.folder import Folder, open_folder
from specray.datasets.indexed import IndexedDataset
from specray.datasets.label_spaces import POTSDAM
from specray.errors import UserError
from specray.sources import open_store
from specray.sources.decode import HOSTILE_BYTES

_PHOTOGRAPHS: Final = "png"


def potsdam(uri: str, endpoint: str | None = None, split: str = "test") -> IndexedDataset[str]:
    """Labels ``gt/ID.mat`` of the images that ``labelled_SPLIT.txt`` names; keys are ``ID.png``.

    Parameters
    ----------
    uri, endpoint
        Of the folder that holds ``gt`` and ``imgs``. Its photographs are known if they are in
        ``png``, where `write_photographs` may write them.
    split
        ``test`` or ``train``.

    References
    ----------
    X. Ji, J. F. Henriques, A. Vedaldi, Invariant information clustering for unsupervised image
    classification and segmentation, ICCV 2019, for the three classes and the tiles.
    """
    root = open_folder(uri, endpoint)
    photographs = root.at(_PHOTOGRAPHS)
    written = next(photographs.store.list((".png",)), None) is not None

    def index() -> Iterator[tuple[str, str]]:
        return ((f"{i}.png", f"{i}.mat") for i in root.lines(f"labelled_{split}.txt"))

    maps = ClassMaps(root.at("gt"), POTSDAM, _labels)
    return class_maps(maps, index, photographs.uri if written else None)


def write_photographs(uri: str, output: str, endpoint: str | None = None) -> int:
    """Write ``imgs/ID.mat`` of a dataset as ``ID.png``, without the infrared channel.

    Parameters
    ----------
    uri
        Of the dataset.
    output
        URI of a folder, such as ``png`` in the dataset.
    endpoint
        Of S3-compatible stores.

    Returns
    -------
    How many.

    Raises
    ------
    UserError
        A file is missing or damaged, or cannot be written.
    """
    folder = open_folder(uri, endpoint).at("imgs")
    target = open_store(output, endpoint)
    names = folder.names(".mat")
    for name in names:
        pixels = _array(folder, name, "img")
        if pixels.ndim != 3 or pixels.shape[2] < 3:
            raise UserError(f"{name} in {folder.uri} is no photograph of three channels or more")
        buffer = io.BytesIO()
        Image.fromarray(np.ascontiguousarray(pixels[..., :3])).save(buffer, "PNG")
        target.write(f"{name[: -len('.mat')]}.png", buffer.getvalue())
    return len(names)


def _labels(folder: Folder, name: str) -> NDArray[np.uint8]:
    numbers = _array(folder, name, "gt")
    if numbers.ndim != 2:
        raise UserError(f"--truth: {name} in {folder.uri} is no map of numbers")
    return numbers


def _array(folder: Folder, name: str, variable: str) -> NDArray[np.uint8]:
    """A variable of a MATLAB file, of whole numbers from 0 to 255."""
    data = folder.read(name)
    with folder.damaged(name, f"MATLAB file with {variable!r}", *HOSTILE_BYTES, MatReadError):
        values: NDArray[Any] = loadmat(io.BytesIO(data), variable_names=[variable])[variable]
        numbers = values.astype(np.uint8)
        if not (numbers == values).all():
            raise ValueError(f"{variable!r} has other numbers than those from 0 to 255")
    return numbers


def main(arguments: list[str]) -> int:
    """Write the photographs of ROOT to OUT."""
    if len(arguments) != 2:
        print("usage: python -m specray.datasets.potsdam ROOT OUT", file=sys.stderr)
        return 2
    try:
        count = write_photographs(*arguments)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"{count} photographs written to {arguments[1]}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
