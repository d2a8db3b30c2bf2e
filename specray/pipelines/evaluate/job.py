"""The evaluate job: semantic maps scored by ground truth."""

from __future__ import annotations

import dataclasses
import json
import math
import sys
import time
from collections.abc import Callable
from typing import Any, Final

from specray.errors import UserError
from specray.evaluation import (
    Confusion,
    Matching,
    Scores,
    hungarian_by_iou,
    hungarian_by_pixels,
    many_to_one_by_iou,
    score,
)
from specray.pipelines.derived import check_place
from specray.pipelines.evaluate.config import EvaluateConfig, MatchingRule
from specray.pipelines.labelled import LabelRun, label_run
from specray.pipelines.record import finish, record_of
from specray.pipelines.truth import TruthMaps
from specray.sources import Store, open_store
from specray.tables.run import read_run, write_run

SCORES: Final = "scores.json"

_MATCHINGS: Final[dict[MatchingRule, Callable[[Confusion], Matching]]] = {
    "pixels": hungarian_by_pixels,
    "iou": hungarian_by_iou,
    "majority": many_to_one_by_iou,
}


def run_evaluate(config: EvaluateConfig) -> dict[str, Any]:
    """Score a label or predict run; see `EvaluateConfig`.

    Returns
    -------
    dict
        The scores, counts, seconds and the location of the output: the job's last line.

    Raises
    ------
    UserError
        There is no finished run with labels, no ground truth of its images, or one that is none.
    """
    started = time.monotonic()
    labels = label_run(config.input, None, config.endpoint)
    truth = config.truth.maps(config.endpoint or labels.endpoint)
    if truth is None:
        raise UserError("--truth is missing: a folder or URI with a PNG of class numbers per image")
    store = open_store(config.output, config.endpoint or labels.endpoint)
    check_place(store, "evaluate", {"--input": labels.run.store, "--truth": truth.store})
    record = _record(config, labels, truth, store)
    earlier = None if config.overwrite else read_run(store)
    if earlier is not None and _is_of(earlier, record["decisive"]):
        print(f"{store.uri} is finished; --overwrite scores anew", file=sys.stderr)
        done: dict[str, Any] = earlier["result"]
        return done
    write_run(store, record)
    found = _scored(config, labels, truth)
    print(table_of(found), file=sys.stderr)
    store.write(SCORES, json.dumps(found, indent=2, ensure_ascii=False).encode())
    told = {name: found[name] for name in ("miou", "accuracy", "images", "without_truth")}
    return finish(store, record, told, started, config.output)


def _is_of(earlier: dict[str, Any], decisive: dict[str, Any]) -> bool:
    """Whether a run has scored the same labels by the same ground truth."""
    return earlier.get("status") == "finished" and earlier.get("decisive") == decisive


def _record(
    config: EvaluateConfig, labels: LabelRun, truth: TruthMaps, store: Store
) -> dict[str, Any]:
    decisive = {
        "labels": labels.run.record["fingerprint"],
        "manifest": labels.run.manifest,
        "truth": dataclasses.asdict(config.truth) | {"truth": truth.store.uri},
        "matching": config.matching,
    }
    as_stored = json.loads(json.dumps(decisive))
    # scores of an earlier state of the labels are superseded, never continued
    return record_of("evaluate", config, as_stored, store, overwrite=True)


def _scored(config: EvaluateConfig, labels: LabelRun, truth: TruthMaps) -> dict[str, Any]:
    # a run that is scored does without Ray
    from specray.pipelines.cluster import ray_session
    from specray.pipelines.evaluate.confusions import confusion_of

    with ray_session():
        confused = confusion_of(labels, truth)
    names = truth.space.names
    found = score(confused.matrix, _MATCHINGS[config.matching](confused.matrix), names)
    return {
        "miou": found.miou,
        "accuracy": found.accuracy,
        "images": confused.images,
        "without_truth": confused.without_truth,
        "matching_rule": config.matching,
        "classes": _classes(found, labels),
        "ids": list(labels.ids),
        "names": list(names),
        "confusion": confused.matrix.tolist(),
    }


def _classes(found: Scores, labels: LabelRun) -> list[dict[str, Any]]:
    """Of every true class its IoU, and which of the classes found stand for it."""
    return [
        {
            "name": name,
            "iou": None if math.isnan(iou) else iou,
            "found_as": [labels.ids[k] for k, matched in found.matching.items() if matched == name],
        }
        for name, iou in found.iou.items()
    ]


def table_of(scores: dict[str, Any]) -> str:
    """Scores as lines to read, in percent.

    Examples
    --------
    >>> print(table_of({"miou": 0.5, "accuracy": 0.75, "images": 3, "without_truth": 0,
    ...                 "classes": [{"name": "road", "iou": 0.5, "found_as": [4]}]}))
    class      IoU %  found as
    road        50.0  4
    mIoU 50.0 %, accuracy 75.0 % on 3 images
    """
    width = max(9, *(len(each["name"]) for each in scores["classes"]))
    lines = [f"{'class':{width}}  IoU %  found as"]
    for each in scores["classes"]:
        iou = "    –" if each["iou"] is None else f"{100 * each['iou']:5.1f}"
        found = ", ".join(map(str, each["found_as"])) or "–"
        lines.append(f"{each['name']:{width}}  {iou}  {found}")
    left = f", {scores['without_truth']} without ground truth" if scores["without_truth"] else ""
    lines.append(
        f"mIoU {100 * scores['miou']:.1f} %, accuracy {100 * scores['accuracy']:.1f} % on "
        f"{scores['images']} images{left}"
    )
    return "\n".join(lines)
