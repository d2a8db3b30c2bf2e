"""YouTube-VIS and OVIS: the instances of every frame of a video."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from specray.datasets.annotations import Annotated, Annotations, checked_size
from specray.datasets.base import Kind
from specray.datasets.coco import cut_to
from specray.datasets.folder import Folder, open_folder
from specray.datasets.indexed import IndexedDataset
from specray.errors import UserError

_KINDS: Final[frozenset[Kind]] = frozenset({"instances", "boxes", "mask"})
_FILES: Final = (
    "{}.json",
    "{}/instances.json",
    "annotations_{}.json",
    "instances_{}_sub.json",
    "annotations/instances_{}_sub.json",
)
"""Where the publishers and those who unpack them keep the annotations of a split."""


def youtube_vis(
    uri: str, endpoint: str | None = None, split: str = "train", names: str | None = None
) -> IndexedDataset[Annotated]:
    """YouTube-VIS: images ``SPLIT/JPEGImages/VIDEO/FRAME.jpg``, annotations ``SPLIT.json``.

    Frames are images of their own, their video is their group. The file may also be
    ``SPLIT/instances.json``, ``annotations_SPLIT.json`` or ``instances_SPLIT_sub.json``.

    Parameters
    ----------
    uri, endpoint
        Of the folder that holds the splits.
    split
        ``train``; the annotations of ``valid`` are withheld.
    names
        URI of a list of frames to which the dataset is cut, such as that of SpecUnIIS; what counts
        is VIDEO/FRAME, without the folders before it and the suffix.

    References
    ----------
    L. Yang, Y. Fan, N. Xu, Video instance segmentation, ICCV 2019.
    """
    root = open_folder(uri, endpoint)
    return _videos(root, split, "{}.json", root.at(f"{split}/JPEGImages").uri, names)


def ovis(
    uri: str, endpoint: str | None = None, split: str = "train", names: str | None = None
) -> IndexedDataset[Annotated]:
    """OVIS: images ``SPLIT/VIDEO/FRAME.jpg``, annotations ``annotations_SPLIT.json``.

    Parameters
    ----------
    uri, endpoint, split, names
        As of `youtube_vis`.

    References
    ----------
    J. Qi et al., Occluded video instance segmentation: a benchmark, IJCV 2022.
    """
    root = open_folder(uri, endpoint)
    return _videos(root, split, "annotations_{}.json", root.at(split).uri, names)


def _videos(
    root: Folder, split: str, usual: str, images: str, names: str | None
) -> IndexedDataset[Annotated]:
    files = [file.format(split) for file in (usual, *_FILES)]
    name = next((file for file in files if root.store.exists(file)), files[0])

    def index() -> Iterator[tuple[str, Annotated]]:
        tree = root.json(name)
        if not tree.get("annotations"):
            raise UserError(
                f"--truth: {name} in {root.uri} has no annotations; publishers withhold those of "
                "validation and test, so try --split train"
            )
        with root.damaged(name, "file of annotated videos"):
            frames = _frames(tree)
        return cut_to(frames, names, root.endpoint, 2)

    return IndexedDataset(_KINDS, index, Annotations(root, name), images, grouped=True)


def _frames(tree: Mapping[str, Any]) -> dict[str, Annotated]:
    """What a file says of its frames, by their names."""
    videos = {video["id"]: video for video in tree["videos"]}
    of_video: dict[Any, list[list[dict[str, Any]]]] = {
        number: [[] for _ in video["file_names"]] for number, video in videos.items()
    }
    for annotation in tree["annotations"]:
        frames = of_video[annotation["video_id"]]
        for frame, found in zip(frames, _of_frames(annotation), strict=True):
            if found["segmentation"] is not None:  # it is not in this frame
                frame.append(found)
    return {
        name: Annotated(checked_size(video["height"], video["width"]), tuple(found))
        for number, video in videos.items()
        for name, found in zip(video["file_names"], of_video[number], strict=True)
    }


def _of_frames(track: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The annotation of every frame of an object."""
    crowd = track.get("iscrowd", 0)
    for masks, box, area in zip(
        track["segmentations"], track["bboxes"], track["areas"], strict=True
    ):
        yield {"segmentation": masks, "bbox": box, "area": area, "iscrowd": crowd}
