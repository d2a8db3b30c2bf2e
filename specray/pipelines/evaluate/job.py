"""The evaluate job: predictions of whomever, scored by ground truth."""

from __future__ import annotations

import dataclasses
import json
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from specray.datasets import Dataset, stem
from specray.errors import UserError
from specray.evaluation import spread
from specray.pipelines.derived import check_place
from specray.pipelines.evaluate.config import EvaluateConfig
from specray.pipelines.evaluate.predictions.base import Predictions, parts
from specray.pipelines.evaluate.predictions.opening import open_predictions
from specray.pipelines.evaluate.published import parse_published
from specray.pipelines.evaluate.table import table_of
from specray.pipelines.evaluate.tasks import KIND_OF, Task, TaskName, make_task
from specray.pipelines.evaluate.tasks.semantic import Semantic
from specray.pipelines.record import finish, record_of
from specray.sources import Store, open_store
from specray.tables.run import read_run, write_run

if TYPE_CHECKING:  # what is scored already does without Ray
    from specray.pipelines.evaluate.scoring import Part, Work

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
    others = {"--truth": config.truth.truth, "--input": config.input[0]}
    for each in config.input:
        others["--input"] = each
        folders = {
            flag: open_store(uri, config.endpoint)
            for flag, uri in others.items()
            if uri is not None and not uri.lower().endswith(".json")
        }
        check_place(store, "evaluate", folders)


def _task_names(
    config: EvaluateConfig, dataset: Dataset, found: Sequence[Predictions]
) -> list[TaskName]:
    """What both sides have, or of it what was asked for."""
    kinds = frozenset.intersection(*(each.kinds for each in found))
    possible = [name for name, kind in KIND_OF.items() if kind in kinds & dataset.kinds]
    lacking = [name for name in config.tasks if name not in possible]
    if lacking or not possible:
        raise UserError(
            f"cannot score {' and '.join(lacking) or 'anything'}: the predictions have "
            f"{_listed(kinds)}, the ground truth has {_listed(dataset.kinds)}"
        )
    return [name for name in possible if not config.tasks or name in config.tasks]


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
    from specray.pipelines.cluster import ray_session

    with ray_session():
        runs = [
            _Run(config, dataset, keys, each, names, store, f"{IMAGES}{number}/").scores()
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


@dataclass(frozen=True)
class _Run:
    """The predictions of one input."""

    config: EvaluateConfig
    dataset: Dataset
    keys: Sequence[str]
    predictions: Predictions
    names: Sequence[TaskName]
    store: Store
    folder: str

    def scores(self) -> dict[str, Any]:
        """All there is to say of them."""
        from specray.pipelines.evaluate.figures import figures_of
        from specray.pipelines.evaluate.scoring import Score, part_name, score_pieces

        config, predictions = self.config, self.predictions
        by_stem = {stem(key): key for key in self.keys}
        work = list(self._work(by_stem))
        covered = sum(len(each.keys) for each in work)
        missing = len(by_stem) - covered
        if not work:
            raise UserError(
                f"no image of {predictions.uri} has ground truth in {config.truth.truth}: keys are "
                f"to be the same but for their suffix, such as {stem(self.keys[0])!r}"
            )
        if missing and not config.partial:
            work += self._absent(by_stem, work)
        tasks = self._tasks()
        replicates = 1 + config.bootstrap
        score = Score(tasks, replicates, config.seed, self.store, self.folder)
        part = score_pieces(work, score, config.num_workers)
        figures = figures_of(part, tasks, self._unit_of, config.seed, replicates)
        return {
            "input": predictions.uri,
            "images": part.images,
            "failed": part.failed - (0 if config.partial else missing),
            "missing": missing,
            "without_truth": predictions.unknown(frozenset(by_stem)),
            "figures": {name: dataclasses.asdict(each) for name, each in figures.items()},
            **self._semantic(part, tasks, work),
            "files": [part_name(self.folder, each.number) for each in work],
        }

    def _unit_of(self, key: str) -> str:
        return self.dataset.group(key) or stem(key)

    def _work(self, by_stem: Mapping[str, str]) -> Iterator[Work]:
        for number, (stems, piece) in enumerate(self.predictions.pieces(frozenset(by_stem))):
            yield self._of_piece(number, piece, {each: by_stem[each] for each in stems})

    def _absent(self, by_stem: Mapping[str, str], work: Sequence[Work]) -> Iterator[Work]:
        from specray.pipelines.evaluate.scoring import Absent

        there = {each for one in work for each in one.keys}
        absent = sorted(by_stem.keys() - there)
        for number, some in enumerate(parts(absent, 256), start=len(work)):
            piece = Absent(tuple(some))
            yield self._of_piece(number, piece, {each: by_stem[each] for each in some})

    def _of_piece(self, number: int, piece: Any, keys: Mapping[str, str]) -> Work:
        from specray.pipelines.evaluate.scoring import Work

        groups = {each: self.dataset.group(key) for each, key in keys.items()}
        known = {each: group for each, group in groups.items() if group is not None}
        return Work(number, piece, self.dataset.truths(list(keys.values())), keys, known)

    def _tasks(self) -> dict[TaskName, Task]:
        found, true = self.predictions.names, self.dataset.categories
        masks = "instances" in self.names and self.predictions.masks and self._true_masks()
        return {name: make_task(name, found, true, masks=masks) for name in self.names}

    def _true_masks(self) -> bool:
        """Whether instances have masks in the ground truth: the first one tells."""
        for part in parts(self.keys, 256):
            truths = self.dataset.truths(part)
            for key in part:
                instances = truths.of(key, ["instances"]).instances
                if instances:
                    return "rle" in instances[0]
        return False

    def _semantic(
        self, part: Part, tasks: Mapping[TaskName, Task], work: Sequence[Work]
    ) -> dict[str, Any]:
        """The classes, and how well they are told apart in every image, now that they are known."""
        task = tasks.get("semantic")
        if not isinstance(task, Semantic):
            return {}
        from specray.pipelines.evaluate.classes import Classes, write_image_scores

        matrix = task.matrix(part.sums["semantic"][0])
        found = Classes(task, matrix, self.config.matching)
        write_image_scores(self.store, self.folder, work, found)
        return {"semantic": found.as_json()}
