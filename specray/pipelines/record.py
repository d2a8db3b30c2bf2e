"""The record of a run: what decides its rows, and whether an output may go on with them."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import time
from typing import Any

from specray.errors import UserError
from specray.pipelines.config import SegmentConfig
from specray.pipelines.weights import Weights
from specray.sources import Store
from specray.tables.run import package_versions, read_run, write_run
from specray.tables.schema import SCHEMA_VERSION


def new_record(
    config: SegmentConfig, source: Store, output: Store, weights: Weights
) -> dict[str, Any]:
    """What ``run.json`` says of a run before it begins.

    Its ``finished_manifest`` is that of the last finished run whose rows are still there: what
    readers see until this one has finished, and what its input is compared with.

    Raises
    ------
    UserError
        The output holds a run whose rows were decided otherwise, and ``--overwrite`` is not given.
    """
    decisive = _decisive(config, source, weights)
    return {
        **record_of("segment", config, decisive, output, overwrite=config.run.overwrite),
        "weights": {"source": weights.source, "sha256": weights.sha256},
    }


def record_of(
    job: str, config: Any, decisive: dict[str, Any], output: Store, *, overwrite: bool
) -> dict[str, Any]:
    """The record of any job.

    Parameters
    ----------
    job
        Its name.
    config
        Its configuration, a dataclass.
    decisive
        What decides its rows, as JSON holds it.
    output
        Where it writes.
    overwrite
        What the output holds does not count.

    Raises
    ------
    UserError
        As `new_record`.
    """
    fingerprint = hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()
    earlier = None if overwrite else read_run(output)
    if earlier is not None and earlier.get("decisive") != decisive:
        raise UserError(
            f"{config.output} holds a run with another configuration "
            f"({_difference(earlier.get('decisive', {}), decisive)}); choose another --output, "
            "or pass --overwrite to drop what is there"
        )
    return {
        "status": "running",
        "job": job,
        "schema_version": SCHEMA_VERSION,
        "fingerprint": fingerprint,
        "finished_manifest": finished_manifest(earlier),
        "decisive": decisive,
        "configuration": dataclasses.asdict(config),
        "versions": package_versions(),
    }


def finish(
    store: Store, record: dict[str, Any], found: dict[str, Any], started: float, output: str
) -> dict[str, Any]:
    """Publish the end of a job that commits no shards.

    Parameters
    ----------
    store, record
        Where, and the record of the run.
    found
        What the job tells.
    started
        By ``time.monotonic``.
    output
        As it was typed.

    Returns
    -------
    The result: the job's last line.
    """
    seconds = round(time.monotonic() - started, 3)
    result = {"job": record["job"], **found, "seconds": seconds, "output": output}
    write_run(store, record | {"status": "finished", "result": result})
    return result


def finished_manifest(earlier: dict[str, Any] | None) -> list[str] | None:
    """The manifest of the last finished run, as the record that is there hands it on."""
    if earlier is None:
        return None
    name = "manifest" if earlier.get("status") == "finished" else "finished_manifest"
    found: list[str] | None = earlier.get(name)
    return found


def _decisive(config: SegmentConfig, source: Store, weights: Weights) -> dict[str, Any]:
    """What decides the rows: all of the configuration but where and how the work is done."""
    tree = dataclasses.asdict(config) | {"input": source.uri}  # however it was typed
    for name in ("output", "run"):
        del tree[name]
    # unknown to older outputs, which can be continued
    for name in ("instances", "superpixels", "primaps"):
        if name not in config.methods:
            tree.pop(name, None)
    if config.instances.separation != "spectral" and "instances" in tree:
        del tree["instances"]["instance_channels"], tree["instances"]["instance_affinity"]
    if "views" not in config.keep:
        del tree["views"]
    if config.describe == "none":
        del tree["describe"]
    for name in ("keys", "suffixes", "limit"):  # which images is the manifest's affair
        del tree["images"][name]
    tree["features"]["weights"] = weights.sha256
    del tree["features"]["projection"]
    if weights.projection is not None:
        tree["features"]["projection"] = weights.projection.sha256
    del tree["features"]["accept_dinov3_licence"]
    as_stored: dict[str, Any] = json.loads(json.dumps(tree | {"schema_version": SCHEMA_VERSION}))
    return as_stored


def _difference(old: dict[str, Any], new: dict[str, Any]) -> str:
    """The settings that differ, as ``name: old -> new``."""
    changes = []
    for name in old.keys() | new.keys():
        a, b = old.get(name), new.get(name)
        if isinstance(a, dict) and isinstance(b, dict):
            changes.append(_difference(a, b))
        elif a != b:
            changes.append(f"{name}: {a} -> {b}")
    return ", ".join(sorted(filter(None, changes)))
