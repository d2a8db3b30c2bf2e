"""The record of the run that a report is about."""

from __future__ import annotations

from typing import Any

from specray.errors import UserError
from specray.sources import Store
from specray.tables.run import read_run


def read_reported_run(output: Store, *jobs: str) -> dict[str, Any]:
    """The record of a run of one of these jobs.

    Raises
    ------
    UserError
        The output holds none.
    """
    run = read_run(output)
    if run is None:
        raise UserError(f"{output.uri} holds no run.json; run specray {jobs[0]} first")
    if run["job"] not in jobs:
        wanted = " or ".join(f"specray {job}" for job in jobs)
        raise UserError(f"{output.uri} was written by specray {run['job']}, not {wanted}")
    return run
