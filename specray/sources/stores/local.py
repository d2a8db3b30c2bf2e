"""Folders of the local or a mounted file system."""

from __future__ import annotations

import os
import stat as stat_module
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from specray.errors import UserError
from specray.sources.stores.base import (
    Blob,
    Entry,
    check_key,
    check_readable_key,
    check_size,
    is_listed,
    md5_etag,
    missing,
    mtime_etag,
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
        check_key(key)
        return self._entry(key)

    def read(self, key: str) -> Blob:
        """Return the bytes of a file; see `Store.read`."""
        check_readable_key(key)
        try:
            entry = self._entry(key)
            if entry is None or entry.size is None:
                raise missing(key)
            check_size(key, entry.size)
            data = self._path(key).read_bytes()
        except FileNotFoundError:
            raise missing(key) from None
        except OSError as error:
            raise unreadable(f"{key!r}: {error.strerror}") from None
        return Blob(data, md5_etag(data))

    def write(self, key: str, data: bytes) -> None:
        """Write a file under a hidden name, flush it to disk, then rename; see `Store.write`."""
        check_key(key)
        path = self._path(key)
        temporary = path.parent / f".specray-{uuid.uuid4().hex}.tmp"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with temporary.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
            _sync_folder(path.parent)
        except OSError as error:
            raise write_failed(self.root, key, str(error.strerror)) from None
        finally:
            temporary.unlink(missing_ok=True)

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


def _sync_folder(folder: Path) -> None:
    """Make a rename survive a power failure."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
