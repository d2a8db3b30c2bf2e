"""Cityscapes: fine annotations, 27 classes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from specray.datasets.class_maps import ClassMaps, class_maps
from specray.datasets.folder import open_folder
from specray.datasets.indexed import IndexedDataset
from specray.datasets.label_spaces import CITYSCAPES

_LABELS: Final = "_gtFine_labelIds.png"


def cityscapes(uri: str, endpoint: str | None = None, split: str = "val") -> IndexedDataset[str]:
    """Images ``leftImg8bit/SPLIT/CITY/X_leftImg8bit.png``, labels in ``gtFine``.

    Keys begin with the city. The classes are those of `CITYSCAPES`, not the 19 of the benchmark.

    Parameters
    ----------
    uri, endpoint
        Of the folder that holds ``leftImg8bit`` and ``gtFine``.
    split
        ``train`` or ``val``; the labels of ``test`` are withheld, all its pixels void.

    References
    ----------
    M. Cordts et al., The Cityscapes dataset for semantic urban scene understanding, CVPR 2016.
    """
    root = open_folder(uri, endpoint)
    labels = root.at(f"gtFine/{split}")

    def index() -> Iterator[tuple[str, str]]:
        for name in labels.names(_LABELS):
            yield f"{name[: -len(_LABELS)]}_leftImg8bit.png", name

    return class_maps(ClassMaps(labels, CITYSCAPES), index, root.at(f"leftImg8bit/{split}").uri)
