"""The label job: semantic classes for the segments of a segment run."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Final

from specray.errors import Stage, UserError
from specray.pipelines.derived import DerivedOutput, SegmentRun, check_place, finished_run
from specray.pipelines.error_limit import check_errors
from specray.pipelines.given import read_given
from specray.pipelines.labels.config import POINTS, LabelConfig
from specray.pipelines.record import finished_manifest, record_of
from specray.sources import Store, open_store
from specray.tables.counts import ShardCounts
from specray.tables.objects import if_there
from specray.tables.run import read_run
from specray.tables.schema import SCHEMA_VERSION
from specray.tables.shards import Shard

if TYPE_CHECKING:
    from specray.semantics import Codebook

CODEBOOK: Final = "codebook.safetensors"
"""The classes of a label output."""


def run_label(config: LabelConfig) -> dict[str, Any]:
    """Label the segments of a segment run; see `LabelConfig`.

    Returns
    -------
    dict
        Counts, seconds and the location of the output: the job's last line.

    Raises
    ------
    UserError
        There is no finished run or a part of it is gone, it has no such segments or features, the
        codebook is of other features, the output holds something else: each before any image is
        labelled. A store that is down, too many error rows: what was committed stays, the same
        command continues.
    """
    with ExitStack() as stack:
        return _label(config, stack)


def _label(config: LabelConfig, stack: ExitStack) -> dict[str, Any]:
    start = time.monotonic()
    segments = open_store(config.input, config.endpoint)
    run = finished_run(segments)
    made = run.configuration
    endpoint = config.endpoint or made["run"]["endpoint"]
    images = open_store(config.images or made["input"], endpoint)
    store = open_store(config.output, endpoint)
    check_place(store, "label", {"--input": segments, "--images": images})
    total = _points(config, run)
    codebook = _codebook(config, run, store, endpoint, total, stack)
    record = _record(config, run, store, endpoint, codebook.digest)
    record |= {"segments": segments.uri, "clustering": codebook.summary()}

    output = DerivedOutput(store, record, run, Stage.LABEL)
    if config.overwrite:
        output.clear()
    output.begin()
    # only now that the output is ours; what is killed in between is clustered again, to the same
    store.write(CODEBOOK, codebook.to_bytes())
    missing = output.missing(config.retry)
    counts = output.counts_without(missing)
    work: dict[str, Any] = {}
    if missing:
        _start_ray(stack)
        fresh, work = _stream(config, run, images, store, codebook, output.with_sources(missing))
        counts += fresh
    check_errors(counts, config.max_error_rate)
    result = {
        "job": "label",
        "images": counts.images,
        "errors": counts.errors,
        "error_codes": dict(sorted(counts.codes.items())),
        "classes": len(codebook.ids),
        "points": total,
        "segments": counts.segments,
        "bytes": counts.bytes,
        "shards": len(output.shards),
        "new_images": sum(shard.work for shard in missing),
        **work,
        "input_changes": output.changes,
        "seconds": round(time.monotonic() - start, 3),
        "output": config.output,
    }
    output.finish(result)
    return result


def _start_ray(stack: ExitStack) -> None:
    """Have Ray until the job ends: it takes seconds, which a finished run does without."""
    from specray.pipelines.cluster import ray_session

    stack.enter_context(ray_session())


def _points(config: LabelConfig, run: SegmentRun) -> int:
    """How many points there are to label; refuses a run that has none of them."""
    made, source = run.configuration, config.source
    if source == "patches" and "features" not in made["keep"]:
        raise UserError(
            f"the run at {run.store.uri} kept no features of patches; segment with --keep features"
        )
    if source != "patches" and source not in made["methods"]:
        raise UserError(
            f"the run at {run.store.uri} looked for {', '.join(made['methods'])} alone; choose a "
            f"--source of these, or segment with --methods {source}"
        )
    if source != "patches" and made.get("describe", "none") == "none":
        raise UserError(
            f"the segments of {run.store.uri} have no features; segment with --describe mean"
        )
    points = sum(run.counts.values(), ShardCounts()).points
    found = points.get(POINTS[source], 0)
    if config.background != "class":
        found -= points.get("background", 0)
    if not found:
        what = "regions but backgrounds" if points.get(POINTS[source]) else source
        raise UserError(f"the run at {run.store.uri} found no {what}: there is nothing to label")
    return found


def _codebook(
    config: LabelConfig,
    run: SegmentRun,
    store: Store,
    endpoint: str | None,
    total: int,
    stack: ExitStack,
) -> Codebook:
    """The classes: those that are given, or that the output has already, or new ones."""
    from specray.semantics import read_names

    features = _feature_space(config, run)
    # all that may be wrong with files is said before the clustering, which takes its time
    old = _given(config.match, "--match", endpoint, features)
    names = {}
    if config.names is not None:
        names = read_names(read_given(config.names, "--names", endpoint), config.names)
    found = _given(config.codebook, "--codebook", endpoint, features)
    if found is None and not config.overwrite:
        found = _there(config, run, store, endpoint)
    if found is None:
        found = _fitted(config, run, total, features, stack)
        if old is not None:
            found = found.matched(old)
    if config.background == "merged" and 0 not in found.ids:
        raise UserError("--background merged is for codebooks that have a class 0; use apart")
    return found.renamed(names)


def _given(
    uri: str | None, flag: str, endpoint: str | None, features: Mapping[str, Any]
) -> Codebook | None:
    """The codebook that a flag names, if it does; its classes must be of these features."""
    from specray.semantics import Codebook

    if uri is None:
        return None
    found = Codebook.from_bytes(read_given(uri, flag, endpoint))
    found.require(features)
    return found


def _there(
    config: LabelConfig, run: SegmentRun, store: Store, endpoint: str | None
) -> Codebook | None:
    """The classes of an earlier run of this command on the output; None before it had any.

    Raises
    ------
    UserError
        The output holds a run of another configuration.
    """
    from specray.semantics import Codebook

    earlier = read_run(store)
    if earlier is None:
        return None
    digest = earlier.get("decisive", {}).get("codebook")
    _record(config, run, store, endpoint, digest)  # which refuses
    blob = if_there(store, CODEBOOK, lambda: store.read(CODEBOOK))
    found = None if blob is None else Codebook.from_bytes(blob.data)
    if found is not None and found.digest == digest:
        print(f"labelling by the {len(found.ids)} classes in {store.uri}", file=sys.stderr)
        return found
    if finished_manifest(earlier) is None:
        return None  # killed before it could write them
    raise UserError(
        f"{CODEBOOK} of {store.uri} is gone or is another, and with it what its classes are; pass "
        "--overwrite to cluster anew"
    )


def _feature_space(config: LabelConfig, run: SegmentRun) -> dict[str, Any]:
    """What decides the features: those of two runs are comparable if it is equal."""
    decisive = run.record["decisive"]
    backbone = {name: value for name, value in decisive["features"].items() if name != "precision"}
    describe = "patch" if config.source == "patches" else decisive["describe"]
    return backbone | {"describe": describe, "source": config.source}


def _fitted(
    config: LabelConfig, run: SegmentRun, total: int, features: dict[str, Any], stack: ExitStack
) -> Codebook:
    from specray.pipelines.labels.fitting import fit_codebook

    _start_ray(stack)
    return fit_codebook(config, run, total, features)


def _record(
    config: LabelConfig, run: SegmentRun, store: Store, endpoint: str | None, codebook: str | None
) -> dict[str, Any]:
    """The record of the run before it begins; see `record_of`."""
    decisive: dict[str, Any] = {
        "segments": run.record["fingerprint"],
        "source": config.source,
        "background": config.background,
        "refinement": dataclasses.asdict(config.refinement),
        "codebook": codebook,
        "schema_version": SCHEMA_VERSION,
    }
    if config.codebook is None:
        decisive |= {"seed": config.seed, "clusters": dataclasses.asdict(config.clusters)}
    if config.match is not None:
        old = read_given(config.match, "--match", endpoint)
        decisive["match"] = hashlib.sha256(old).hexdigest()
    as_stored = json.loads(json.dumps(decisive))
    return record_of("label", config, as_stored, store, overwrite=config.overwrite)


def _stream(
    config: LabelConfig,
    run: SegmentRun,
    images: Store,
    store: Store,
    codebook: Codebook,
    todo: Sequence[tuple[Shard, str]],
) -> tuple[ShardCounts, dict[str, Any]]:
    from specray.pipelines.labels.labeller import Labeller, RefineMap
    from specray.pipelines.labels.labelling import LabelPass
    from specray.pipelines.labels.places import LabelPlaces

    made = run.configuration["images"]
    size = made["image_size"]
    labeller = Labeller(codebook, config.source, config.background, run.record["cell"], size)
    refine = None
    if config.refinement.refine != "none":
        refine = RefineMap(config.refinement, made["max_pixels"], size)
    return LabelPass(
        LabelPlaces(run.store, config.source),
        labeller,
        refine,
        images,
        store,
        todo,
        config.num_workers,
        config.max_error_rate,
    ).run()
