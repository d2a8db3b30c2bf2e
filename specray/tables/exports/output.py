"""What a format makes of images: files of their own, and pieces of files that they share."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final, Protocol

from specray.tables.exports.annotations import AnnotatedImage, Skipped


@dataclass(frozen=True)
class File:
    """A whole file of the export."""

    key: str
    data: bytes


@dataclass(frozen=True)
class Piece:
    """An entry of a stream, see `Document`."""

    stream: str
    data: bytes


@dataclass(frozen=True)
class Document:
    """A file that all images share: streams of entries with some text around them.

    Parameters
    ----------
    name
        Key of the file.
    streams
        Names of its streams, in the order in which they follow each other.
    heads
        What stands before each stream.
    separator
        What stands between two entries.
    tail
        What ends the file.
    splits
        Whether it may become several files, each with the text around it, where it grows large.
    """

    name: str
    streams: tuple[str, ...]
    heads: tuple[bytes, ...]
    separator: bytes
    tail: bytes
    splits: bool = False


def lines(name: str, stream: str, splits: bool = False) -> Document:
    """A text file of one line per entry."""
    return Document(name, (stream,), (b"",), b"\n", b"\n", splits)


SKIPPED: Final = lines("skipped.jsonl", "skipped", splits=True)
"""Images that are not in the export: ``key``, ``code``, ``message``. No file if there are none."""


RECEIPT: Final = "receipt-"
"""How the keys of receipts begin: of the parts of an export that has not finished."""


@dataclass(frozen=True)
class Place:
    """Which part of the export is made."""

    index: int
    parts: int
    """Of the whole export."""


class Format(Protocol):
    """How annotated images become files. A format pickles, and its results depend on nothing else.

    Parts are runs of images in their order; each is made by one call of `part`, anywhere.
    """

    @property
    def documents(self) -> tuple[Document, ...]:
        """Files that all parts share."""

    @property
    def part_images(self) -> int:
        """Images of a part, more or less: parts are whole shards. 1: each shard is a part."""

    @property
    def part_bytes(self) -> int | None:
        """Bytes of the photographs of a part, at most; None: they do not count."""

    def part(
        self, place: Place, images: Iterable[AnnotatedImage]
    ) -> Iterator[File | Piece | Skipped]:
        """Files and pieces of a part, and the images that this format cannot hold."""

    def files(self) -> Iterator[File]:
        """Small files that do not depend on the images."""


_OWNED: Final = {
    "coco": r"instances(-\d{5,})?\.json",
    "panoptic": r"panoptic/.+\.png|panoptic(-\d{5,})?\.json",
    "voc": r"Segmentation(Object|Class)/.+\.png|ImageSets/Segmentation/train\.txt|labelmap\.txt"
    r"|images(-\d{5,})?\.jsonl",
    "ids": r"ids/.+\.png|images(-\d{5,})?\.jsonl",
    "parquet": r"masks-\d{5,}-of-\d{5,}\.parquet",
    "hf": r"data/train-\d{5,}-of-\d{5,}\.parquet|README\.md",
    "yolo": r"labels/.+\.txt|train\.txt|data\.yaml",
}

OWNED: Final = {
    name: re.compile(rf"{keys}|skipped(-\d{{5,}})?\.jsonl|{RECEIPT}[0-9a-f]{{32}}\.json")
    for name, keys in _OWNED.items()
}
"""Keys of each format: what may be removed with an export of it."""
