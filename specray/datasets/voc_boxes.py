"""PASCAL VOC's XML files: the boxes of objects."""

from __future__ import annotations

import re
from collections.abc import Container, Iterator
from dataclasses import dataclass
from typing import Final
from xml.etree import ElementTree

from specray.datasets.base import Kind, Truth
from specray.datasets.folder import Folder, open_folder
from specray.datasets.indexed import IndexedDataset
from specray.evaluation import voc_boxes

_KINDS: Final[frozenset[Kind]] = frozenset({"boxes"})
_PRESENCE: Final = re.compile(r"\s+-?[01]$")
"""The list of a class says after each name whether the class is there."""
_CORNERS: Final = ("xmin", "ymin", "xmax", "ymax")


@dataclass(frozen=True)
class XmlBoxes:
    """Reads the XML files of a folder by their names."""

    folder: Folder

    def __call__(self, name: str, wanted: Container[Kind]) -> Truth:
        """The boxes of all objects, difficult and truncated ones too: DSM's and LOST's protocol."""
        if "boxes" not in wanted:
            return Truth()
        data = self.folder.read(name)
        with self.folder.damaged(name, "XML file of PASCAL VOC", ElementTree.ParseError):
            return parse_annotation(data)


class _Plain(ElementTree.TreeBuilder):
    """Builds no document that defines entities: a few lines of those fill the memory."""

    def doctype(self, name: str, pubid: str | None, system: str | None) -> None:
        raise ValueError("it has a DOCTYPE, which no such file needs")


def parse_annotation(data: bytes) -> Truth:
    """The size of an image, if it is there, and the boxes, of an XML file of PASCAL VOC.

    Parts of objects, such as heads, are left out.

    Raises
    ------
    ValueError, AttributeError, TypeError, ElementTree.ParseError
        It is none.
    """
    tree = ElementTree.fromstring(data, ElementTree.XMLParser(target=_Plain()))
    if tree.tag != "annotation":
        raise ValueError(f"it begins with <{tree.tag}>")
    boxes = voc_boxes([_corners(each) for each in tree.iterfind("object")])
    height, width = (tree.findtext(f"size/{side}", "") for side in ("height", "width"))
    size = (int(height), int(width)) if height.isdigit() and width.isdigit() else None
    return Truth(size, boxes=boxes)


def voc_detection(
    uri: str, endpoint: str | None = None, split: str = "trainval"
) -> IndexedDataset[str]:
    """The images that ``ImageSets/Main/SPLIT.txt`` names, of VOC2007, VOC2012 or another year.

    Parameters
    ----------
    uri, endpoint
        Of the folder of the year, which holds ``JPEGImages`` and ``Annotations``.
    split
        ``train``, ``val``, ``trainval``, or ``test`` where its annotations are published.

    References
    ----------
    M. Everingham et al., The PASCAL visual object classes (VOC) challenge, IJCV 2010.
    """
    root = open_folder(uri, endpoint)

    def index() -> Iterator[tuple[str, str]]:
        for line in root.lines(f"ImageSets/Main/{split}.txt"):
            name = _PRESENCE.sub("", line)
            yield f"{name}.jpg", f"{name}.xml"

    read = XmlBoxes(root.at("Annotations"))
    return IndexedDataset(_KINDS, index, read, root.at("JPEGImages").uri)


def voc_xml(uri: str, endpoint: str | None = None) -> IndexedDataset[str]:
    """One's own XML files in the format of PASCAL VOC, named by their images but for the suffix.

    Parameters
    ----------
    uri, endpoint
        Of the folder.
    """
    folder = open_folder(uri, endpoint)
    return IndexedDataset(
        _KINDS, lambda: ((name, name) for name in folder.names(".xml")), XmlBoxes(folder)
    )


def _corners(element: ElementTree.Element) -> list[float]:
    box = element.find("bndbox")
    if box is None:
        raise ValueError("an object has no <bndbox>")
    return [float(box.findtext(corner, "").strip()) for corner in _CORNERS]
