"""The report job: a page for people on what the segment job wrote."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from specray.checks import at_least
from specray.errors import UserError
from specray.sources import Store, open_store
from specray.tables.report import (
    LabelReportSummary,
    ReportSummary,
    build_label_report,
    build_report,
    read_reported_run,
)
from specray.tables.run import read_run


@dataclass(frozen=True)
class ReportConfig:
    """Write report/index.html into the output of a segment, label or predict run.

    A static page without scripts. Of a segment run: key figures, a sample of images with their
    masks, distributions, the most doubtful images, errors, and how the run was made. Of a label
    run: a card for each class with regions of it, how the number of classes was chosen, which are
    together, how they merge, and label maps; of a predict run what of this there is. One pass over
    the Parquet; the size of the report does not grow with the number of images.

    Try: specray report --output out/

    Parameters
    ----------
    output
        Where the segment, label or predict job wrote: a folder or URI.
    edits
        Where an edit job of this segment run wrote: its cut-outs are shown as well.
    input
        Where the photographs are now; absent = where the run read them.
    samples
        Images in the gallery, drawn by a hash of their keys, of a segment run with up to ten that
        have several instances; about 0.1 MB each.
    endpoint
        URL of an S3-compatible store for s3:// URIs; absent = the one of the run. Credentials come
        from the environment.
    """

    output: str
    edits: str | None = None
    input: str | None = None
    samples: int = 48
    endpoint: str | None = None

    def __post_init__(self) -> None:
        at_least(0, self, "samples")


def run_report(config: ReportConfig) -> dict[str, Any]:
    """Write the report; see `ReportConfig`.

    Returns
    -------
    dict
        Counts, seconds and the location of the page: the job's last line.

    Raises
    ------
    UserError
        The output holds no such run, the edits are not of this run, or a store does not answer.
    """
    start = time.monotonic()
    output = open_store(config.output, config.endpoint)
    run = read_reported_run(output, *_REPORTS)
    summary = _REPORTS[run["job"]](config, output, run)
    seconds = round(time.monotonic() - start, 3)
    return {"job": "report", **dataclasses.asdict(summary), "seconds": seconds}


def _report_segments(config: ReportConfig, output: Store, run: dict[str, Any]) -> ReportSummary:
    made = run["configuration"]
    endpoint = config.endpoint or made["run"]["endpoint"]
    source = open_store(config.input or made["input"], endpoint)
    edits = None if config.edits is None else open_store(config.edits, endpoint)
    return build_report(output, source, samples=config.samples, edits=edits)


def _report_labels(config: ReportConfig, output: Store, run: dict[str, Any]) -> LabelReportSummary:
    _refuse_edits(config)
    made = run["configuration"]
    endpoint = config.endpoint or made["endpoint"]
    segmented = read_run(open_store(run["segments"], endpoint))
    place = config.input or made["images"]
    if segmented is not None:
        endpoint = endpoint or segmented["configuration"]["run"]["endpoint"]
        place = place or segmented["configuration"]["input"]
    source = None if place is None else open_store(place, endpoint)
    return build_label_report(output, source, samples=config.samples, segmented=segmented)


def _report_predictions(
    config: ReportConfig, output: Store, run: dict[str, Any]
) -> LabelReportSummary:
    _refuse_edits(config)
    made = run["configuration"]
    endpoint = config.endpoint or made["run"]["endpoint"]
    source = open_store(config.input or made["input"], endpoint)
    return build_label_report(output, source, samples=config.samples)


def _refuse_edits(config: ReportConfig) -> None:
    if config.edits is not None:
        raise UserError("--edits belongs to a segment run; a run of classes has no cut-outs")


_REPORTS: Final[
    dict[str, Callable[[ReportConfig, Store, dict[str, Any]], ReportSummary | LabelReportSummary]]
] = {
    "segment": _report_segments,
    "label": _report_labels,
    "predict": _report_predictions,
}
"""By the job that wrote the output."""
