"""Folders of the local or a mounted file system."""

from __future__ import annotations

import os
import stat as stat_module
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

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


@dataclass(frozen=True)
class LocalStore:
    """A folder; see `Store` for the methods.

    Symbolic links are followed, except a link to one of the folders above it, which would never
    end. A link that leads nowhere is listed without size: it becomes a ``missing`` row, not a
    silent gap. Memory of a listing grows with the largest single folder.

    Parameters
    ----------
    root
        Absolute path of the folder. It need not exist before the first `write`.
    """

    root: str

    @property
    def uri(self) -> str:
        """The absolute path."""
        return self.root

    def list(self, suffixes: tuple[str, ...] | None = None) -> Iterator[Entry]:
        """Yield the files in the UTF-8 byte order of their keys; see `Store.list`."""
        if Path(self.root).is_file():
            raise UserError(f"{self.root} is a file; give the folder that holds it")
        for key in walk(lambda folder: self._children(folder, suffixes)):
            yield self._entry(key) or Entry(key, None, None)

    def stat(self, key: str) -> Entry | None:
        """Look up a file; see `Store.stat`."""
        check_path(key)
        return self._entry(key)

    def read(self, key: str) -> Blob:
        """Return the bytes of a file; see `Store.read`."""
        with self._opened(key) as file:
            check_size(key, _length(file))
            data = file.read()
        return Blob(data, md5_etag(data))

    def tail(self, key: str, size: int) -> bytes:
        """Return the last bytes of a file; see `Store.tail`."""
        with self._opened(key) as file:
            file.seek(max(0, _length(file) - size))
            return file.read(size)

    def part(self, key: str, start: int, size: int) -> bytes:
        """Return some bytes of a file; see `Store.part`."""
        with self._opened(key) as file:
            file.seek(start)
            return file.read(size)

    def write(self, key: str, data: bytes) -> None:
        """Write a file under a hidden name, flush it to disk, then rename; see `Store.write`."""
        check_key(key)
        for turn in range(1, WRITE_ROUNDS + 1):
            try:
                _publish(self._path(key), data)
                return
            except OSError as error:
                # another copy of this run may have removed the temporary file
                if not isinstance(error, FileNotFoundError) or turn == WRITE_ROUNDS:
                    raise write_failed(self.root, key, str(error.strerror)) from None

    def exists(self, key: str) -> bool:
        """Tell whether there is a file of this key."""
        return self.stat(key) is not None

    def delete(self, key: str) -> None:
        """Remove a file; see `Store.delete`."""
        check_key(key)
        try:
            self._path(key).unlink(missing_ok=True)
        except OSError as error:
            raise UserError(
                f"cannot delete {key!r} from {self.root}: {error.strerror}; check permissions"
            ) from None

    def remove_temporaries(self) -> int:
        """Remove the temporary files below the root; see `Store.remove_temporaries`."""
        removed = 0
        for key in walk(self._temporaries):
            try:
                self._path(key).unlink()
                removed += 1
            except FileNotFoundError:  # renamed by its writer
                continue
            except OSError as error:
                raise self._cleaning_failed(error) from None
        return removed

    def _path(self, key: str) -> Path:
        return Path(self.root, key)

    def _entry(self, key: str) -> Entry | None:
        """Return size and time of a regular file, None for anything else."""
        try:
            status = self._path(key).stat()
        except OSError:
            return None
        if not stat_module.S_ISREG(status.st_mode):
            return None
        return Entry(key, status.st_size, mtime_etag(status.st_mtime_ns, status.st_size))

    def _children(self, folder: str, suffixes: tuple[str, ...] | None) -> Iterator[str]:
        """Yield the visible names in a folder; those of folders end in a slash."""
        try:
            with os.scandir(self._path(folder)) as found:
                for item in found:
                    if _is_folder(item):
                        if not item.name.startswith(".") and not self._is_loop(folder, item):
                            yield _valid(item.name, self.root) + "/"
                    elif is_listed(item.name, suffixes) and _is_file_or_dangling(item):
                        yield _valid(item.name, self.root)
        except (FileNotFoundError, NotADirectoryError):
            return  # the root does not exist (yet), or a folder went away while listing
        except OSError as error:
            raise UserError(
                f"cannot list {self._path(folder)}: {error.strerror}; make the folder readable"
            ) from None

    @contextmanager
    def _opened(self, key: str) -> Iterator[BinaryIO]:
        """Open a file to read; what fails in the block is the fault of this file."""
        check_readable(key, check_path)
        try:
            if self._entry(key) is None:
                raise missing(key)
            with self._path(key).open("rb") as file:
                yield file
        except FileNotFoundError:
            raise missing(key) from None
        except OSError as error:
            raise unreadable(f"{key!r}: {error.strerror}") from None

    def _temporaries(self, folder: str) -> Iterator[str]:
        """Yield the temporary files in a folder and the folders, with a slash, to look into."""
        try:
            with os.scandir(self._path(folder)) as found:
                for item in found:
                    if item.is_dir(follow_symlinks=False):
                        if not item.name.startswith("."):
                            yield item.name + "/"
                    elif is_temporary(item.name):
                        yield item.name
        except FileNotFoundError:
            return  # nothing was written yet
        except OSError as error:
            raise self._cleaning_failed(error) from None

    def _cleaning_failed(self, error: OSError) -> UserError:
        return UserError(
            f"cannot remove temporary files below {self.root}: {error.strerror}; correct the"
            " permissions"
        )

    def _is_loop(self, folder: str, item: os.DirEntry[str]) -> bool:
        """Tell whether a folder is a symbolic link to one of the folders that lead to it."""
        if not item.is_symlink():
            return False
        target = item.stat()
        parts = folder.split("/")[:-1]
        above = (Path(self.root, *parts[:depth]) for depth in range(len(parts) + 1))
        return any(os.path.samestat(target, path.stat()) for path in above)


def _valid(name: str, root: str) -> str:
    """Refuse a file name that no table can hold, before any work is done."""
    try:
        name.encode()
    except UnicodeEncodeError:
        raise UserError(f"the name {name!r} in {root} is not valid UTF-8; rename it") from None
    return name


def _is_folder(item: os.DirEntry[str]) -> bool:
    try:
        return item.is_dir()
    except OSError:  # for one, a link to itself
        return False


def _is_file_or_dangling(item: os.DirEntry[str]) -> bool:
    """Leave out sockets, pipes and devices."""
    return Path(item).is_file() or (item.is_symlink() and not Path(item).exists())


def _length(file: BinaryIO) -> int:
    return os.fstat(file.fileno()).st_size


def _publish(path: Path, data: bytes) -> None:
    """Let a file appear whole; nothing of it stays if that fails."""
    temporary = path.parent / temporary_name()
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with temporary.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        with suppress(OSError):  # gone after the rename; on a read-only disk it never was
            temporary.unlink()
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    """Make a rename survive a power failure."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
