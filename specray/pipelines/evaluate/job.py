"""The evaluate job: predictions of whomever, scored by ground truth."""

from __future__ import annotations

import dataclasses
import json
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

from specray.datasets import Dataset
from specray.errors import UserError
from specray.evaluation import spread
from specray.pipelines.derived import check_place
from specray.pipelines.evaluate.config import EvaluateConfig
from specray.pipelines.evaluate.predictions.base import Predictions
from specray.pipelines.evaluate.predictions.opening import open_predictions
from specray.pipelines.evaluate.predictions.runs import without_features
from specray.pipelines.evaluate.published import parse_published
from specray.pipelines.evaluate.table import table_of
from specray.pipelines.evaluate.tasks import NEEDS, TaskName
from specray.pipelines.record import finish, record_of
from specray.sources import Store, open_store
from specray.tables.run import read_run, write_run

SCORES: Final = "scores.json"
IMAGES: Final = "images/"
"""Folder of the scores of the images; a folder in it for every input, by number."""


def run_evaluate(config: EvaluateConfig) -> dict[str, Any]:
    """Score predictions; see `EvaluateConfig`.

    Returns
    -------
    dict
        The figures, counts, seconds and the location of the output: the job's last line.

    Raises
    ------
    UserError
        Predictions or ground truth are not there, are damaged, or do not go together.
    """
    started = time.monotonic()
    if config.truth.truth is None:
        raise UserError("--truth is missing: a folder or URI with the ground truth of the images")
    if not config.input:
        raise UserError("--input is missing: where the predictions are")
    dataset = config.truth.open(config.endpoint)
    keys = dataset.keys()
    found = [
        open_predictions(
            uri,
            dataset,
            method=config.method,
            classes=config.input_classes,
            endpoint=config.endpoint,
        )
        for uri in config.input
    ]
    store = open_store(config.output, config.endpoint)
    _check_places(config, store)
    names = _task_names(config, dataset, found)
    found = [without_features(each) if "probe" not in names else each for each in found]
    record = _record(config, found, names, store)
    earlier = None if config.overwrite else read_run(store)
    if earlier is not None and _is_of(earlier, record["decisive"]):
        print(f"{store.uri} is finished; --overwrite scores anew", file=sys.stderr)
        done: dict[str, Any] = earlier["result"]
        return done
    write_run(store, record)
    scores = _scored(config, dataset, keys, found, names, store)
    print(table_of(scores), file=sys.stderr)
    store.write(SCORES, json.dumps(scores, indent=2, ensure_ascii=False).encode())
    told = {name: scores[name] for name in ("images", "without_truth", "failed", "missing")}
    figures = {name: figure["value"] for name, figure in scores["figures"].items()}
    return finish(store, record, told | {"figures": figures}, started, config.output)


def _check_places(config: EvaluateConfig, store: Store) -> None:
    places = [("--truth", config.truth.truth), *(("--input", uri) for uri in config.input)]
    for flag, uri in places:
        if uri is not None and not uri.lower().endswith(".json"):
            check_place(store, "evaluate", {flag: open_store(uri, config.endpoint)})


def _task_names(
    config: EvaluateConfig, dataset: Dataset, found: Sequence[Predictions]
) -> list[TaskName]:
    """What both sides have, or of it what was asked for."""
    kinds = frozenset.intersection(*(each.kinds for each in found))
    possible = [
        name
        for name, needs in NEEDS.items()
        if needs.predicted in kinds and needs.true in dataset.kinds
    ]
    lacking = [name for name in config.tasks if name not in possible]
    if lacking or not possible:
        raise UserError(
            f"cannot score {' and '.join(lacking) or 'anything'}: the predictions have "
            f"{_listed(kinds)}, the ground truth has {_listed(dataset.kinds)}"
        )
    names = [name for name in possible if not config.tasks or name in config.tasks]
    for each in map(parse_published, config.published):
        if each.figure.partition(".")[0] not in names:
            raise UserError(
                f"--published {each.figure}: what is scored is {', '.join(names)}; see --tasks"
            )
    return names


def _listed(kinds: frozenset[str]) -> str:
    return ", ".join(sorted(kinds)) or "nothing"


def _is_of(earlier: dict[str, Any], decisive: dict[str, Any]) -> bool:
    """Whether a run has scored the same predictions by the same ground truth."""
    return earlier.get("status") == "finished" and earlier.get("decisive") == decisive


def _record(
    config: EvaluateConfig, found: Sequence[Predictions], names: list[TaskName], store: Store
) -> dict[str, Any]:
    tree = dataclasses.asdict(config) | {"tasks": names}
    for name in ("input", "output", "num_workers", "endpoint", "overwrite"):
        del tree[name]
    decisive = tree | {"predictions": [[each.uri, each.identity] for each in found]}
    as_stored = json.loads(json.dumps(decisive))
    # scores of an earlier state of the predictions are superseded, never continued
    return record_of("evaluate", config, as_stored, store, overwrite=True)


def _scored(
    config: EvaluateConfig,
    dataset: Dataset,
    keys: Sequence[str],
    found: Sequence[Predictions],
    names: Sequence[TaskName],
    store: Store,
) -> dict[str, Any]:
    # what is scored already does without Ray
    from specray.pipelines.cluster import ray_session
    from specray.pipelines.evaluate.running import Run

    with ray_session():
        runs = [
            Run(config, dataset, keys, each, names, store, f"{IMAGES}{number}/").scores()
            for number, each in enumerate(found)
        ]
    written = frozenset(name for run in runs for name in run.pop("files"))
    for entry in list(store.list((".parquet",))):
        if entry.key.startswith(IMAGES) and entry.key not in written:
            store.delete(entry.key)
    counts = {name: runs[0][name] for name in ("images", "without_truth", "failed", "missing")}
    return {
        "dataset": dataclasses.asdict(config.truth),
        **counts,
        "figures": _together(config, runs),
        "matching": config.matching,
        "runs": runs,
    }


def _together(config: EvaluateConfig, runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Figures of one run as they are, of several their mean and deviation; published ones beside.

    Raises
    ------
    UserError
        What was published is of a figure that nobody has.
    """
    published = {each.figure: each for each in map(parse_published, config.published)}
    figures: dict[str, Any] = {}
    for name, first in runs[0]["figures"].items():
        values = [run["figures"][name]["value"] for run in runs]
        known = [value for value in values if value is not None]
        over = spread(known)
        figures[name] = dict(first) if len(runs) == 1 else {"value": over.mean if known else None}
        if len(runs) > 1:
            sd = over.sd if over.n > 1 else None
            figures[name] |= {"sd": sd, "runs": over.n, "trivial": first["trivial"]}
            figures[name] |= {"answer": first["answer"]}
        if name in published:
            theirs = published.pop(name)
            value = figures[name]["value"]
            difference = None if value is None else value - theirs.value
            figures[name]["published"] = dataclasses.asdict(theirs) | {"difference": difference}
    if published:
        raise UserError(
            f"--published {min(published)}: there is no such figure, but {', '.join(figures)}"
        )
    return figures
