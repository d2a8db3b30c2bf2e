"""What a labelled dataset says of its images, whatever its layout."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from specray.evaluation import TrueInstance
from specray.evaluation.boxes import Boxes

Kind = Literal["boxes", "mask", "classes", "instances", "panoptic"]
"""What there may be of an image: boxes of its objects, the mask of its foreground, the class of
every pixel, its instances, the segments of a panoptic map."""


def stem(key: str) -> str:
    """What a key of a dataset and one of a prediction have in common if they are one image.

    The path without the suffix: a label map does not know whether its photograph is a JPEG.

    Examples
    --------
    >>> stem("cows/00005.jpg") == stem("cows/00005.png") == "cows/00005"
    True
    """
    return str(PurePosixPath(key).with_suffix(""))


@dataclass(frozen=True)
class PanopticTruth:
    """A panoptic map: disjoint segments of things and of stuff."""

    ids: NDArray[np.int64]
    """(H, W) id of the segment of every pixel; 0 is void, which does not count."""
    categories: dict[int, int]
    """Place of the category among `Dataset.categories`, by the id of the segment."""
    crowds: frozenset[int]
    """Ids of the segments that are many things in one."""


@dataclass(frozen=True)
class Truth:
    """What is known of one image; None is what was not asked for."""

    size: tuple[int, int] | None = None
    """(H, W) of the image; None where the ground truth does not tell."""
    boxes: Boxes | None = None
    """(M, 4) [xmin, ymin, xmax, ymax] in pixels from 0, the maximum exclusive; without crowds."""
    mask: NDArray[np.bool_] | None = None
    """(H, W) foreground."""
    classes: NDArray[np.uint8] | None = None
    """(H, W) place among `Dataset.categories`; 255 does not count."""
    instances: tuple[TrueInstance, ...] | None = None
    panoptic: PanopticTruth | None = None


class Truths(Protocol):
    """The ground truth of some images of a dataset, read image by image.

    Pickles: it travels to the worker that scores these images, with no more than they need.
    """

    def of(self, key: str, wanted: Iterable[Kind]) -> Truth:
        """What the dataset knows of an image, no more than what is asked for.

        Parameters
        ----------
        key
            Of `Dataset.keys`, or with another suffix: keys of one `stem` are one image.
        wanted
            Some of `Dataset.kinds`.

        Raises
        ------
        UserError
            A file of the dataset is missing or damaged; names it. Or it does not know the image.
        """


class Dataset(Protocol):
    """Images with ground truth, in a layout of its own.

    Nothing but lists and annotation files is read before `Truths.of`.
    """

    @property
    def kinds(self) -> frozenset[Kind]:
        """What it knows of its images."""

    @property
    def images(self) -> str | None:
        """URI of the folder of the photographs, to which keys are relative; None: not known."""

    @property
    def categories(self) -> tuple[str, ...]:
        """Names of the classes of `Truth.classes` and of panoptic maps; empty without classes."""

    def keys(self) -> list[str]:
        """Every image that has ground truth, sorted; as specray has them, relative to `images`.

        Where the dataset does not know the suffix of its photographs, a key is the name of the
        file of ground truth. So images are looked up by their `stem`, of which no two are equal.

        Raises
        ------
        UserError
            A list, an annotation file or a folder is missing or damaged; names it.
        """

    def group(self, key: str) -> str | None:
        """The video or sequence of an image; None where images are independent."""

    def numbers(self) -> Mapping[int, str]:
        """Keys of the images by the ids that annotation files give them; empty without such."""

    def truths(self, keys: Sequence[str]) -> Truths:
        """The ground truth of some of its images; keys of which it knows nothing are left out.

        Raises
        ------
        UserError
            As `keys`.
        """
