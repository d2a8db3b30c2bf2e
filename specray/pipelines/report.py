"""The report job: a page for people on what the segment job wrote."""

from __future__ import annotations

import dataclasses
import time
from dataclasses import dataclass
from typing import Any

from specray.checks import at_least
from specray.sources import open_store
from specray.tables.report import build_report, read_segment_run


@dataclass(frozen=True)
class ReportConfig:
    """Write report/index.html into the output of a segment run.

    A static page without scripts: key figures, a sample of images with their masks,
    distributions, the most doubtful images, errors, and how the run was made. One pass over the
    Parquet; the size of the report does not grow with the number of images.

    Try: specray report --output out/

    Parameters
    ----------
    output
        Where the segment job wrote: a folder or URI.
    edits
        Where an edit job of this run wrote: its cut-outs are shown as well.
    input
        Where the photographs are now; absent = where the run read them.
    samples
        Images in the gallery, drawn by a hash of their keys, with up to ten that have several
        instances; about 0.1 MB each.
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
        The output holds no run, the edits are not of this run, or a store does not answer.
    """
    start = time.monotonic()
    output = open_store(config.output, config.endpoint)
    made = read_segment_run(output)["configuration"]
    endpoint = config.endpoint or made["run"]["endpoint"]
    source = open_store(config.input or made["input"], endpoint)
    edits = None if config.edits is None else open_store(config.edits, endpoint)
    summary = build_report(output, source, samples=config.samples, edits=edits)
    seconds = round(time.monotonic() - start, 3)
    return {"job": "report", **dataclasses.asdict(summary), "seconds": seconds}
