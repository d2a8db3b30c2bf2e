"""What every object store offers: list, read and write whole objects under one URI."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Protocol

from specray.errors import ErrorCode, ImageError, Stage, UserError

MAX_OBJECT_BYTES: Final = 2**31
"""Largest object that `Store.read` delivers. A stray archive named ``.tif`` must not end a
worker for want of memory again and again, so it becomes an error row instead."""


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

    Hidden objects, with a part of the key that starts with ``.``, are never listed. Keys that
    could leave the store (``..``, absolute, control characters) are refused (`check_key`).
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
        """

    def read(self, key: str) -> Blob:
        """Return the whole object.

        Raises
        ------
        ImageError
            ``missing`` or ``unreadable``, at stage ``read``.
        UserError
            No object can be read at all: credentials, bucket or endpoint are wrong.
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


def check_key(key: str) -> None:
    """Refuse a key that could leave its store or that no store can hold.

    Raises
    ------
    ValueError
        The key is empty, absolute, has a part ``.`` or ``..``, a control character, or is not
        valid Unicode.
    """
    if not key or key.startswith("/") or not {".", ".."}.isdisjoint(key.split("/")):
        raise ValueError(f"unsafe key {key!r}: it must be a path below the URI, without '..'")
    if any(ord(character) < 32 or ord(character) == 127 for character in key):
        raise ValueError(f"unsafe key {key!r}: it contains a control character")
    if any("\ud800" <= character <= "\udfff" for character in key):
        raise ValueError(f"unsafe key {key!r}: it is not valid Unicode")


def check_readable_key(key: str) -> None:
    """`check_key` for a key that comes from outside: an `ImageError` for the row of this key."""
    try:
        check_key(key)
    except ValueError as error:
        raise unreadable(str(error)) from None


def check_size(key: str, size: int) -> None:
    """Refuse to read an object above `MAX_OBJECT_BYTES`."""
    if size > MAX_OBJECT_BYTES:
        raise unreadable(f"{key!r} has {size} bytes, more than the limit of {MAX_OBJECT_BYTES}")


def is_listed(key: str, suffixes: tuple[str, ...] | None) -> bool:
    """Tell whether a listing shows `key`: nothing in it is hidden, and the suffix is asked for."""
    if any(part.startswith(".") for part in key.split("/")):
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
    return UserError(f"cannot write {key!r} to {uri}: {reason}; check permissions and free space")


def md5_etag(data: bytes) -> str:
    """Return the ETag that S3 gives to an object of a single PUT."""
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def mtime_etag(mtime_ns: int, size: int) -> str:
    """Return what stands for an ETag where the store has none and the bytes were not read."""
    return f"{mtime_ns:x}-{size:x}"
