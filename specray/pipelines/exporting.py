"""The one stage of an export: the rows of a part to its files and its pieces of shared files."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections import Counter, deque
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any, Final

import pyarrow as pa

from specray.pipelines.export_plan import shard_gone
from specray.sources import Store
from specray.tables.classes import LabelClass
from specray.tables.commit import read_shard
from specray.tables.exports import (
    RECEIPT,
    SKIPPED,
    AnnotatedImage,
    File,
    Format,
    Place,
    Skipped,
    Slice,
    annotated_images,
    count_segments,
)
from specray.tables.objects import if_there
from specray.tables.schema import MASKS

_WRITERS: Final = 8
"""Files of a part that are written at a time: they wait for the store or the disk."""

_COLUMNS: Final = ("key", "etag", "width", "height", *MASKS, "error")


@dataclass(frozen=True)
class ExportCounts:
    """What was exported; counts of parts add up."""

    images: int = 0
    masks: int = 0
    skipped: Mapping[str, int] = field(default_factory=dict)
    """Images that were not, by code."""
    files: int = 0

    def __add__(self, other: ExportCounts) -> ExportCounts:
        return ExportCounts(
            self.images + other.images,
            self.masks + other.masks,
            dict(Counter(self.skipped) + Counter(other.skipped)),
            self.files + other.files,
        )


@dataclass(frozen=True)
class Made:
    """What became of a part, besides its files."""

    counts: ExportCounts
    entries: dict[str, bytes]
    """Of each stream of the shared files, joined; UTF-8."""

    def to_json(self) -> bytes:
        """As receipts hold it."""
        texts = {name: entries.decode() for name, entries in self.entries.items()}
        return json.dumps({"counts": dataclasses.asdict(self.counts), "entries": texts}).encode()

    @classmethod
    def from_json(cls, data: bytes) -> Made:
        """Of a receipt."""
        found = json.loads(data)
        entries = {name: text.encode() for name, text in found["entries"].items()}
        return cls(ExportCounts(**found["counts"]), entries)


@dataclass(frozen=True)
class ExportPart:
    """A part of the plan to its files; what it adds to the files that all share is returned.

    The receipt of a part has what is returned, and is written when its files are: so a run that
    was killed goes on with the parts that have none.
    """

    segments: Store
    output: Store
    format: Format
    methods: frozenset[str]
    classes: tuple[LabelClass, ...] = ()
    """Of a label run."""

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        """Export the part that a row of `part_rows` describes; see `Made`."""
        name = row["receipt"]
        receipt = if_there(self.output, name, lambda: self.output.read(name))
        if receipt is not None:
            return {"made": receipt.data}
        made = self._made(row).to_json()
        self.output.write(name, made)
        return {"made": made}

    def _made(self, row: dict[str, Any]) -> Made:
        slices = [Slice(**of_shard) for of_shard in json.loads(row["slices"])]
        images = _Images(self._rows(slices), self.methods, self.classes)
        entries: dict[str, list[bytes]] = {name: [] for name in self._separators}
        files = 0
        with ThreadPoolExecutor(_WRITERS) as pool:
            writing: deque[Future[None]] = deque()
            for found in self.format.part(Place(row["index"], row["parts"]), images):
                if isinstance(found, File):
                    files += 1
                    writing.append(pool.submit(self.output.write, found.key, found.data))
                    if len(writing) > _WRITERS:  # memory holds so many files
                        writing.popleft().result()
                elif isinstance(found, Skipped):
                    images.skip(found)
                else:
                    entries[found.stream].append(found.data)
            for write in writing:
                write.result()
        entries[SKIPPED.streams[0]] += map(_skipped_line, images.skipped)
        joined = {name: self._separators[name].join(entries[name]) for name in entries}
        return Made(images.counts(files), joined)

    @property
    def _separators(self) -> dict[str, bytes]:
        """Of every stream."""
        documents = (SKIPPED, *self.format.documents)
        return {stream: each.separator for each in documents for stream in each.streams}

    def _rows(self, slices: list[Slice]) -> Iterator[tuple[pa.Table, int, int]]:
        """The rows of each slice, the id of their first image and of its first segment."""
        for of_shard in slices:
            rows = read_shard(self.segments, of_shard.shard, _COLUMNS)
            planned = (of_shard.shard_rows, of_shard.shard_segments)
            if rows is None or (rows.num_rows, count_segments(rows)) != planned:
                raise shard_gone(self.segments, of_shard.shard)
            before = count_segments(rows.slice(0, of_shard.start))
            yield (
                rows.slice(of_shard.start, of_shard.stop - of_shard.start),
                of_shard.first_image + of_shard.start,
                of_shard.first_segment + before,
            )


class _Images:
    """The images of a part, one at a time; those with errors are set aside, and all are counted."""

    def __init__(
        self,
        tables: Iterator[tuple[pa.Table, int, int]],
        methods: frozenset[str],
        classes: tuple[LabelClass, ...],
    ) -> None:
        self._tables = tables
        self._methods = methods
        self._classes = classes
        self._images = self._masks = 0
        self.skipped: list[Skipped] = []

    def __iter__(self) -> Iterator[AnnotatedImage]:
        wanted = self._methods
        for rows, first_image, first_segment in self._tables:
            numbers = (first_image, first_segment)
            for image in annotated_images(rows, wanted, *numbers, self._classes):
                self._images += 1
                if isinstance(image, Skipped):
                    self.skip(image)
                else:
                    self._masks += len(image.annotations)
                    yield image

    def skip(self, image: Skipped) -> None:
        """Take an image for one that is not exported."""
        self.skipped.append(image)
        self._masks -= image.masks

    def counts(self, files: int) -> ExportCounts:
        """Of the whole part."""
        codes = Counter(image.code for image in self.skipped)
        return ExportCounts(self._images - len(self.skipped), self._masks, dict(codes), files)


def part_rows(parts: list[list[Slice]], export: str) -> list[dict[str, Any]]:
    """The plan as rows for Ray Data.

    Parameters
    ----------
    parts
        The plan.
    export
        Digest of what decides the files.
    """
    slices = [json.dumps([dataclasses.asdict(of_shard) for of_shard in part]) for part in parts]
    return [
        {
            "index": index,
            "parts": len(parts),
            "slices": of_part,
            "receipt": _receipt_name(export, version("specray"), index, len(parts), of_part),
        }
        for index, of_part in enumerate(slices)
    ]


def _receipt_name(*decisive: str | int) -> str:
    """Of a part: equal names, equal files."""
    digest = hashlib.sha256(json.dumps(decisive).encode()).hexdigest()[:32]
    return f"{RECEIPT}{digest}.json"


def _skipped_line(image: Skipped) -> bytes:
    entry = {"key": image.key, "code": image.code, "message": image.message}
    return json.dumps(entry).encode()
