"""The label job on very many points: the time of its phases, and the memory of its processes."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from specray.pipelines.benchmark.labels.synthetic import PER_IMAGE, Mixture, write_segments
from specray.pipelines.benchmark.watching import measured_job

_PHASES: Final = {"read": "clustering ", "fit": " images to do"}
"""What the job says when a phase has ended. The last one, of labelling, ends with the job."""


def scale_rows(
    images: int, dimensions: int, classes: int, fit_points: Sequence[int]
) -> Iterator[dict[str, Any]]:
    """Label a synthetic table with every size of the sample, each in a process of its own."""
    mixture = Mixture(dimensions=dimensions)
    with tempfile.TemporaryDirectory() as folder:
        segments = str(Path(folder, "segments"))
        stored = write_segments(segments, images, mixture)
        for count in fit_points:
            output = str(Path(folder, f"labels-{count}"))
            flags = ("--classes", str(classes), "--fit-points", str(count))
            measured = label_measured(segments, output, flags)
            yield {
                "name": f"label, fitted to {min(count, images * PER_IMAGE):,}",
                "images": images,
                "points": images * PER_IMAGE,
                "dimensions": dimensions,
                "segment_bytes": stored,
                **measured,
            }


def label_measured(segments: str, output: str, flags: Sequence[str]) -> dict[str, Any]:
    """Run ``specray label --refine none`` on a segment run.

    Returns
    -------
    What `measured_job` has measured, and the rates.

    Raises
    ------
    UserError
        psutil is not installed, or the job failed.
    """
    command = ["label", "--input", segments, "--output", output, "--refine", "none", *flags]
    result, measured = measured_job(command, _PHASES, "label")
    seconds = sum(measured[f"{phase}_s"] for phase in (*_PHASES, "label"))
    return {
        **measured,
        "points_per_second": result["points"] / seconds,
        "label_images_per_second": result["images_per_second"],
        "label_bytes": result["bytes"],
    }
