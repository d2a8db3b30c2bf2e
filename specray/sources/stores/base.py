"""What every object store offers: list, read and write whole objects under one URI."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, Protocol

from specray.errors import ErrorCode, ImageError, Stage, UserError

MAX_OBJECT_BYTES: Final = 2**31
"""Largest object that `Store.read` delivers. A stray archive named ``.tif`` must not end a
worker for want of memory again and again, so it becomes an error row instead."""

WRITE_ROUNDS: Final = 10
"""How often `Store.write` starts again when its temporary file is gone. A run cleans up once, so
two rounds are enough even while another copy of the same run starts."""


@dataclass(frozen=True)
class Entry:
    """One object as a listing or a key list names it.

    Parameters
    ----------
    key
        Path relative to the URI of the store, forward slashes.
    size
        Bytes; None if the object was not there when it was looked up.
    etag
        Changes when the object changes: the ETag of S3, elsewhere ``mtime-size`` in hex
        (nanoseconds, bytes). None if the object was not there.
    """

    key: str
    size: int | None
    etag: str | None


@dataclass(frozen=True)
class Blob:
    """The bytes of an object and the ETag that goes with exactly these bytes.

    `etag` is the answer of S3, or the MD5 of the bytes in hex elsewhere: what S3 answers for an
    object of a single PUT, so that the rows of a folder equal the rows of a bucket.
    """

    data: bytes
    etag: str


class Store(Protocol):
    """Objects under one URI: a folder, a bucket or a prefix of a bucket.

    A store pickles without a connection and without credentials: each process connects for
    itself, with the credentials of its own environment. All methods may be called from many
    threads at once.

    Hidden objects, with a part of the key that starts with ``.``, are never listed (``.`` and
    ``..`` themselves, which a bucket may hold, are not hidden). What is listed is read under
    exactly the key of the listing, however odd. Only keys that this project chooses are written
    and deleted, so these methods take nothing but plain ones (`check_key`); a file system reads
    nothing outside of its root either (`check_path`).
    """

    @property
    def uri(self) -> str:
        """Where it is, in a form that `open_store` takes; it never contains a secret."""

    def list(self, suffixes: tuple[str, ...] | None = None) -> Iterator[Entry]:
        """Yield the objects in the UTF-8 byte order of their keys, lazily.

        Parameters
        ----------
        suffixes
            Keep keys that end in one of these, case ignored; None keeps all.

        Raises
        ------
        UserError
            The store cannot be listed. A prefix under which there is nothing is no error.
        """

    def stat(self, key: str) -> Entry | None:
        """Look up size and ETag without the bytes; None if there is no such object.

        Raises
        ------
        UserError
            The store does not answer or refuses.
        ValueError
            The key leads outside, or no store can hold it.
        """

    def read(self, key: str) -> Blob:
        """Return the whole object.

        Raises
        ------
        ImageError
            ``missing`` or ``unreadable``, at stage ``read``: the fault of this one object.
        UserError
            No object can be read at all: credentials, bucket or endpoint are wrong, or the store
            is down for longer than the retries last.
        """

    def tail(self, key: str, size: int) -> bytes:
        """Return the last `size` bytes of an object, all of it if it is shorter.

        Parameters
        ----------
        key
            Key of the object.
        size
            At least 1.

        Raises
        ------
        ImageError, UserError
            As `read`.
        """

    def part(self, key: str, start: int, size: int) -> bytes:
        """Return `size` bytes of an object from `start` on, fewer at its end.

        Parameters
        ----------
        key
            Key of the object.
        start
            At least 0.
        size
            At least 1.

        Raises
        ------
        ImageError, UserError
            As `read`.
        """

    def write(self, key: str, data: bytes) -> None:
        """Create or replace an object: readers see all of it or the state before.

        Raises
        ------
        UserError
            The store does not take it.
        ValueError
            The key could leave the store.
        """

    def exists(self, key: str) -> bool:
        """Tell whether there is an object of this key."""

    def delete(self, key: str) -> None:
        """Remove an object; one that is not there is no error."""

    def remove_temporaries(self) -> int:
        """Remove what writers that were killed left behind; returns how many files.

        Hidden folders and linked ones are not entered. Other processes may be writing: one that
        loses its temporary file writes it again.
        """


def check_key(key: str) -> None:
    """Refuse a key that is not plain: for keys to write and to delete, which are our own.

    Raises
    ------
    ValueError
        As `check_path`, or there is a control character.
    """
    check_path(key)
    if any(ord(character) < 32 or ord(character) == 127 for character in key):
        raise ValueError(f"unsafe key {key!r}: it contains a control character")


def check_path(key: str) -> None:
    """Refuse a key that a file system would look for outside of the root, or cannot hold.

    Raises
    ------
    ValueError
        As `check_name`, or the key is absolute, has a part ``.`` or ``..``, or a null character.
    """
    check_name(key)
    if key.startswith("/") or not {".", ".."}.isdisjoint(key.split("/")):
        raise ValueError(f"unsafe key {key!r}: it must be a path below the URI, without '..'")
    if "\0" in key:
        raise ValueError(f"unsafe key {key!r}: it contains a null character")


def check_name(key: str) -> None:
    """Refuse a key that no store can hold. To a bucket any other is only a name.

    Raises
    ------
    ValueError
        The key is empty or not valid Unicode.
    """
    if not key:
        raise ValueError("unsafe key '': it is empty")
    if any("\ud800" <= character <= "\udfff" for character in key):
        raise ValueError(f"unsafe key {key!r}: it is not valid Unicode")


def check_readable(key: str, check: Callable[[str], None]) -> None:
    """Apply `check` to a key that comes from outside: its fault is the row of this key."""
    try:
        check(key)
    except ValueError as error:
        raise unreadable(str(error)) from None


def check_size(key: str, size: int) -> None:
    """Refuse to read an object above `MAX_OBJECT_BYTES`."""
    if size > MAX_OBJECT_BYTES:
        raise unreadable(f"{key!r} has {size} bytes, more than the limit of {MAX_OBJECT_BYTES}")


def is_listed(key: str, suffixes: tuple[str, ...] | None) -> bool:
    """Tell whether a listing shows `key`: nothing in it is hidden, and the suffix is asked for."""
    if any(part.startswith(".") and part not in {".", ".."} for part in key.split("/")):
        return False
    return suffixes is None or key.lower().endswith(tuple(s.lower() for s in suffixes))


def missing(key: str) -> ImageError:
    """Return the error of an object that is not there."""
    return ImageError(ErrorCode.MISSING, Stage.READ, f"there is no object {key!r}")


def unreadable(message: str) -> ImageError:
    """Return the error of an object that the store does not deliver."""
    return ImageError(ErrorCode.UNREADABLE, Stage.READ, message)


def write_failed(uri: str, key: str, reason: str) -> UserError:
    """Return the error of an object that a file system does not take."""
    return UserError(
        f"cannot write {key!r} to {uri}: {reason}; free space or correct the permissions, then run"
        " the same command again: it continues"
    )


def temporary_name() -> str:
    """Return a new hidden name for a file that is still being written."""
    return f".specray-{uuid.uuid4().hex}.tmp"


def is_temporary(name: str) -> bool:
    """Tell whether a file has a name of `temporary_name`."""
    return name.startswith(".specray-") and name.endswith(".tmp")


def md5_etag(data: bytes) -> str:
    """Return the ETag that S3 gives to an object of a single PUT."""
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def mtime_etag(mtime_ns: int, size: int) -> str:
    """Return what stands for an ETag where the store has none and the bytes were not read."""
    return f"{mtime_ns:x}-{size:x}"
