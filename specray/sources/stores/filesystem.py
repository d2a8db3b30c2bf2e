"""Stores as Arrow file systems, for libraries that write by themselves."""

from __future__ import annotations

from urllib.parse import urlsplit

from pyarrow import fs

from specray.sources.stores.arrow import ArrowStore
from specray.sources.stores.base import Store
from specray.sources.stores.local import LocalStore
from specray.sources.stores.s3 import S3Store


def filesystem_of(store: Store) -> tuple[fs.FileSystem, str]:
    """The file system of a store and the path of its root there.

    What such a library writes has none of the promises of `Store`. Credentials come from the
    environment in whichever process uses it; they do not travel with it.

    Raises
    ------
    TypeError
        The store is of a kind that is not known here.
    """
    if isinstance(store, LocalStore):
        return fs.LocalFileSystem(), store.root
    if isinstance(store, ArrowStore):
        return store.opened
    if not isinstance(store, S3Store):
        raise TypeError(f"no file system for a {type(store).__name__}")
    options = {}
    if store.endpoint is not None:
        parts = urlsplit(store.endpoint)
        options = {"scheme": parts.scheme, "endpoint_override": parts.netloc}
    return fs.S3FileSystem(**options), f"{store.bucket}/{store.prefix}".rstrip("/")
