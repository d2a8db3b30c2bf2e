"""Classes of the ground truth of public datasets, as unsupervised segmentation is scored on them.

The numbers in the files of Cityscapes, COCO-Stuff and Potsdam to the 27, 27 and 3 classes that
IIC, PiCIE, STEGO and PriMaPs report.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

TruthSpace = Literal["cityscapes", "coco-stuff", "potsdam", "isprs"]
"""Names of `LABEL_SPACES`, as flags take them."""

IGNORED: Final = 255
"""Pixels that do not count."""


@dataclass(frozen=True)
class LabelSpace:
    """Named classes, and which number of a file stands for which."""

    names: tuple[str, ...]
    table: NDArray[np.uint8]
    """(256,) class of every number, or `IGNORED`."""

    def __call__(self, labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Classes of the pixels of a label file, in its shape.

        Examples
        --------
        >>> POTSDAM(np.array([[0, 4, 2, 7]], np.uint8)).tolist()
        [[0, 0, 2, 255]]
        """
        found: NDArray[np.uint8] = self.table[labels]
        return found


def _space(numbers: Mapping[str, Iterable[int]]) -> LabelSpace:
    table = np.full(256, IGNORED, np.uint8)
    for index, members in enumerate(numbers.values()):
        table[list(members)] = index
    table.flags.writeable = False
    return LabelSpace(tuple(numbers), table)


CITYSCAPES: Final = _space(
    {
        name: [7 + index]
        for index, name in enumerate(
            (
                *("road", "sidewalk", "parking", "rail track", "building", "wall", "fence"),
                *("guard rail", "bridge", "tunnel", "pole", "polegroup", "traffic light"),
                *("traffic sign", "vegetation", "terrain", "sky", "person", "rider", "car"),
                *("truck", "bus", "caravan", "trailer", "train", "motorcycle", "bicycle"),
            )
        )
    }
)
"""``labelIds`` from 7 to 33; -1, which such files hold as 255, and what is below 7 do not count."""

COCO_STUFF: Final = _space(
    {
        "electronic": range(71, 77),
        "appliance": range(77, 83),
        "food": range(51, 61),
        "furniture": range(61, 71),
        "indoor": range(83, 91),
        "kitchen": range(43, 51),
        "accessory": range(25, 33),
        "animal": range(15, 25),
        "outdoor": range(9, 15),
        "person": [0],
        "sports": range(33, 43),
        "vehicle": range(1, 9),
        "ceiling": [101, 102],
        "floor": [100, *range(113, 118)],
        "food stuff": [120, 121, 152, 169],
        "furniture stuff": [97, 106, 107, 109, 111, 122, 129, 132, 155, 160, 164],
        "raw material": [99, 131, 138, 142],
        "textile": [91, 92, 103, 104, 108, 130, 136, 140, 151, 166, 167],
        "wall": range(170, 177),
        "window": [179, 180],
        "building": [94, 95, 127, 150, 157, 165],
        "ground": [110, 124, 125, 135, 139, 143, 144, 146, 148, 153, 158],
        "plant": [93, 96, 118, 123, 128, 133, 141, 162, 168],
        "sky": [105, 156],
        "solid": [126, 134, 149, 159, 161, 181],
        "structural": [98, 112, 137, 145, 163],
        "water": [119, 147, 154, 177, 178],
    }
)
"""``stuffthingmaps`` from 0 to 181, things first."""

POTSDAM: Final = _space({"road": [0, 4], "building": [1, 5], "vegetation": [2, 3]})
"""Impervious surfaces and cars, buildings and clutter, low vegetation and trees."""

ISPRS: Final = _space({"road": [1, 5], "building": [2, 6], "vegetation": [3, 4]})
"""The classes of `POTSDAM` in the numbers of mmsegmentation's tiles of Potsdam and Vaihingen: one
more, and 0 for borders, which do not count."""


def numbered(classes: int) -> LabelSpace:
    """Classes 0 to `classes` - 1 as they are; other numbers do not count.

    Examples
    --------
    >>> numbered(2)(np.array([[0, 1, 2]], np.uint8)).tolist()
    [[0, 1, 255]]
    """
    return _space({str(number): [number] for number in range(classes)})


LABEL_SPACES: Final[Mapping[TruthSpace, LabelSpace]] = {
    "cityscapes": CITYSCAPES,
    "coco-stuff": COCO_STUFF,
    "potsdam": POTSDAM,
    "isprs": ISPRS,
}
"""By the name that flags have for them."""
