"""Labelled sets as the sweep takes them: names, keys, groups, and where the photographs are."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from specray.datasets.base import Dataset, Kind, stem
from specray.errors import UserError
from specray.sources import IMAGE_SUFFIXES, Store, list_images, open_store

_WANTED: Final[tuple[Kind, ...]] = ("boxes", "mask")


@dataclass(frozen=True)
class LabelledSet:
    """Images with boxes, masks or both."""

    name: str
    store: Store
    """Of the photographs."""
    dataset: Dataset
    keys: list[str]
    """(N,) of photographs with ground truth."""
    units: list[str]
    """(N,) what each is a draw of: its video, or itself where images are independent."""

    @property
    def wanted(self) -> frozenset[Kind]:
        """What is asked of the ground truth."""
        return self.dataset.kinds & frozenset(_WANTED)

    @property
    def digest(self) -> str:
        """Of the keys: what a finished sweep was made of."""
        return hashlib.sha256("\0".join(self.keys).encode("utf-8", "surrogatepass")).hexdigest()


def labelled_set(
    name: str, dataset: Dataset, images: str | None, limit: int | None, endpoint: str | None
) -> LabelledSet:
    """Open a set.

    Parameters
    ----------
    name
        For tables.
    dataset
        Its ground truth.
    images
        URI of its photographs; None: where the dataset has them.
    limit
        Only the first N images.
    endpoint
        Of an S3-compatible store.

    Raises
    ------
    UserError
        Nothing says where the photographs are, there are none, or neither boxes nor masks.
    """
    place = images or dataset.images
    if place is None:
        raise UserError(f"{name}: its layout does not say where the photographs are; use --input")
    if dataset.kinds.isdisjoint(_WANTED):
        raise UserError(f"{name} has neither boxes nor masks to score objects by")
    found = dataset.keys()[:limit]
    if not found:
        raise UserError(f"{name} has no images with ground truth")
    store = open_store(place, endpoint)
    units = [dataset.group(key) or key for key in found]
    return LabelledSet(name, store, dataset, _photographs(store, found), units)


def check_apart(sets: Sequence[LabelledSet], held_out: Sequence[LabelledSet]) -> None:
    """Refuse held-out images that have a part in the choice.

    Raises
    ------
    UserError
        There are some; names one.
    """
    known = {(each.store.uri, key) for each in sets for key in each.keys}
    for each in held_out:
        shared = [key for key in each.keys if (each.store.uri, key) in known]
        if shared:
            raise UserError(
                f"{each.name}: {len(shared)} held-out images are among those of --truth, such as "
                f"{shared[0]}; leave them out of one"
            )


def _photographs(store: Store, keys: Sequence[str]) -> list[str]:
    """Keys of photographs by those of the ground truth, which may have other suffixes.

    One that is not there keeps its key: it becomes an error of the pass.
    """
    there: dict[str, str] = {}
    known = set()
    for entry in list_images(store, IMAGE_SUFFIXES):
        there.setdefault(stem(entry.key), entry.key)
        known.add(entry.key)
    return [key if key in known else there.get(stem(key), key) for key in keys]


def named(uris: Sequence[str], splits: Sequence[str | None]) -> list[str]:
    """Short names of sets, all different: the last two parts of their URIs, and the split.

    Examples
    --------
    >>> named(["data/davis/masks", "data/coco", "data/coco/"], [None, "train", "val"])
    ['davis/masks', 'data/coco train', 'data/coco val']
    """
    found: list[str] = []
    for uri, split in zip(uris, splits, strict=True):
        parts = [part for part in uri.split("/") if part and not part.endswith(":")]
        name = " ".join(filter(None, ["/".join(parts[-2:]), split]))
        found.append(name if name not in found else f"{name} ({len(found) + 1})")
    return found
