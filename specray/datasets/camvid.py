"""CamVid in the eleven classes of SegNet."""

from __future__ import annotations

from typing import Final

from specray.datasets.class_maps import ClassMaps, class_maps
from specray.datasets.folder import open_folder
from specray.datasets.indexed import IndexedDataset
from specray.datasets.label_spaces import LabelSpace, numbered

NAMES: Final = (
    *("Sky", "Building", "Pole", "Road", "Pavement", "Tree", "SignSymbol", "Fence", "Car"),
    *("Pedestrian", "Bicyclist"),
)
SPACE: Final = LabelSpace(NAMES, numbered(len(NAMES)).table)
"""0 to 10; 11 is unlabelled and does not count."""


def camvid(uri: str, endpoint: str | None = None, split: str = "test") -> IndexedDataset[str]:
    """Images ``SPLIT/X.png``, labels ``SPLITannot/X.png``: the layout of SegNet's tutorial.

    Parameters
    ----------
    uri, endpoint
        Of the folder that holds them.
    split
        ``train``, ``val`` or ``test``.

    References
    ----------
    G. J. Brostow, J. Fauqueur, R. Cipolla, Semantic object classes in video, 2009.
    V. Badrinarayanan, A. Kendall, R. Cipolla, SegNet, TPAMI 2017.
    """
    root = open_folder(uri, endpoint)
    maps = root.at(f"{split}annot")
    return class_maps(
        ClassMaps(maps, SPACE),
        lambda: ((name, name) for name in maps.names(".png")),
        root.at(split).uri,
    )
