"""Ground truth of images, for diagnosis alone: nothing is learnt from it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from specray.datasets import LABEL_SPACES, LabelSpace, TruthSpace, numbered, stem
from specray.datasets.folder import Folder
from specray.datasets.png import read_bytes_map
from specray.errors import UserError
from specray.masks import ImageGeometry, seen_labels
from specray.sources import Store, open_store


@dataclass(frozen=True)
class TruthConfig:
    """Where the ground truth is, and what its numbers mean.

    Parameters
    ----------
    truth
        Ground truth: a folder or URI with a PNG of class numbers for every image, named by the
        image's key with the suffix .png.
    truth_classes
        Classes are 0 to N - 1 in it; pixels of other numbers do not count.
    truth_space
        Instead of --truth-classes: the classes that such methods are scored on, from the numbers in
        the files of `cityscapes` (labelIds, 27), `coco-stuff` (stuffthingmaps, 27), `potsdam` (3),
        or `isprs`, Potsdam and Vaihingen in the numbers of mmsegmentation.
    """

    truth: str | None = None
    truth_classes: int | None = None
    truth_space: TruthSpace | None = None

    def __post_init__(self) -> None:
        if self.truth is None:
            for name in ("truth_classes", "truth_space"):
                if getattr(self, name) is not None:
                    raise ValueError(f"--{name.replace('_', '-')} needs --truth")
        elif (self.truth_classes is None) == (self.truth_space is None):
            raise ValueError("--truth needs either --truth-classes or --truth-space")
        if self.truth_classes is not None and not 2 <= self.truth_classes <= 255:
            raise ValueError(f"--truth-classes must be from 2 to 255, not {self.truth_classes}")

    @property
    def space(self) -> LabelSpace:
        """The classes."""
        if self.truth_space is not None:
            return LABEL_SPACES[self.truth_space]
        assert self.truth_classes is not None  # or there is no truth
        return numbered(self.truth_classes)

    def maps(self, endpoint: str | None) -> TruthMaps | None:
        """The label maps; None without ground truth."""
        if self.truth is None:
            return None
        return TruthMaps(open_store(self.truth, endpoint), self.space)


@dataclass(frozen=True)
class TruthMaps:
    """Label maps of images, each a PNG whose name is the key of its image but for the suffix.

    Parameters
    ----------
    store
        Where they are.
    space
        Classes of their numbers.
    """

    store: Store
    space: LabelSpace

    def __call__(self, key: str, geometry: ImageGeometry) -> NDArray[np.uint8]:
        """The true class of every pixel that the backbone sees.

        Parameters
        ----------
        key, geometry
            Of the image.

        Returns
        -------
        (grid_h * patch, grid_w * patch) uint8; 255 where it does not count.

        Raises
        ------
        UserError
            There is no such file, it is no map of single numbers, or of another size.
        """
        name = f"{stem(key)}.png"
        labels = read_bytes_map(Folder(self.store, None), name)
        if labels.shape != (geometry.height, geometry.width):
            raise UserError(
                f"--truth: {name} has {labels.shape[1]} x {labels.shape[0]} pixels, its image "
                f"{geometry.width} x {geometry.height}"
            )
        return self.space(seen_labels(labels, geometry))
