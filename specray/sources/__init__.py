"""Object stores, the manifest of a run, and safe decoding of images."""

from specray.sources.decode import DecodedImage, decode, image_size, resized_size
from specray.sources.manifest import (
    IMAGE_SUFFIXES,
    MANIFEST,
    list_images,
    list_keys,
    write_manifest,
)
from specray.sources.stores import (
    ArrowStore,
    Blob,
    Entry,
    LocalStore,
    S3Store,
    Store,
    check_key,
    open_parent,
    open_store,
)

__all__ = [
    "IMAGE_SUFFIXES",
    "MANIFEST",
    "ArrowStore",
    "Blob",
    "DecodedImage",
    "Entry",
    "LocalStore",
    "S3Store",
    "Store",
    "check_key",
    "decode",
    "image_size",
    "list_images",
    "list_keys",
    "open_parent",
    "open_store",
    "resized_size",
    "write_manifest",
]
