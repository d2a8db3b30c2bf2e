"""From flags to a dataset."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from specray.datasets.base import Dataset
from specray.datasets.camvid import camvid
from specray.datasets.cityscapes import cityscapes
from specray.datasets.class_maps import own_maps
from specray.datasets.coco import coco, coco_json
from specray.datasets.coco_panoptic import coco_panoptic
from specray.datasets.coco_stuff import coco_stuff
from specray.datasets.cub import cub
from specray.datasets.davis import davis2016
from specray.datasets.instance_maps import instance_maps
from specray.datasets.label_spaces import LABEL_SPACES, LabelSpace, TruthSpace, numbered
from specray.datasets.masks import own_masks
from specray.datasets.potsdam import potsdam
from specray.datasets.saliency import dut_omron, duts, ecssd
from specray.datasets.videos import ovis, youtube_vis
from specray.datasets.voc_boxes import voc_detection, voc_xml
from specray.datasets.voc_segmentation import voc_segmentation

Layout = Literal[
    "camvid",
    "cityscapes",
    "coco",
    "coco-json",
    "coco-panoptic",
    "coco-stuff",
    "cub",
    "davis2016",
    "dut-omron",
    "duts",
    "ecssd",
    "instance-maps",
    "maps",
    "masks",
    "ovis",
    "potsdam",
    "voc-detection",
    "voc-segmentation",
    "voc-xml",
    "youtube-vis",
]
"""Names of `LAYOUTS`, as flags take them."""


@dataclass(frozen=True)
class Opener:
    """How a layout is opened.

    Parameters
    ----------
    open
        From the URI and the endpoint, and what else of `DatasetConfig` it has a use for.
    uses
        The fields it has a use for.
    splits
        All of its splits; empty if any name will do.
    """

    open: Callable[..., Dataset]
    uses: frozenset[str] = frozenset()
    splits: tuple[str, ...] = ()


_SPLIT: Final = frozenset({"split"})
_CUT: Final = frozenset({"split", "list"})

LAYOUTS: Final[Mapping[Layout, Opener]] = {
    "camvid": Opener(camvid, _SPLIT, ("train", "val", "test")),
    "cityscapes": Opener(cityscapes, _SPLIT, ("train", "val", "test")),
    "coco": Opener(coco, _CUT),
    "coco-json": Opener(coco_json, frozenset({"list"})),
    "coco-panoptic": Opener(coco_panoptic, _SPLIT),
    "coco-stuff": Opener(coco_stuff, _CUT),
    "cub": Opener(cub, _SPLIT, ("train", "test")),
    "davis2016": Opener(davis2016, _SPLIT),
    "dut-omron": Opener(dut_omron),
    "duts": Opener(duts, _SPLIT, ("te", "tr")),
    "ecssd": Opener(ecssd),
    "instance-maps": Opener(instance_maps),
    "maps": Opener(own_maps, frozenset({"truth_classes", "truth_space"})),
    "masks": Opener(own_masks),
    "ovis": Opener(ovis, _CUT),
    "potsdam": Opener(potsdam, _SPLIT, ("train", "test")),
    "voc-detection": Opener(voc_detection, _SPLIT),
    "voc-segmentation": Opener(voc_segmentation, _SPLIT),
    "voc-xml": Opener(voc_xml),
    "youtube-vis": Opener(youtube_vis, _CUT),
}


@dataclass(frozen=True)
class DatasetConfig:
    """Where the ground truth is, and how it is laid out.

    Parameters
    ----------
    truth
        Ground truth: the folder or URI of a labelled dataset as its publisher lays it out, or of
        one's own files; for `coco-json` that of the file itself.
    dataset
        Its layout. One's own, named by the image's key but for the suffix: `maps`, PNGs of class
        numbers (needs --truth-classes or --truth-space); `masks`, PNGs of the foreground;
        `instance-maps`, PNGs of a number per instance; `voc-xml`, boxes; `coco-json`, boxes and
        instances. The others are the published datasets of these names.
    split
        Which part of a published dataset; absent = what papers score on: `trainval` of
        voc-detection, `val` of voc-segmentation, cityscapes and davis2016, `val2017` of coco,
        coco-panoptic and coco-stuff, `test` of cub, camvid and potsdam, `te` of duts, `train` of
        youtube-vis and ovis.
    list
        Of coco, coco-json, coco-stuff, youtube-vis and ovis only the images that a text file or URI
        names, one a line, such as the list of COCO-20k; folders and suffixes do not count, but for
        the video of a frame. Absent = all, or the curated list of coco-stuff if it is there.
    truth_classes
        Classes are 0 to N - 1 in `maps`; pixels of other numbers do not count.
    truth_space
        Instead of --truth-classes: the classes that such methods are scored on, from the numbers in
        the files of `cityscapes` (labelIds, 27), `coco-stuff` (stuffthingmaps, 27), `potsdam` (3),
        or `isprs`, Potsdam and Vaihingen in the numbers of mmsegmentation.
    """

    truth: str | None = None
    dataset: Layout = "maps"
    split: str | None = None
    list: str | None = None
    truth_classes: int | None = None
    truth_space: TruthSpace | None = None

    def __post_init__(self) -> None:
        if self.dataset not in LAYOUTS:
            raise ValueError(f"--dataset must be one of {', '.join(LAYOUTS)}")
        for name in self._given:
            if self.truth is None:
                raise ValueError(f"--{name.replace('_', '-')} needs --truth")
            if name not in LAYOUTS[self.dataset].uses:
                flag = name.replace("_", "-")
                raise ValueError(f"--dataset {self.dataset} has no use for --{flag}")
        if self.truth is None:
            if self.dataset != "maps":
                raise ValueError("--dataset needs --truth")
            return
        self._check_split()
        self._check_classes()

    def open(self, endpoint: str | None = None) -> Dataset:
        """The dataset; files are read when it is asked for its images.

        Parameters
        ----------
        endpoint
            URL of an S3-compatible store for ``s3://`` URIs.

        Raises
        ------
        UserError
            --truth is no URI.
        """
        if self.truth is None:
            raise ValueError("there is no --truth to open")
        options: dict[str, Any] = {"split": self.split, "names": self.list, "space": self._space}
        given = {name: value for name, value in options.items() if value is not None}
        return LAYOUTS[self.dataset].open(self.truth, endpoint, **given)

    @property
    def _given(self) -> tuple[str, ...]:
        optional = ("split", "list", "truth_classes", "truth_space")
        return tuple(name for name in optional if getattr(self, name) is not None)

    @property
    def _space(self) -> LabelSpace | None:
        if self.truth_space is not None:
            return LABEL_SPACES[self.truth_space]
        return None if self.truth_classes is None else numbered(self.truth_classes)

    def _check_split(self) -> None:
        splits = LAYOUTS[self.dataset].splits
        if self.split is not None and splits and self.split not in splits:
            allowed = f"{', '.join(splits[:-1])} or {splits[-1]}"
            raise ValueError(f"--split of --dataset {self.dataset} is {allowed}, not {self.split}")

    def _check_classes(self) -> None:
        if self.dataset == "maps" and (self.truth_classes is None) == (self.truth_space is None):
            raise ValueError("--dataset maps needs either --truth-classes or --truth-space")
        if self.truth_classes is not None and not 2 <= self.truth_classes <= 255:
            raise ValueError(f"--truth-classes must be from 2 to 255, not {self.truth_classes}")
