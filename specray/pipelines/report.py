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
    RoadReportSummary,
    ScoreReportSummary,
    build_label_report,
    build_report,
    build_road_report,
    read_reported_run,
)
from specray.tables.run import read_run


@dataclass(frozen=True)
class ReportConfig:
    """Write report/index.html into the output of a segment, label, predict, evaluate or whole run.

    A static page without scripts. Of a segment run: key figures, a sample of images with their
    masks, distributions, the most doubtful images, errors, and how the run was made. Of a label
    run: a card for each class with regions of it, how the number of classes was chosen, which are
    together, how they merge, and label maps; of a predict run what of this there is; of specray run
    its labels before and after self-training; of an evaluate run its scores and the images that
    were done worst and best. One pass over the Parquet; the size of the report
    does not grow with the number of images.

    Try: specray report --output out/

    Parameters
    ----------
    output
        Where the segment, label, predict, evaluate or run job wrote: a folder or URI.
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


def _report_road(config: ReportConfig, output: Store, run: dict[str, Any]) -> RoadReportSummary:
    _refuse_edits(config)
    if run.get("status") != "finished":
        raise UserError(f"the run at {output.uri} has not finished; run its command again first")
    made = run["configuration"]["road"]
    endpoint = config.endpoint or made["endpoint"]
    result = run["result"]
    of_test = result.get("first_labels") == result.get("test_labels")
    photographs = made["test"] if of_test and made["test"] else made["input"]
    source = open_store(config.input or photographs, endpoint)
    if "shown" not in result:
        raise UserError(
            f"{output.uri} has no labels before and after to show; its parts have pages of their "
            "own: specray report --output of segments/, scores/ or seed-N/ there"
        )
    shown = result["shown"]
    before = open_store(result["first_labels"], endpoint)
    after = open_store(shown["labels"], endpoint)
    links = [(name, _link(output, place)) for name, place in result["reports"].items()]
    return build_road_report(
        output, source, before, after, shown["change"], links, samples=config.samples
    )


def _report_scores(config: ReportConfig, output: Store, run: dict[str, Any]) -> ScoreReportSummary:
    _refuse_edits(config)
    from specray.pipelines.evaluate.showing import report_scores

    cases = min(config.samples, _CASES)
    return report_scores(output, run, images=config.input, cases=cases, endpoint=config.endpoint)


def _link(output: Store, place: str) -> str:
    """From the page of an output to that of a place, which may lie within the output."""
    root = output.uri.rstrip("/")
    if place.startswith(f"{root}/"):
        return f"../{place.removeprefix(f'{root}/')}/report/index.html"
    return f"{place}/report/index.html"


def _refuse_edits(config: ReportConfig) -> None:
    if config.edits is not None:
        raise UserError("--edits belongs to a segment run; a run of classes has no cut-outs")


_CASES: Final = 12
"""Worst images of a task that are shown, and best ones, at most."""

_REPORTS: Final[
    dict[
        str,
        Callable[
            [ReportConfig, Store, dict[str, Any]],
            ReportSummary | LabelReportSummary | RoadReportSummary | ScoreReportSummary,
        ],
    ]
] = {
    "segment": _report_segments,
    "label": _report_labels,
    "predict": _report_predictions,
    "run": _report_road,
    "evaluate": _report_scores,
}
"""By the job that wrote the output."""
