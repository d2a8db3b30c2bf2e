"""What an edit job made of a run: its counts, and the cut-outs of the images that are shown."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from specray.errors import Stage, UserError
from specray.sources import Store
from specray.tables.counts import ShardCounts, count_rows
from specray.tables.reading import read_segments
from specray.tables.rows import Row
from specray.tables.run import read_run


@dataclass(frozen=True)
class Cutouts:
    """The output of an edit job, as far as the report shows it."""

    store: Store
    rows: Mapping[str, Row]
    """Of the images that are shown, by key."""
    counts: ShardCounts
    """Of the images that were segmented; errors of the segment table are left out."""
    configuration: Mapping[str, Any]
    is_current: bool
    """Whether it has finished, on the very images of the run."""


def check_cutouts(edits: Store, run: Mapping[str, Any]) -> dict[str, Any]:
    """The record of an edit job of a run.

    Raises
    ------
    UserError
        There is none, or it edited another run.
    """
    made = read_run(edits)
    if made is None or made.get("job") != "edit":
        raise UserError(f"--edits {edits.uri} holds no cut-outs; run specray edit first")
    if made["decisive"]["segments"] != run["fingerprint"]:
        raise UserError(
            f"the cut-outs at {edits.uri} are of another run, that of "
            f"{made['configuration']['input']} as it was; run specray edit on this one"
        )
    return made


def gather_cutouts(edits: Store, run: Mapping[str, Any], keys: Collection[str]) -> Cutouts:
    """Count the rows of an edit job, a shard at a time, and keep those of some images.

    Parameters
    ----------
    edits
        Where the edit job wrote.
    run
        The record of the segment run.
    keys
        Images that are shown.

    Raises
    ------
    UserError
        As `check_cutouts`, or the store does not answer.
    """
    made = check_cutouts(edits, run)
    wanted = pa.array(keys, pa.string())
    counts = ShardCounts()
    rows: dict[str, Row] = {}
    for table in read_segments(edits):
        stage = pc.struct_field(table["error"], "stage")
        own = table.filter(pc.fill_null(pc.equal(stage, str(Stage.EDIT)), True))
        counts += count_rows(own)
        shown = table.filter(pc.is_in(table["key"], wanted))
        rows |= {row["key"]: row for row in shown.to_pylist()}
    finished = made["status"] == run["status"] == "finished"
    is_current = finished and made["manifest"] == run["manifest"]
    return Cutouts(edits, rows, counts, made["configuration"], is_current)
