"""The semantic maps of a label or predict run, as labels to train on."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pycocotools import mask as coco_mask

from specray.pipelines.derived import SegmentRun, finished_run
from specray.sources import Store, open_store
from specray.tables.classes import known_classes
from specray.tables.groups import ShardGroups
from specray.tables.rows import Row

COLUMNS: Final = (
    *("key", "width", "height"),
    *(f"segments.list.element.{name}" for name in ("index", "score", "rle")),
)
"""Of a label table; one of predictions may have ``confidence`` besides."""
UNLABELLED: Final = 255


@dataclass(frozen=True)
class LabelRun:
    """A finished label or predict run."""

    run: SegmentRun
    images: Store
    """Where its photographs are."""
    ids: tuple[int, ...]
    """(K,) of its classes, rising."""
    names: Mapping[int, str]
    """Of those that have one."""

    @property
    def endpoint(self) -> str | None:
        """Of the stores that it was made with."""
        made = self.run.configuration
        found: str | None = made["run"]["endpoint"] if "run" in made else made["endpoint"]
        return found

    @property
    def has_confidence(self) -> bool:
        """Whether it has stored the confidence of every pixel."""
        return bool(self.run.configuration.get("confidence", False))

    def pixels(self) -> NDArray[np.int64]:
        """(K,) pixels of every class, in the original images."""
        found = np.zeros(len(self.ids), np.int64)
        places = {number: place for place, number in enumerate(self.ids)}
        columns = [f"segments.list.element.{name}" for name in ("index", "area")]
        for shard in self.run.shards:
            groups = ShardGroups(self.run.store, shard.name)
            for group in range(len(groups.rows)):
                for segments in groups.read(group, columns)["segments"].to_pylist():
                    for segment in segments or ():
                        found[places[segment["index"]]] += segment["area"]
        return found


def label_run(uri: str, images: str | None, endpoint: str | None) -> LabelRun:
    """The run of an output.

    Parameters
    ----------
    uri
        The output of a label or predict job.
    images
        Where the photographs are now; None: where the run read them.
    endpoint
        Of the stores; None: that of the run.

    Raises
    ------
    UserError
        There is no such run, or it has not finished.
    """
    run = finished_run(open_store(uri, endpoint), "label", "predict")
    classes = known_classes(run.record)
    ids = tuple(sorted(each["id"] for each in classes))
    names = {each["id"]: each["name"] for each in classes if each["name"]}
    return LabelRun(run, _images(run, images, endpoint), ids, names)


def _images(run: SegmentRun, given: str | None, endpoint: str | None) -> Store:
    made = run.configuration
    if run.record["job"] == "predict":
        return open_store(given or made["input"], endpoint or made["run"]["endpoint"])
    endpoint = endpoint or made["endpoint"]
    if given is None and made["images"] is None:
        segmented = finished_run(open_store(run.record["segments"], endpoint)).configuration
        return open_store(segmented["input"], endpoint or segmented["run"]["endpoint"])
    return open_store(given or made["images"], endpoint)


def label_map(
    row: Row, ids: Sequence[int], *, confidence: bool
) -> tuple[NDArray[np.uint8], NDArray[np.float32] | None]:
    """Labels of the pixels of an image.

    Parameters
    ----------
    row
        Of a label table.
    ids
        Of the classes.
    confidence
        Whether it is wanted, too: that of every pixel where it was stored, else that of its class
        in the image.

    Returns
    -------
    labels
        (H, W) place of the class among the ids; `UNLABELLED` where there is none.
    confidence
        (H, W) in [0, 1].
    """
    size = (row["height"], row["width"])
    labels = np.full(size, UNLABELLED, np.uint8)
    sure = np.zeros(size, np.float32) if confidence else None
    places = {number: place for place, number in enumerate(ids)}
    for segment in row["segments"]:
        inside = coco_mask.decode(segment["rle"]).astype(bool)
        labels[inside] = places[segment["index"]]
        if sure is not None:
            sure[inside] = segment["score"]
    if sure is not None and row.get("confidence") is not None:
        with Image.open(io.BytesIO(row["confidence"]), formats=["PNG"]) as picture:
            # it covers the image as the backbone saw it
            stretched = picture.resize(size[::-1], Image.Resampling.NEAREST)
            sure = np.asarray(stretched).astype(np.float32) / np.float32(255)
    return labels, sure
