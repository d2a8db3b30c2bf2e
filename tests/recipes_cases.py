"""Datasets of a few real photographs, laid out as the publishers of large ones lay theirs out."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tests.datasets.writing import write_json, write_png, write_text

IGNORED = 255
_CAMVID_CLASSES = 11
_FRAMES = slice(None, None, 5)
"""Of CamVid: its neighbours look alike."""


def write_voc2007(data: Path, folder: Path, count: int = 6) -> Path:
    """Kangaroos."""
    found = sorted((data / "kangaroo/images").glob("*.jpg"))[:count]
    for image in found:
        _copy(image, folder / "JPEGImages" / image.name)
        annotation = data / "kangaroo/annotations" / f"{image.stem}.xml"
        _copy(annotation, folder / "Annotations" / annotation.name)
    write_text(folder / "ImageSets/Main/trainval.txt", *(image.stem for image in found))
    return folder


def write_ecssd(data: Path, folder: Path, count: int = 3) -> Path:
    """The first frames of videos of DAVIS."""
    videos = sorted((data / "davis2016_val/images").iterdir())[:count]
    for video in videos:
        image = min(video.iterdir())
        _copy(image, folder / "images" / f"{video.name}{image.suffix}")
        mask = data / "davis2016_val/masks" / video.name / f"{image.stem}.png"
        _copy(mask, folder / "ground_truth_mask" / f"{video.name}.png")
    return folder


def write_youtube_vis(data: Path, folder: Path, count: int = 4) -> Path:
    """Photographs of COCO, each a video of one frame; the list of frames is ``list.txt``.

    One more is annotated that the list leaves out.
    """
    tree = json.loads((data / "coco_tiny/annotations/instances_val2017.json").read_text())
    of_image = {
        image["id"]: [a for a in tree["annotations"] if a["image_id"] == image["id"]]
        for image in tree["images"]
    }
    images = [image for image in tree["images"] if len(of_image[image["id"]]) > 1][: count + 1]
    videos, annotations = [], []
    for image in images:
        name = f"{image['id']}/00000.jpg"
        _copy(data / "coco_tiny/val2017" / image["file_name"], folder / "train/JPEGImages" / name)
        size = {side: image[side] for side in ("height", "width")}
        videos.append({"id": image["id"], "file_names": [name], **size})
        for each in of_image[image["id"]]:
            track = {name: each[name] for name in ("id", "category_id", "iscrowd")}
            single = {"segmentations": "segmentation", "bboxes": "bbox", "areas": "area"}
            of_frames = {many: [each[one]] for many, one in single.items()}
            annotations.append({"video_id": image["id"], **track, **of_frames})
    write_json(folder / "train.json", {"videos": videos, "annotations": annotations})
    listed = [f"/home/user01/train/AnnTrue/{image['id']}/00000.png" for image in images[:count]]
    write_text(folder / "list.txt", *listed)
    return folder


def write_cityscapes(data: Path, folder: Path, train: int = 6, val: int = 3) -> Path:
    """Streets of CamVid; its classes have the numbers of others."""
    for split, count in (("train", train), ("val", val)):
        for image, labels in _streets(data, split, count):
            city = folder / f"leftImg8bit/{split}/cambridge"
            city.mkdir(parents=True, exist_ok=True)
            with Image.open(image) as photograph:
                photograph.save(city / f"{image.stem}_leftImg8bit.png")
            numbers = np.where(labels == IGNORED, 0, labels + 7)
            name = f"gtFine/{split}/cambridge/{image.stem}_gtFine_labelIds.png"
            write_png(folder / name, numbers)
    return folder


def write_voc2012(data: Path, folder: Path, count: int = 8) -> Path:
    """Streets of CamVid, of which every second is in ``val``."""
    streets = _streets(data, "train", count)
    for image, labels in streets:
        _copy(image, folder / "JPEGImages" / image.name)
        write_png(folder / f"SegmentationClass/{image.stem}.png", labels)
    names = [image.stem for image, _ in streets[::2]]
    write_text(folder / "ImageSets/Segmentation/val.txt", *names)
    return folder


def _streets(data: Path, split: str, count: int) -> list[tuple[Path, NDArray[np.uint8]]]:
    """Photographs and classes, those that do not count 255."""
    found = []
    for image in sorted((data / f"camvid/{split}/images").iterdir())[_FRAMES][:count]:
        with Image.open(data / f"camvid/{split}/labels/{image.stem}.png") as picture:
            labels = np.asarray(picture, np.uint8)
        found.append((image, np.where(labels < _CAMVID_CLASSES, labels, IGNORED).astype(np.uint8)))
    return found


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
