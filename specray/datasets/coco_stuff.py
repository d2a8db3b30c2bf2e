"""COCO-Stuff: things and stuff, 27 classes."""

from __future__ import annotations

from collections.abc import Iterator

from specray.datasets.class_maps import ClassMaps, class_maps
from specray.datasets.folder import listed, open_folder, tail
from specray.datasets.indexed import IndexedDataset
from specray.datasets.label_spaces import COCO_STUFF


def coco_stuff(
    uri: str, endpoint: str | None = None, split: str = "val2017", names: str | None = None
) -> IndexedDataset[str]:
    """Images ``images/SPLIT/X.jpg``, and ``annotations/SPLIT/X.png`` of the stuffthingmaps.

    Parameters
    ----------
    uri, endpoint
        Of the folder that holds ``images`` and ``annotations``.
    split
        ``train2017`` or ``val2017``.
    names
        URI of a list of images; None: the curated list that STEGO and its successors score on,
        ``curated/SPLIT/Coco164kFull_Stuff_Coarse_7.txt``, if it is there, otherwise all.

    References
    ----------
    H. Caesar et al., COCO-Stuff: thing and stuff classes in context, CVPR 2018. The curated images
    are those of X. Ji et al., Invariant information clustering, ICCV 2019.
    """
    root = open_folder(uri, endpoint)
    maps = root.at(f"annotations/{split}")
    curated = f"curated/{split}/Coco164kFull_Stuff_Coarse_7.txt"

    def stems() -> Iterator[str]:
        if names is not None:
            yield from listed(names, endpoint)
        elif root.store.exists(curated):
            yield from root.lines(curated)
        else:
            yield from (tail(name, 1) for name in maps.names(".png"))

    def index() -> Iterator[tuple[str, str]]:
        return ((f"{stem}.jpg", f"{stem}.png") for stem in stems())

    return class_maps(ClassMaps(maps, COCO_STUFF), index, root.at(f"images/{split}").uri)
