"""The run job: every stage of the road, one after the other."""

from __future__ import annotations

import dataclasses
import hashlib
import math
import sys
import time
from contextlib import ExitStack
from typing import Any

from specray.pipelines.derived import check_place
from specray.pipelines.evaluate.job import run_evaluate
from specray.pipelines.given import read_given
from specray.pipelines.labels.job import run_label
from specray.pipelines.predict.config import PredictConfig
from specray.pipelines.predict.job import run_predict
from specray.pipelines.record import finish
from specray.pipelines.report import run_report
from specray.pipelines.road.config import PipelineConfig
from specray.pipelines.road.keeping import Training, kept, of_another_model, overwriting
from specray.pipelines.road.rounds import ended, round_agreement, taken
from specray.pipelines.road.seeds import run_seeds
from specray.pipelines.road.stages import Stages
from specray.pipelines.segment import run_segment
from specray.pipelines.segmenter.config import TrainSegmenterConfig
from specray.pipelines.segmenter.job import run_train_segmenter
from specray.pipelines.training.job import run_train_primaps
from specray.semantics.segmenter.agreement import Agreement
from specray.sources import open_store
from specray.tables.run import package_versions, read_run, write_run


def run_pipeline(config: PipelineConfig) -> dict[str, Any]:
    """Go the whole road; see `RoadConfig`.

    Returns
    -------
    dict
        What came out, seconds and the location of the output: the job's last line.

    Raises
    ------
    UserError
        Stages do not fit together, or that of a stage: what is there stays, the same command
        continues.
    """
    if config.road.seeds:
        return run_seeds(config, run_pipeline)
    started = time.monotonic()
    stages = Stages(config)
    stages.check()
    road = config.road
    if config.segment.run.dry_run:
        return run_segment(stages.segment())
    store = open_store(road.output, road.endpoint)
    check_place(store, "run", {"--input": open_store(road.input, road.endpoint)})
    record = {
        "job": "run",
        "configuration": dataclasses.asdict(config),
        "versions": package_versions(),
    }
    settled = (read_run(store) or {}).get("status") == "finished"
    write_run(store, record | {"status": "running"})
    with ExitStack() as stack:
        if not settled:  # else it is likely that there is nothing to do
            from specray.pipelines.cluster import ray_session

            stack.enter_context(ray_session())
        found = _Road(stages).go()
    result = finish(store, record, found, started, road.output)
    # segments have a page of their own, labels before and after one together
    place = stages.segments if road.labels == "none" else road.output
    page = run_report(stages.report(place))
    return {**result, "report": page["location"]}


