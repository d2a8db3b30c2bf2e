"""PASCAL VOC's segmentations: the classes and the objects of every pixel."""

from __future__ import annotations

from collections.abc import Container, Iterator
from dataclasses import dataclass
from typing import Final

from specray.datasets.base import Kind, Truth
from specray.datasets.folder import Folder, open_folder, tail
from specray.datasets.indexed import IndexedDataset
from specray.datasets.label_spaces import IGNORED, LabelSpace, numbered
from specray.datasets.png import read_bytes_map
from specray.datasets.regions import instances
from specray.errors import UserError

NAMES: Final = (
    *("background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat"),
    *("chair", "cow", "diningtable", "dog", "horse", "motorbike", "person", "pottedplant"),
    *("sheep", "sofa", "train", "tvmonitor"),
)
SPACE: Final = LabelSpace(NAMES, numbered(len(NAMES)).table)
"""0 to 20; 255, the seam around objects, does not count."""


@dataclass(frozen=True)
class Segmentations:
    """Reads the palette PNGs of an image by their name."""

    classes: Folder
    objects: Folder

    def __call__(self, name: str, wanted: Container[Kind]) -> Truth:
        """Classes, the mask of all but background and seams, and objects without their seams."""
        classes = mask = None
        if "classes" in wanted or "mask" in wanted:
            classes = SPACE(read_bytes_map(self.classes, name))
            mask = (classes > 0) & (classes != IGNORED)
        return Truth(
            classes=classes if "classes" in wanted else None,
            mask=mask if "mask" in wanted else None,
            instances=instances(read_bytes_map(self.objects, name), void={IGNORED})
            if "instances" in wanted
            else None,
        )


def voc_segmentation(
    uri: str, endpoint: str | None = None, split: str | None = None
) -> IndexedDataset[str]:
    """Images ``JPEGImages/X.jpg``, with ``SegmentationClass/X.png``, ``SegmentationObject/X.png``.

    Parameters
    ----------
    uri, endpoint
        Of the folder of the year, which holds them.
    split
        Which list of ``ImageSets/Segmentation``; None: ``val``, or without that list every file of
        ``SegmentationClass``.

    References
    ----------
    M. Everingham et al., The PASCAL visual object classes challenge: a retrospective, IJCV 2015.
    """
    root = open_folder(uri, endpoint)
    folders = Segmentations(root.at("SegmentationClass"), root.at("SegmentationObject"))

    def index() -> Iterator[tuple[str, str]]:
        for name in _names(root, folders.classes, split):
            yield f"{name}.jpg", f"{name}.png"

    kinds: frozenset[Kind] = frozenset({"classes", "instances", "mask"})
    return IndexedDataset(kinds, index, folders, root.at("JPEGImages").uri, NAMES)


def _names(root: Folder, classes: Folder, split: str | None) -> list[str]:
    name = f"ImageSets/Segmentation/{split or 'val'}.txt"
    if not root.store.exists(name) and next(classes.store.list((".png",)), None) is not None:
        if split is None:
            return [tail(file, 1) for file in classes.names(".png")]
        raise UserError(
            f"--truth: there is no {name} in {root.uri}, though there is SegmentationClass; leave "
            "--split out to take every file of it"
        )
    return root.lines(name)
