"""Object stores behind one small protocol: folders, S3, and what Arrow reaches."""

from specray.sources.stores.arrow import ArrowStore
from specray.sources.stores.base import Blob, Entry, Store, check_key
from specray.sources.stores.filesystem import filesystem_of
from specray.sources.stores.local import LocalStore
from specray.sources.stores.opening import absolute, open_parent, open_store
from specray.sources.stores.s3 import S3Store

__all__ = [
    "ArrowStore",
    "Blob",
    "Entry",
    "LocalStore",
    "S3Store",
    "Store",
    "absolute",
    "check_key",
    "filesystem_of",
    "open_parent",
    "open_store",
]
