"""COCO's panoptic format: a PNG of ids for every image, and a JSON file on its segments."""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from specray.datasets.base import Kind, PanopticTruth, Truth
from specray.datasets.folder import Folder, open_folder
from specray.datasets.indexed import IndexedDataset, IndexedTruths
from specray.datasets.label_spaces import IGNORED
from specray.datasets.png import read_colours

_KIND: Final = "file of panoptic annotations"


@dataclass(frozen=True)
class Segments:
    """What the JSON file says of an image."""

    png: str
    categories: dict[int, int]
    """Place of the category, by the id of the segment."""
    crowds: frozenset[int]


@dataclass(frozen=True)
class PanopticMaps:
    """Reads the PNGs of a folder."""

    folder: Folder

    def __call__(self, segments: Segments, wanted: Container[Kind]) -> Truth:
        """The segments of an image, and the category of every pixel, crowds included."""
        if "panoptic" not in wanted and "classes" not in wanted:
            return Truth()
        colours = read_colours(self.folder, segments.png).astype(np.int64)
        ids: NDArray[np.int64] = colours @ np.array([1, 256, 256**2])
        numbers, of_pixel = np.unique(ids, return_inverse=True)
        with self.folder.damaged(segments.png, "map of the segments in its JSON file"):
            places = [segments.categories[n] if n else IGNORED for n in numbers.tolist()]
        classes = panoptic = None
        if "panoptic" in wanted:
            panoptic = PanopticTruth(ids, segments.categories, segments.crowds)
        if "classes" in wanted:
            classes = np.array(places, np.uint8)[of_pixel.reshape(ids.shape)]
        return Truth(classes=classes, panoptic=panoptic)


@dataclass(frozen=True)
class CocoPanoptic:
    """Images ``SPLIT/X.jpg``, ``annotations/panoptic_SPLIT.json`` and ``.../panoptic_SPLIT/X.png``.

    See `Dataset`. Its JSON file is read when its kinds, categories or images are first asked for.

    Parameters
    ----------
    root
        Folder that holds ``annotations`` and the folders of images.
    split
        ``train2017`` or ``val2017``.
    """

    root: Folder
    split: str

    @property
    def kinds(self) -> frozenset[Kind]:
        """Panoptic maps, and classes where numbers of 8 bits are enough for them."""
        if len(self.categories) < IGNORED:
            return frozenset({"panoptic", "classes"})
        return frozenset({"panoptic"})

    @property
    def images(self) -> str:
        """The folder of the split."""
        return self.root.at(self.split).uri

    @cached_property
    def categories(self) -> tuple[str, ...]:
        """In the order of the JSON file."""
        with self._damaged():
            return tuple(str(each["name"]) for each in self._tree["categories"])

    def keys(self) -> list[str]:
        """See `Dataset.keys`."""
        return self._indexed.keys()

    def group(self, key: str) -> str | None:
        """None: images are independent."""
        return None

    def numbers(self) -> dict[int, str]:
        """None: such predictions name their images."""
        return {}

    def truths(self, keys: Sequence[str]) -> IndexedTruths[Segments]:
        """See `Dataset.truths`."""
        return self._indexed.truths(keys)

    @cached_property
    def _tree(self) -> dict[str, Any]:
        return self.root.json(self._name)

    @cached_property
    def _indexed(self) -> IndexedDataset[Segments]:
        folder = self.root.at(f"annotations/panoptic_{self.split}")
        return IndexedDataset(self.kinds, self._index, PanopticMaps(folder), self.images)

    def _index(self) -> Iterator[tuple[str, Segments]]:
        with self._damaged():
            place = {each["id"]: i for i, each in enumerate(self._tree["categories"])}
            names = {each["id"]: each["file_name"] for each in self._tree["images"]}
            found = [
                (names[each["image_id"]], _segments(each, place))
                for each in self._tree["annotations"]
            ]
        return iter(found)

    @property
    def _name(self) -> str:
        return f"annotations/panoptic_{self.split}.json"

    def _damaged(self) -> Any:
        return self.root.damaged(self._name, _KIND)


def coco_panoptic(uri: str, endpoint: str | None = None, split: str = "val2017") -> CocoPanoptic:
    """COCO's panoptic annotations; see `CocoPanoptic`.

    Parameters
    ----------
    uri, endpoint
        Of the folder that holds ``annotations`` and the folders of images.
    split
        ``train2017`` or ``val2017``.

    References
    ----------
    A. Kirillov et al., Panoptic segmentation, CVPR 2019.
    """
    return CocoPanoptic(open_folder(uri, endpoint), split)


def _segments(annotation: dict[str, Any], place: dict[int, int]) -> Segments:
    infos = annotation["segments_info"]
    return Segments(
        annotation["file_name"],
        {info["id"]: place[info["category_id"]] for info in infos},
        frozenset(info["id"] for info in infos if info.get("iscrowd", 0)),
    )
