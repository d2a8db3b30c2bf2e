"""Object stores, the manifest of a run, and safe decoding of images."""

from specray.sources.changes import Change, compare
from specray.sources.cutting import cut
from specray.sources.decode import DecodedImage, decode, image_size, resized_size
from specray.sources.manifest import (
    IMAGE_SUFFIXES,
    MANIFEST,
    entries_of,
    list_images,
    list_keys,
    list_parts,
    open_part,
    read_manifest,
    write_manifest,
)
from specray.sources.stores import (
    ArrowStore,
    Blob,
    Entry,
    LocalStore,
    S3Store,
    Store,
    absolute,
    check_key,
    filesystem_of,
    open_parent,
    open_store,
)

__all__ = [
    "IMAGE_SUFFIXES",
    "MANIFEST",
    "ArrowStore",
    "Blob",
    "Change",
    "DecodedImage",
    "Entry",
    "LocalStore",
    "S3Store",
    "Store",
    "absolute",
    "check_key",
    "compare",
    "cut",
    "decode",
    "entries_of",
    "filesystem_of",
    "image_size",
    "list_images",
    "list_keys",
    "list_parts",
    "open_parent",
    "open_part",
    "open_store",
    "read_manifest",
    "resized_size",
    "write_manifest",
]
