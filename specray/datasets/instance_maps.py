"""One's own maps of instances."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass
from typing import Final

import numpy as np

from specray.datasets.base import Kind, Truth
from specray.datasets.folder import Folder, open_folder
from specray.datasets.indexed import IndexedDataset
from specray.datasets.png import read_numbers
from specray.datasets.regions import boxes_of, instances

CROWD: Final = 255
"""In a file of 8 bits; one of 16 has no crowds."""


@dataclass(frozen=True)
class InstanceMaps:
    """Reads the maps of a folder by their names."""

    folder: Folder

    def __call__(self, name: str, wanted: Container[Kind]) -> Truth:
        """Instances, their boxes without crowds, and the mask of all together with crowds."""
        ids = read_numbers(self.folder, name)
        crowds = {CROWD} if ids.dtype == np.uint8 else set()
        found = instances(ids, crowds) if "instances" in wanted or "boxes" in wanted else ()
        return Truth(
            (ids.shape[0], ids.shape[1]),
            instances=found if "instances" in wanted else None,
            boxes=boxes_of(found) if "boxes" in wanted else None,
            mask=ids > 0 if "mask" in wanted else None,
        )


def instance_maps(uri: str, endpoint: str | None = None) -> IndexedDataset[str]:
    """PNGs of 8 or 16 bits, named by their images but for the suffix.

    0 is background, every other number an instance; 255 in a file of 8 bits is a crowd, many
    instances in one.

    Parameters
    ----------
    uri, endpoint
        Of the folder.
    """
    folder = open_folder(uri, endpoint)
    return IndexedDataset(
        frozenset({"instances", "boxes", "mask"}),
        lambda: ((name, name) for name in folder.names(".png")),
        InstanceMaps(folder),
    )
