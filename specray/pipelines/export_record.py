"""``export.json``: what an export is of, and whether it has finished."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Sequence
from typing import Any, Final, get_args

from specray.errors import UserError
from specray.pipelines.export_plan import FinishedState
from specray.sources import Store
from specray.tables.classes import LabelClass
from specray.tables.counts import ShardCounts
from specray.tables.exports import OWNED, FormatName, class_category
from specray.tables.objects import if_there

NAME: Final = "export.json"


def claim(
    output: Store,
    state: FinishedState,
    format_name: FormatName,
    method: str | None,
    classes: Sequence[LabelClass],
    *,
    overwrite: bool,
) -> dict[str, Any]:
    """Publish the record of an export that begins; returns it.

    The same masks in the same format continue an export that is there: they make the same files.
    Of a label run the record has the classes, by their id and by the label that formats know them
    by.

    Raises
    ------
    UserError
        The output holds another export, whose files would stay among those of this one.
    """
    table = [dataclasses.asdict(found) | {"label": class_category(found).id} for found in classes]
    record = {
        "job": "export",
        "format": format_name,
        "method": method,
        **({"classes": table} if table else {}),
        "fingerprint": _fingerprint(state, format_name, method, table),
        "status": "running",
    }
    earlier = _read(output)
    if earlier is not None and overwrite:
        _clear(output, earlier["format"])
    elif earlier is not None and earlier["fingerprint"] != record["fingerprint"]:
        raise UserError(
            f"{output.uri} holds an export of format {earlier['format']} of other masks; "
            "choose another --output, or pass --overwrite to remove its files"
        )
    _write(output, record)
    output.remove_temporaries()
    return record


def finish(output: Store, record: dict[str, Any], result: dict[str, Any]) -> None:
    """Publish the record of an export that is whole."""
    _write(output, record | {"status": "finished", "result": result})


def _fingerprint(
    state: FinishedState, format_name: str, method: str | None, classes: list[dict[str, Any]]
) -> str:
    """A digest of everything that decides the files, but for photographs that come and go."""
    # the counts, because a --retry of error rows keeps the names of the shards
    total = sum(state.counts, ShardCounts())
    masks = [state.run["fingerprint"], state.manifest, total.segments, dict(total.codes)]
    if classes:
        masks.append(classes)
    text = json.dumps([format_name, method, *masks], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _clear(output: Store, format_name: str) -> None:
    """Remove the files of an export, and nothing that somebody has put beside them."""
    owned = OWNED[format_name]
    for entry in output.list():
        if owned.fullmatch(entry.key):
            output.delete(entry.key)


def _read(output: Store) -> dict[str, Any] | None:
    blob = if_there(output, NAME, lambda: output.read(NAME))
    if blob is None:
        return None
    try:
        record = json.loads(blob.data)
        if record["format"] in get_args(FormatName) and record["fingerprint"]:
            return dict(record)
    except (ValueError, TypeError, KeyError):
        pass
    raise UserError(
        f"{output.uri} holds an {NAME} that specray did not write; use another --output"
    )


def _write(output: Store, record: dict[str, Any]) -> None:
    output.write(NAME, json.dumps(record, indent=2).encode())
