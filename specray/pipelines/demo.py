"""The demo: the whole main road on photographs that come with scikit-image and scikit-learn."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import skimage.data
from PIL import Image
from sklearn.datasets import load_sample_images

from specray.backbones import DESCRIPTOR, BackboneConfig
from specray.pipelines.config import ImageConfig, RunConfig, SegmentConfig
from specray.pipelines.edit import EditConfig, run_edit
from specray.pipelines.labels.config import LabelConfig
from specray.pipelines.labels.job import run_label
from specray.pipelines.report import ReportConfig, run_report
from specray.pipelines.segment import run_segment
from specray.semantics import ClusterConfig

PHOTOGRAPHS: Final = (
    "astronaut", "camera", "chelsea", "coffee", "hubble_deep_field", "retina", "rocket",
)  # fmt: skip
"""What scikit-image brings along, without any download."""

CLASSES: Final = 6
"""Of so few photographs."""

_HINTS: Final = """
Open {report} and {classes} in a browser; the cut-outs
are in {edits}/cutouts.
For your own images, with DINO features:
  specray segment --input PHOTOS --output OUT --image-size 480 --keep eigenvectors \\
    --backbone vit_small_patch16_224.dino
  specray label   --input OUT --output CLASSES --classes 20     # the same classes in all images
  specray edit    --input OUT --output CUTOUTS                  # transparent PNG, or a background
  specray export  --input OUT --output EXPORT --format coco     # or another that tools open
  specray report  --output OUT --edits CUTOUTS                  # and --output CLASSES
  specray run     --input PHOTOS --output ROAD --label.classes 20   # and a network that learns them
"""


@dataclass(frozen=True)
class DemoConfig:
    """Segment, label, cut out the photographs of scikit-image, scikit-learn; reports; offline.

    Try: specray demo --output demo

    Parameters
    ----------
    output
        Folder for the photographs, the tables, the cut-outs and the reports.
    backbone
        As in `specray segment`; the descriptor needs no weights.
    weights
        As in `specray segment`.
    """

    output: str = "demo"
    backbone: str = DESCRIPTOR
    weights: str | None = None


def run_demo(config: DemoConfig) -> dict[str, Any]:
    """Photographs, segment, label, edit, report; see `DemoConfig`."""
    from specray.pipelines.cluster import ray_session  # which takes seconds

    start = time.monotonic()
    folder = Path(config.output)
    segments, labels, edits = (str(folder / name) for name in ("segments", "labels", "edits"))
    count = save_photographs(folder / "photographs")
    with ray_session():
        segmented = run_segment(
            SegmentConfig(
                input=str(folder / "photographs"),
                output=segments,
                methods=("objects", "regions", "instances", "superpixels"),
                keep=("eigenvectors",),
                images=ImageConfig(image_size=480),
                features=BackboneConfig(backbone=config.backbone, weights=config.weights),
                run=RunConfig(overwrite=True, batch_size=2, shard_size=32),
            )
        )
        clusters = ClusterConfig(classes=CLASSES)
        labelled = run_label(LabelConfig(segments, labels, clusters=clusters, overwrite=True))
        edited = run_edit(EditConfig(input=segments, output=edits, overwrite=True))
    report = run_report(ReportConfig(output=segments, edits=edits))
    classes = run_report(ReportConfig(output=labels))
    places = {"report": report["location"], "classes": classes["location"], "edits": edits}
    print(_HINTS.format(**places), file=sys.stderr)
    return {
        "job": "demo",
        "images": count,
        "segments": segmented["segments"],
        "classes": labelled["classes"],
        "cutouts": edited["pictures"],
        "errors": max(labelled["errors"], edited["errors"]),  # those of the segments among them
        "seconds": round(time.monotonic() - start, 3),
        "output": config.output,
        "report": report["location"],
        "classes_report": classes["location"],
    }


def save_photographs(folder: Path) -> int:
    """Write the libraries' photographs as PNG files; returns how many there are."""
    folder.mkdir(parents=True, exist_ok=True)
    images = {name: getattr(skimage.data, name)() for name in PHOTOGRAPHS}
    images["motorcycle"] = skimage.data.stereo_motorcycle()[0]
    samples = load_sample_images()
    for name, pixels in zip(samples.filenames, samples.images, strict=True):
        images[Path(name).stem] = pixels
    for name, pixels in images.items():
        Image.fromarray(pixels).save(folder / f"{name}.png")
    return len(images)
