"""Reading an output: committed rows of one state of the input, nothing else."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Any, Final

import pyarrow as pa

from specray.errors import UserError
from specray.sources import Store, open_store
from specray.tables.commit import read_shard
from specray.tables.rows import conformed
from specray.tables.run import read_run
from specray.tables.schema import EDITS, LABELS, PREDICTIONS, SEGMENTS
from specray.tables.shards import plan_shards

logger = logging.getLogger(__name__)

_SCHEMAS: Final = {
    "segment": SEGMENTS,
    "edit": EDITS,
    "label": LABELS,
    "predict": PREDICTIONS,
}
"""Of the tables of the jobs."""


class StateChanged(UserError):
    """A run has finished while its output was read, and has removed what it superseded."""


def read(
    uri: str, *, columns: Iterable[str] | None = None, endpoint: str | None = None
) -> pa.Table:
    """All committed rows of an output, in the order of its manifest; see `scan`.

    Examples
    --------
    >>> rows = read("s3://bucket/out", columns=["key", "error"])  # doctest: +SKIP
    """
    names = None if columns is None else list(columns)
    store = open_store(uri, endpoint)
    while True:
        with suppress(StateChanged):
            return _read(store, names)


def _read(store: Store, names: list[str] | None) -> pa.Table:
    run = _run_of(store)
    schema = _SCHEMAS[run.get("job", "segment")]
    fields = schema.names if names is None else names
    wanted = pa.schema([schema.field(name) for name in fields], schema.metadata)
    rows = (conformed(rows, wanted) for rows in _rows_of(store, run, names))
    return pa.concat_tables([wanted.empty_table(), *rows])


def scan(
    uri: str, *, columns: Iterable[str] | None = None, endpoint: str | None = None
) -> Iterator[pa.Table]:
    """Yield the committed rows of an output, one table per shard: memory holds one shard.

    One row per image of the input as the last finished run listed it; before a first run has
    finished, what it has committed so far. Torn, foreign and superseded files are passed over.

    Parameters
    ----------
    uri
        The ``--output`` of a segment, label or edit job: a folder or URI.
    columns
        Of `specray.tables.schema.SEGMENTS`, ``LABELS`` or ``EDITS``; None takes all.
    endpoint
        URL of an S3-compatible store.

    Raises
    ------
    UserError
        There is no run, or the store does not answer.
    StateChanged
        Not all rows of the state that was begun can be had any more; read again.
    """
    store = open_store(uri, endpoint)
    yield from _rows_of(store, _run_of(store), columns)


def read_segments(store: Store, columns: Iterable[str] | None = None) -> Iterator[pa.Table]:
    """As `scan`, of a store; one without a run has no rows."""
    run = read_run(store)
    if run is not None:
        yield from _rows_of(store, run, columns)


def _run_of(store: Store) -> dict[str, Any]:
    run = read_run(store)
    if run is None:
        raise UserError(f"{store.uri} holds no run.json; run specray segment first")
    return run


def _rows_of(
    store: Store, run: dict[str, Any], columns: Iterable[str] | None
) -> Iterator[pa.Table]:
    names = None if columns is None else list(columns)
    manifest, finished = _state(run)
    absent = 0
    try:
        for shard in plan_shards(store, manifest, run["fingerprint"]):
            rows = read_shard(store, shard.name, names)
            if rows is None or rows.num_rows != shard.rows:
                absent += 1
                if finished:  # a first run that is under way has not promised them
                    _check_current(store, run)
            else:
                yield rows
    except UserError:
        _check_current(store, run)
        raise
    if absent and finished:
        logger.warning(
            "%s: %d shards are missing or torn; run the command that made them again, which does "
            "them anew",
            store.uri,
            absent,
        )


def _state(run: dict[str, Any]) -> tuple[list[str], bool]:
    """The manifest that readers see, and whether its run has finished."""
    finished = run["manifest"] if run.get("status") == "finished" else run.get("finished_manifest")
    return finished or run["manifest"], finished is not None


def _check_current(store: Store, run: dict[str, Any]) -> None:
    now = read_run(store)
    if now is None or now["fingerprint"] != run["fingerprint"] or _state(now) != _state(run):
        raise StateChanged(f"another run has finished on {store.uri} while it was read; read again")
