"""Files that all images share, put together as the parts of an export come in."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import PurePosixPath
from typing import IO, Final

from specray.sources import Store
from specray.tables.exports.output import Document

LARGEST: Final = 512 * 2**20
"""Bytes of a document that splits: readers parse the whole of it in memory, some ten times as much.
That of COCO train2017, with 118,287 images, has 448 MB."""


class Assembly:
    """Gathers a `Document` in temporary files, and publishes it; see `assemble`."""

    def __init__(
        self, document: Document, store: Store, streams: Mapping[str, IO[bytes]], largest: int
    ) -> None:
        self._document = document
        self._store = store
        self._streams = streams
        self._largest = largest
        self.files = 0
        """Published so far."""

    def add(self, entries: Mapping[str, bytes]) -> None:
        """Append the entries of a part, joined by the separator, to their streams."""
        more = sum(len(entries[name]) for name in self._streams)
        if self._document.splits and self._size and self._size + more > self._largest:
            self._publish(self._numbered())
        for name, stream in self._streams.items():
            if entries[name]:
                if stream.tell():
                    stream.write(self._document.separator)
                stream.write(entries[name])

    def finish(self) -> None:
        """Publish what is there, under the plain name if it is all there was."""
        self._publish(self._numbered() if self.files else self._document.name)

    @property
    def empty(self) -> bool:
        """Whether nothing was added."""
        return not self.files and not self._size

    @property
    def _size(self) -> int:
        return sum(stream.tell() for stream in self._streams.values())

    def _publish(self, name: str) -> None:
        with tempfile.TemporaryFile() as whole:
            for head, stream in zip(self._document.heads, self._streams.values(), strict=True):
                whole.write(head)
                stream.seek(0)
                shutil.copyfileobj(stream, whole)
                stream.seek(0)
                stream.truncate()
            whole.write(self._document.tail)
            whole.seek(0)
            self._store.write(name, whole.read())
        self.files += 1

    def _numbered(self) -> str:
        path = PurePosixPath(self._document.name)
        return str(path.with_name(f"{path.stem}-{self.files:05}{path.suffix}"))


@contextmanager
def assemble(document: Document, store: Store, largest: int = LARGEST) -> Iterator[Assembly]:
    """Make a document on this machine, in temporary files that go with the block.

    Memory holds one file of the document at a time, and that only while it is written. What does
    not split needs some 50 bytes per image then.

    Parameters
    ----------
    document
        What to make.
    store
        Where it goes.
    largest
        Bytes after which a document that splits begins another file.
    """
    with ExitStack() as stack:
        streams = {name: stack.enter_context(tempfile.TemporaryFile()) for name in document.streams}
        yield Assembly(document, store, streams, largest)
