"""List a tree of folders in the order in which an object store lists its keys."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator


def walk(children: Callable[[str], Iterable[str]]) -> Iterator[str]:
    """Yield the keys of all files of a tree in UTF-8 byte order, one folder at a time.

    The names of folders sort with their trailing slash, so that ``a.b`` comes before ``a/b``
    just as it does in a bucket. Python orders strings by code point, which is the order of
    their UTF-8 bytes.

    Parameters
    ----------
    children
        Maps a folder, ``""`` for the root or a key that ends in ``/``, to the names in it;
        the names of folders end in ``/``. It is called only when the walk gets there, so memory
        holds the names of the open folders and nothing else.
    """
    pending = [""]
    while pending:
        key = pending.pop()
        if key and not key.endswith("/"):
            yield key
        else:
            pending.extend(key + name for name in sorted(children(key), reverse=True))