class _Road:
    """The stages in their order."""

    def __init__(self, stages: Stages) -> None:
        self._stages = stages
        self._road = stages.config.road
        self._agreements: list[Agreement] = []

    def go(self) -> dict[str, Any]:
        """Every stage; what the result says of them."""
        stages = self._stages
        if self._road.segments is None:
            _begin("segment")
            segmented = run_segment(stages.segment())
            if self._road.labels == "none":
                return self._of_segments(segmented)
        elif self._road.labels == "none":
            return self._of_segments({})
        labelled = self._label()
        while self._goes_on():
            self._round(len(self._agreements) + 1)
        numbers = range(len(self._agreements) + 1)
        chosen = taken(self._agreements)
        scores = []
        if self._road.test is not None:
            scores = [self._test(chosen)]
        elif stages.scored:
            scores = [self._scored(number) for number in numbers]
        # a round that is not taken is shown nevertheless, if there is no other
        shown = chosen or len(self._agreements)
        _begin("report")
        reports = {"First labels": stages.labels(0)}
        if self._road.segments is None:
            reports = {"Segments": stages.segments, **reports}
        if shown:
            reports[f"Labels of round {shown}"] = stages.labels(shown)
        for place in reports.values():
            run_report(stages.report(place))
        return {
            "images": labelled["images"],
            "errors": labelled["errors"],
            "classes": labelled["classes"],
            "rounds": len(self._agreements),
            "agreement": [round(each.same, 6) for each in self._agreements],
            "classes_lost": [len(each.lost()) for each in self._agreements],
            "taken": chosen,
            "first_labels": self._uri(stages.labels(0)),
            "labels": self._uri(stages.labels(chosen)),
            "shown": {
                "round": shown,
                "labels": self._uri(stages.labels(shown)),
                "change": self._change(shown),
            },
            "reports": {name: self._uri(place) for name, place in reports.items()},
            **self._told(scores, chosen),
        }

    def _of_segments(self, segmented: dict[str, Any]) -> dict[str, Any]:
        """Without labels: the segments, and what they score."""
        counts = {name: segmented[name] for name in ("images", "errors") if name in segmented}
        found: dict[str, Any] = counts | {"segments": self._uri(self._stages.segments)}
        if self._stages.scored:
            _begin("evaluate: the segments")
            config = self._stages.evaluate_segments()
            found |= {"scores": config.output, "figures": run_evaluate(config)["figures"]}
        return found

    def _test(self, number: int) -> dict[str, Any]:
        """Label the test images by what was taken, and score them."""
        stages = self._stages
        if stages.tests_alone:
            pass  # they are the labels that there are
        elif number == 0 and self._road.labels == "label":
            _begin("test: segment")
            run_segment(stages.segment_test())
            _begin("test: label")
            run_label(stages.label_test())
        else:
            _begin("test: predict")
            _predicted(stages.predict_test(number))
        if not stages.scored:
            return {}
        _begin("test: evaluate")
        return run_evaluate(stages.evaluate_test()) | {"round": number}

    def _told(self, scores: list[dict[str, Any]], chosen: int) -> dict[str, Any]:
        """Of the scores, as the result has them."""
        if self._road.test is not None:
            scored = {"scores": scores[0].get("output"), "figures": scores[0].get("figures")}
            return {"test_labels": self._uri(self._stages.test_labels), **scored}
        if not scores:
            return {}
        rule = self._stages.config.evaluate.matching
        names = ("miou", "accuracy")
        by_ground_truth: list[dict[str, Any]] = [
            {"round": number}
            | {name: round(each["figures"][f"semantic.{rule}.{name}"], 6) for name in names}
            for number, each in enumerate(scores)
        ]
        return {
            "by_ground_truth": by_ground_truth,
            "scores": scores[chosen]["output"],
            "figures": scores[chosen]["figures"],
        }

    def _goes_on(self) -> bool:
        if len(self._agreements) >= self._road.rounds:
            return False
        return not ended(self._agreements, self._road.settled)

    def _label(self) -> dict[str, Any]:
        stages = self._stages
        if self._road.labels == "label":
            _begin("label")
            return run_label(stages.label())
        _begin("train-primaps")
        self._trained(stages.train_primaps())
        if stages.tests_alone:
            _begin("test: predict")
            return _predicted(stages.predict_test(0))
        _begin("predict")
        return _predicted(stages.predict_prototypes())

    def _round(self, number: int) -> None:
        stages = self._stages
        _begin(f"round {number}: train-segmenter")
        self._trained(stages.train_segmenter(number))
        _begin(f"round {number}: predict")
        _predicted(stages.predict(number))
        _begin(f"round {number}: agreement with the labels before")
        found = self._compared(number, number - 1, f"/round-{number}")
        self._agreements.append(found)
        print(f"{100 * found.same:.1f} % of the pixels keep their class", file=sys.stderr)
        if found.has_collapsed:
            print(
                f"the network has all but given up {len(found.lost())} classes: this round is not "
                "taken; more --train-segmenter.steps or --train-segmenter.class-balance may help",
                file=sys.stderr,
            )

    def _trained(self, training: Training) -> None:
        result, overwrite = kept(training, retrain=self._road.retrain)
        if result is not None:
            return
        workers = dataclasses.replace(training.workers, overwrite=overwrite)
        if isinstance(training, TrainSegmenterConfig):
            run_train_segmenter(dataclasses.replace(training, workers=workers))
        else:
            run_train_primaps(dataclasses.replace(training, workers=workers))

    def _uri(self, place: str) -> str:
        return open_store(place, self._road.endpoint).uri.rstrip("/")

    def _change(self, number: int) -> dict[str, Any] | None:
        """How the labels of a round differ from the first ones."""
        if number == 0:
            return None
        found = self._agreements[0] if number == 1 else self._compared(number, 0)
        iou = [None if math.isnan(value) else value for value in found.iou.tolist()]
        return {"same": found.same, "iou": iou}

    def _compared(self, new: int, old: int, folder: str = "") -> Agreement:
        """The labels of two rounds; what is found is kept in a folder of the output."""
        labels, endpoint = self._stages.labels, self._road.endpoint
        kept_in = open_store(f"{self._road.output.rstrip('/')}{folder}", endpoint)
        return round_agreement(kept_in, labels(new), labels(old), endpoint)

    def _scored(self, number: int) -> dict[str, Any]:
        _begin(f"evaluate: {'round ' + str(number) if number else 'the first labels'}")
        return run_evaluate(self._stages.evaluate(number))


def _predicted(predict: PredictConfig) -> dict[str, Any]:
    """Maps by the model that is there now: those of one that was replaced go."""
    model = read_given(predict.model, "--model", predict.run.endpoint)
    if of_another_model(predict, hashlib.sha256(model).hexdigest()):
        predict = overwriting(predict)
    return run_predict(predict)


def _begin(stage: str) -> None:
    print(f"── {stage}", file=sys.stderr, flush=True)
