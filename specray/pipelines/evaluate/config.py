"""The configuration of the evaluate job."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from specray.checks import at_least
from specray.datasets.opening import DatasetConfig
from specray.pipelines.evaluate.published import parse_published
from specray.pipelines.evaluate.tasks import TaskName
from specray.pipelines.evaluate.tasks.semantic import MatchingRule


@dataclass(frozen=True)
class EvaluateConfig:
    """Score predictions by ground truth: objects, foreground, classes, instances, panoptic maps.

    Predictions are the output of specray segment, label or predict; a COCO JSON, or a folder of
    PNGs, of any other tool; or what specray export --format panoptic wrote. Several --input are
    runs that differ in their seed: each is scored, and the scores are their mean and deviation.

    Classes found without labels have numbers without meaning: they are matched with the true ones
    over all images, and mIoU and accuracy are those of all pixels together. Images that the
    dataset has and the predictions have not are wrong, as are those that could not be predicted.

    Writes scores.json, with intervals of confidence, and images/*.parquet with the scores of every
    image, and prints a table; specray report --output shows the worst and the best.

    Try: specray evaluate --input labels/ --output scores/ --truth truth/ --truth-classes 21
    specray evaluate --input out/ --output scores/ --truth VOC2012/ --dataset voc-detection

    Parameters
    ----------
    input
        Where the predictions are: a folder or URI, or a .json.
    output
        Where the scores go: a folder or URI of its own.
    tasks
        What to score; absent = all that predictions and ground truth allow. `probe` is a linear
        classifier on the features that a segment run has kept, fitted to the ground truth of one
        half of the images and scored on the other: what there is to find in them.
    method
        Of a segment run, the method whose masks are scored, as instances or as the object; absent =
        objects for localisation and foreground, instances for instances.
    input_classes
        Of a folder of PNGs: they are maps of the classes 0 to N - 1, other numbers none; absent =
        they are masks of the foreground, of 0 and 1, or of brightness.
    matching
        Of classes, in the table: `pixels`: one to one, the most pixels, as in PriMaPs, STEGO and
        PiCIE; `iou`: one to one, the largest sum of IoUs, as in DSM; `majority`: each class found
        to the one that it overlaps most (IoU), several to the same. scores.json has all three.
    partial
        Leave out images that the predictions do not have, instead of counting them as wrong.
    bootstrap
        Samples of the images, with replacement, of which the 95 % intervals are made; of videos
        where the dataset has them. 0 = no intervals.
    published
        Figures to print beside, such as `localisation.corloc 62.7 | source`, in percent.
    num_workers
        Tasks at a time; absent = as many as there are CPUs.
    seed
        Of the bootstrap.
    endpoint
        URL of an S3-compatible store for s3:// URIs. Credentials come from the environment.
    overwrite
        Score anew what is scored, such as after a change of the ground truth.
    """

    input: tuple[str, ...]
    output: str
    tasks: tuple[TaskName, ...] = ()
    method: Literal["objects", "instances", "primaps", "superpixels"] | None = None
    input_classes: int | None = None
    matching: MatchingRule = "pixels"
    partial: bool = False
    bootstrap: int = 1000
    published: tuple[str, ...] = ()
    num_workers: int | None = None
    seed: int = 0
    endpoint: str | None = None
    overwrite: bool = False
    truth: DatasetConfig = field(default_factory=DatasetConfig)

    def __post_init__(self) -> None:
        at_least(0, self, "bootstrap")
        at_least(1, self, "num_workers", "input_classes")
        for line in self.published:
            parse_published(line)
