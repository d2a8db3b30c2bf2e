"""Every other store that Arrow can reach: Google Cloud Storage, Azure, HDFS."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import pyarrow as pa
from pyarrow import fs

from specray.errors import UserError
from specray.sources.stores.base import (
    WRITE_ROUNDS,
    Blob,
    Entry,
    check_key,
    check_path,
    check_readable,
    check_size,
    is_listed,
    is_temporary,
    md5_etag,
    missing,
    mtime_etag,
    temporary_name,
    unreadable,
    write_failed,
)
from specray.sources.stores.walk import walk

_BLOB_STORES: Final = {"gcs", "abfs"}
"""Their objects appear when the stream is closed; file systems need a rename for that."""

GCS_RETRY_SECONDS: Final = 30
"""How long Google Cloud Storage may fail, or have no credentials, before it counts."""


@dataclass(frozen=True)
class ArrowStore:
    """A folder of any `pyarrow.fs` file system; see `Store` for the methods.

    The file system lists one folder at a time, so that the order is that of S3. Credentials come
    from the environment of each process.

    Parameters
    ----------
    uri
        What `pyarrow.fs.FileSystem.from_uri` takes, such as ``gs://bucket/prefix``.
    """

    uri: str

    def list(self, suffixes: tuple[str, ...] | None = None) -> Iterator[Entry]:
        """Yield the files in the UTF-8 byte order of their keys; see `Store.list`."""
        # the entries of the folders that are open in the walk, dropped as they are yielded
        found: dict[str, Entry] = {}

        def children(folder: str) -> Iterator[str]:
            for info in self._infos(folder):
                name = info.base_name
                if info.type == fs.FileType.Directory and not name.startswith("."):
                    yield name + "/"
                elif info.type == fs.FileType.File and is_listed(name, suffixes):
                    found[folder + name] = _entry(folder + name, info)
                    yield name

        for key in walk(children):
            yield found.pop(key)

    def stat(self, key: str) -> Entry | None:
        """Look up a file; see `Store.stat`."""
        check_path(key)
        try:
            info = self._filesystem.get_file_info(self._path(key))
        except (OSError, pa.ArrowException) as error:
            if isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG:
                return None
            raise self._user_error(error) from None
        return _entry(key, info) if info.type == fs.FileType.File else None

    def read(self, key: str) -> Blob:
        """Return the bytes of a file; see `Store.read`."""
        with self._reading(key) as file:
            check_size(key, file.size())
            data = file.read()
        return Blob(data, md5_etag(data))

    def tail(self, key: str, size: int) -> bytes:
        """Return the last bytes of a file; see `Store.tail`."""
        with self._reading(key) as file:
            length = file.size()
            data: bytes = file.read_at(min(size, length), max(0, length - size))
        return data

    def part(self, key: str, start: int, size: int) -> bytes:
        """Return some bytes of a file; see `Store.part`."""
        with self._reading(key) as file:
            left = max(0, file.size() - start)
            data: bytes = file.read_at(min(size, left), start) if left else b""
        return data

    def write(self, key: str, data: bytes) -> None:
        """Write whole or not at all; see `Store.write`."""
        check_key(key)
        for turn in range(1, WRITE_ROUNDS + 1):
            try:
                self._publish(self._path(key), data)
                return
            except (OSError, pa.ArrowException) as error:
                # another copy of this run may have removed the temporary file
                if not isinstance(error, FileNotFoundError) or turn == WRITE_ROUNDS:
                    raise write_failed(self.uri, key, _reason(error)) from None

    def exists(self, key: str) -> bool:
        """Tell whether there is a file of this key."""
        return self.stat(key) is not None

    def delete(self, key: str) -> None:
        """Remove a file; see `Store.delete`."""
        check_key(key)
        if not self.exists(key):
            return
        try:
            self._filesystem.delete_file(self._path(key))
        except FileNotFoundError:
            return
        except (OSError, pa.ArrowException) as error:
            raise self._user_error(error) from None

    def remove_temporaries(self) -> int:
        """Remove the temporary files of a file system; see `Store.remove_temporaries`."""
        if self._has_whole_objects:
            return 0
        removed = 0
        for key in walk(self._temporaries):
            try:
                self._filesystem.delete_file(self._path(key))
                removed += 1
            except FileNotFoundError:  # renamed by its writer
                continue
            except (OSError, pa.ArrowException) as error:
                raise self._user_error(error) from None
        return removed

    @property
    def _has_whole_objects(self) -> bool:
        """Tell whether an object appears when its stream is closed, without temporary files."""
        return self._filesystem.type_name in _BLOB_STORES

    @property
    def _filesystem(self) -> fs.FileSystem:
        return self.opened[0]

    @property
    def opened(self) -> tuple[fs.FileSystem, str]:
        """The file system and the path of the root there."""
        try:
            return _open(self.uri, os.getpid())
        except (OSError, pa.ArrowException) as error:
            raise self._user_error(error) from None

    def _path(self, key: str) -> str:
        return f"{self.opened[1]}/{key}" if self.opened[1] else key

    def _infos(self, folder: str) -> Iterator[fs.FileInfo]:
        path = self._path(folder).rstrip("/")
        try:
            yield from self._filesystem.get_file_info(fs.FileSelector(path, allow_not_found=True))
        except (OSError, pa.ArrowException) as error:
            raise self._user_error(error) from None

    def _temporaries(self, folder: str) -> Iterator[str]:
        """Yield the temporary files in a folder and the folders, with a slash, to look into."""
        for info in self._infos(folder):
            if info.type == fs.FileType.Directory:
                if not info.base_name.startswith("."):
                    yield info.base_name + "/"
            elif is_temporary(info.base_name):
                yield info.base_name

    @contextmanager
    def _reading(self, key: str) -> Iterator[pa.NativeFile]:
        """Open a file to read; what fails in the block is the fault of this file."""
        check_readable(key, check_path)
        try:
            with self._filesystem.open_input_file(self._path(key)) as file:
                yield file
        except FileNotFoundError:
            raise missing(key) from None
        except (OSError, pa.ArrowException) as error:
            if self.stat(key) is None:  # a folder, for one
                raise missing(key) from None
            raise unreadable(f"{key!r}: {_reason(error)}") from None

    def _publish(self, path: str, data: bytes) -> None:
        """Let a file appear whole; nothing of it stays if that fails."""
        if self._has_whole_objects:
            self._write_stream(path, data)
            return
        folder = path.rpartition("/")[0]
        temporary = f"{folder}/{temporary_name()}"
        try:
            self._filesystem.create_dir(folder, recursive=True)
            self._write_stream(temporary, data)
            self._filesystem.move(temporary, path)
        except BaseException:
            with suppress(OSError, pa.ArrowException):
                self._filesystem.delete_file(temporary)
            raise

    def _write_stream(self, path: str, data: bytes) -> None:
        with self._filesystem.open_output_stream(path) as stream:
            stream.write(data)

    def _user_error(self, error: Exception) -> UserError:
        return UserError(
            f"cannot use {self.uri}: {_reason(error)}; check the URI, the credentials and the"
            " network"
        )


@lru_cache(maxsize=16)
def _open(uri: str, process: int) -> tuple[fs.FileSystem, str]:
    """Return the file system of this process and the path in it."""
    if uri.startswith(("gs://", "gcs://")) and "retry_limit_seconds=" not in uri:
        # by default a machine without credentials keeps looking for them for 15 minutes
        uri += ("&" if "?" in uri else "?") + f"retry_limit_seconds={GCS_RETRY_SECONDS}"
    filesystem, path = fs.FileSystem.from_uri(uri)
    return filesystem, path.rstrip("/")


def _entry(key: str, info: fs.FileInfo) -> Entry:
    return Entry(key, info.size, mtime_etag(info.mtime_ns or 0, info.size))


def _reason(error: Exception) -> str:
    """Return the kind of the error and the first line of its text, without a query part."""
    first = (str(error).splitlines() or [""])[0]
    return f"{type(error).__name__}: {first.partition('?')[0][:200]}"
