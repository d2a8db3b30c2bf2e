"""DAVIS 2016: the one object of every frame of a video."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from specray.datasets.folder import open_folder
from specray.datasets.indexed import IndexedDataset
from specray.datasets.masks import masks_of

_IMAGES: Final = "JPEGImages/480p"
_MASKS: Final = "Annotations/480p"


def davis2016(uri: str, endpoint: str | None = None, split: str = "val") -> IndexedDataset[str]:
    """The frames that ``ImageSets/480p/SPLIT.txt`` names, each with the path of its mask.

    Parameters
    ----------
    uri, endpoint
        Of the folder that holds ``JPEGImages``, ``Annotations`` and ``ImageSets``.
    split
        ``train``, ``val`` or ``trainval``.

    References
    ----------
    F. Perazzi et al., A benchmark dataset and evaluation methodology for video object
    segmentation, CVPR 2016.
    """
    root = open_folder(uri, endpoint)
    name = f"ImageSets/480p/{split}.txt"

    def index() -> Iterator[tuple[str, str]]:
        for line in root.lines(name):
            with root.damaged(name, "list of frames and masks"):
                image, mask = (path.lstrip("/") for path in line.split())
                pair = _below(image, _IMAGES), _below(mask, _MASKS)
            yield pair

    return masks_of(root.at(_MASKS), index, root.at(_IMAGES).uri, grouped=True)


def _below(path: str, folder: str) -> str:
    if not path.startswith(f"{folder}/"):
        raise ValueError(f"{path!r} is not below {folder}")
    return path.removeprefix(f"{folder}/")
