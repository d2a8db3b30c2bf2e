"""Datasets of label maps: a number for the class of every pixel."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from specray.datasets.base import Kind, Truth
from specray.datasets.folder import Folder, open_folder
from specray.datasets.indexed import IndexedDataset
from specray.datasets.label_spaces import LabelSpace
from specray.datasets.png import read_bytes_map


@dataclass(frozen=True)
class ClassMaps:
    """Reads the label maps of a folder by their names.

    Parameters
    ----------
    folder, space
        Where they are, and the classes of their numbers.
    numbers
        Reads the (H, W) numbers of a file.
    """

    folder: Folder
    space: LabelSpace
    numbers: Callable[[Folder, str], NDArray[np.uint8]] = read_bytes_map

    def __call__(self, name: str, wanted: Container[Kind]) -> Truth:
        """The classes of an image, if they are asked for."""
        if "classes" not in wanted:
            return Truth()
        return Truth(classes=self.space(self.numbers(self.folder, name)))


def class_maps(
    maps: ClassMaps, index: Callable[[], Iterable[tuple[str, str]]], images: str | None
) -> IndexedDataset[str]:
    """A dataset of label maps.

    Parameters
    ----------
    maps
        Reads them.
    index
        Keys of images, and names of their maps.
    images
        URI of the photographs.
    """
    return IndexedDataset(frozenset({"classes"}), index, maps, images, maps.space.names)


def own_maps(uri: str, endpoint: str | None = None, *, space: LabelSpace) -> IndexedDataset[str]:
    """One's own label maps: 8-bit PNGs, named by their images but for the suffix.

    Parameters
    ----------
    uri, endpoint
        Of the folder.
    space
        Classes of the numbers.
    """
    folder = open_folder(uri, endpoint)
    return class_maps(
        ClassMaps(folder, space), lambda: ((name, name) for name in folder.names(".png")), None
    )
