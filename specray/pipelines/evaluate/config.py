"""The configuration of the evaluate job."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from specray.pipelines.truth import TruthConfig

MatchingRule = Literal["pixels", "iou", "majority"]


@dataclass(frozen=True)
class EvaluateConfig:
    """Score the semantic maps of specray label or specray predict by ground truth.

    Classes that were found without labels have numbers without meaning: they are matched with those
    of the ground truth over all images, then mIoU and accuracy are those of all pixels together.
    Writes scores.json, with the matching and a line per class, and prints the table. Images without
    ground truth are left out, and counted; images that could not be labelled count as wrong.

    Try: specray evaluate --input labels/ --output scores/ --truth truth/ --truth-classes 21

    Parameters
    ----------
    input
        Where the label or the predict job wrote: a folder or URI.
    output
        Where the scores go: a folder or URI of its own.
    matching
        `pixels`: one to one, the most pixels, as in PriMaPs, STEGO and PiCIE; `iou`: one to one,
        the largest sum of IoUs, as in DSM; `majority`: each class found to the one that it overlaps
        most (IoU), several to the same, for more classes found than true ones, as in DSM then.
    endpoint
        URL of an S3-compatible store for s3:// URIs; absent = the one of the run. Credentials come
        from the environment.
    overwrite
        Score anew what is scored, such as after a change of the ground truth.
    """

    input: str
    output: str
    matching: MatchingRule = "pixels"
    endpoint: str | None = None
    overwrite: bool = False
    truth: TruthConfig = field(default_factory=TruthConfig)
