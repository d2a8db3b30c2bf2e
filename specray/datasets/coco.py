"""COCO: boxes and instances out of one JSON file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from operator import attrgetter
from typing import Any, Final

from specray.datasets.annotations import USED, Annotated, Annotations, checked_size
from specray.datasets.base import Kind
from specray.datasets.folder import Folder, listed, open_folder, tail
from specray.datasets.indexed import IndexedDataset
from specray.errors import UserError
from specray.sources import open_parent

_KINDS: Final[frozenset[Kind]] = frozenset({"boxes", "instances"})


def coco(
    uri: str, endpoint: str | None = None, split: str = "val2017", names: str | None = None
) -> IndexedDataset[Annotated]:
    """Images ``SPLIT/X.jpg``, annotations ``annotations/instances_SPLIT.json``.

    Images without annotations count too: what is found in them is wrong.

    Parameters
    ----------
    uri, endpoint
        Of the folder that holds ``annotations`` and the folders of images.
    split
        ``train2017``, ``val2017``, ``train2014``, ...
    names
        URI of a list of images to which the dataset is cut, such as COCO-20k's; what counts is the
        name without folders and suffix.

    References
    ----------
    T.-Y. Lin et al., Microsoft COCO: common objects in context, ECCV 2014.
    H. V. Vo, P. Pérez, J. Ponce, Toward unsupervised, multi-object discovery in large-scale image
    collections, ECCV 2020, for COCO-20k.
    """
    root = open_folder(uri, endpoint)
    name = f"instances_{split}.json"
    return _annotated(root.at("annotations"), name, root.at(split).uri, names)


def coco_json(
    uri: str, endpoint: str | None = None, names: str | None = None
) -> IndexedDataset[Annotated]:
    """One's own annotations in the format of COCO; keys are their ``file_name``.

    Parameters
    ----------
    uri, endpoint
        Of the JSON file.
    names
        As of `coco`.
    """
    store, name = open_parent(uri, endpoint)
    return _annotated(Folder(store, endpoint), name, None, names)


def cut_to(
    images: Mapping[str, Annotated], names: str | None, endpoint: str | None, parts: int
) -> Iterator[tuple[str, Annotated]]:
    """The images that a list names, or all.

    Parameters
    ----------
    images
        By key.
    names, endpoint
        URI of the list, or None.
    parts
        How much of a path counts, as for `listed`.

    Raises
    ------
    UserError
        The list names an image that is not there: scores would be those of another set.
    """
    wanted = None if names is None else listed(names, endpoint, parts)
    kept = {k: v for k, v in images.items() if wanted is None or tail(k, parts) in wanted}
    if wanted is not None and (unknown := wanted - {tail(key, parts) for key in kept}):
        raise UserError(
            f"--list: {len(unknown)} of {len(wanted)} images of {names} are not in --truth, such "
            f"as {min(unknown)}; check --split"
        )
    yield from kept.items()


def _annotated(
    folder: Folder, name: str, images: str | None, names: str | None
) -> IndexedDataset[Annotated]:
    def index() -> Iterator[tuple[str, Annotated]]:
        tree = folder.json(name)
        with folder.damaged(name, "file of COCO annotations"):
            found = _images(tree)
        return cut_to(found, names, folder.endpoint, 1)

    annotations = Annotations(folder, name)
    return IndexedDataset(_KINDS, index, annotations, images, number_of=attrgetter("number"))


def _images(tree: Mapping[str, Any]) -> dict[str, Annotated]:
    """What a file says of its images, by their names."""
    of_image: dict[Any, list[dict[str, Any]]] = {image["id"]: [] for image in tree["images"]}
    for annotation in tree["annotations"]:
        kept = {name: annotation[name] for name in USED if name in annotation}
        of_image[annotation["image_id"]].append(kept)
    found: dict[str, Annotated] = {}
    for image in tree["images"]:
        if (name := image["file_name"]) in found:
            raise ValueError(f"two images are called {name!r}")
        size = checked_size(image["height"], image["width"])
        number = image["id"] if isinstance(image["id"], int) else None
        found[name] = Annotated(size, tuple(of_image[image["id"]]), number)
    return found
