"""Datasets of masks: one foreground in every image."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable
from dataclasses import dataclass
from typing import Final

from specray.datasets.base import Kind, Truth
from specray.datasets.folder import Folder, open_folder
from specray.datasets.indexed import IndexedDataset
from specray.datasets.png import read_mask
from specray.datasets.regions import of_mask

KINDS: Final[frozenset[Kind]] = frozenset({"mask", "boxes"})


@dataclass(frozen=True)
class Masks:
    """Reads the masks of a folder by their names; the box is that of the mask."""

    folder: Folder

    def __call__(self, name: str, wanted: Container[Kind]) -> Truth:
        """The mask of an image and its box."""
        return of_mask(read_mask(self.folder, name), wanted)


def masks_of(
    folder: Folder,
    index: Callable[[], Iterable[tuple[str, str]]],
    images: str | None,
    grouped: bool = False,
) -> IndexedDataset[str]:
    """A dataset of masks.

    Parameters
    ----------
    folder
        Where they are.
    index
        Keys of images, and names of their masks.
    images
        URI of the photographs.
    grouped
        The folder of an image is its sequence.
    """
    return IndexedDataset(KINDS, index, Masks(folder), images, grouped=grouped)


def own_masks(uri: str, endpoint: str | None = None) -> IndexedDataset[str]:
    """One's own masks: PNGs, named by their images but for the suffix.

    Images in a folder of their own belong together, as the frames of a video do.

    Parameters
    ----------
    uri, endpoint
        Of the folder.
    """
    folder = open_folder(uri, endpoint)
    return masks_of(
        folder, lambda: ((name, name) for name in folder.names(".png")), None, grouped=True
    )
