"""Which round is taken, and when labels that were trained on are kept."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from specray.pipelines.road.keeping import kept
from specray.pipelines.road.rounds import ended, taken
from specray.pipelines.segmenter.config import TrainSegmenterConfig
from specray.semantics.segmenter.agreement import Agreement
from specray.semantics.segmenter.config import NetworkConfig


def agreement(same: float, *, lost: bool = False) -> Agreement:
    """Of two classes of 1,000 pixels each; the second may be lost."""
    kept = round(1000 * (2 * same - 1)) if not lost else 0
    return Agreement(np.array([[1000, 1000 - kept], [0, kept], [0, 0]]))


@pytest.mark.parametrize(
    ("same", "number"),
    [([], 0), ([0.6], 1), ([0.7, 0.9], 2), ([0.9, 0.7], 1), ([0.9, 0.9], 2), ([0.8, 0.9, 0.85], 2)],
)
def test_the_round_that_agrees_most_with_the_one_before_is_taken(
    same: list[float], number: int
) -> None:
    assert taken([agreement(value) for value in same]) == number


def test_a_round_that_has_given_up_a_large_class_is_the_last_and_is_not_taken() -> None:
    good, bad, later = agreement(0.8), agreement(0.5, lost=True), agreement(0.99)
    assert [taken(rounds) for rounds in ([bad], [good, bad], [good, bad, later])] == [0, 1, 1]
    assert ended([good, bad], 0.98)
    small = Agreement(np.array([[1900, 90], [0, 5], [5, 0]]))
    assert small.lost() == (1,) and taken([small]) == 1 and not ended([small], 0.98)


@pytest.mark.parametrize(
    ("same", "end"),
    [([], False), ([0.6], False), ([0.99], True), ([0.6, 0.7, 0.8], False), ([0.7, 0.7], True)],
)
def test_rounds_end_when_labels_settle_or_wander(same: list[float], end: bool) -> None:
    assert ended([agreement(value) for value in same], settled=0.98) == end


def record(folder: Path, **changes: Any) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "run.json").write_text(json.dumps({"configuration": {}} | changes))


@pytest.mark.parametrize(
    ("labels", "manifest", "status", "retrain", "stays", "overwrite"),
    [
        ("a", ["m"], "finished", False, False, False),  # the same: the job says that it is done
        ("a", ["n"], "finished", False, True, False),  # more images: it is applied to them
        ("a", ["n"], "finished", True, False, True),
        ("a", ["n"], "running", False, False, True),  # half trained on what is gone
        ("b", ["m"], "finished", False, False, True),  # other classes
    ],
)
def test_a_network_is_kept_while_its_classes_are_those_of_the_labels(
    tmp_path: Path,
    labels: str,
    manifest: list[str],
    status: str,
    retrain: bool,
    stays: bool,
    overwrite: bool,
) -> None:
    record(tmp_path / "labels", fingerprint="a", manifest=["m"], status="finished")
    config = TrainSegmenterConfig(
        str(tmp_path / "labels"), str(tmp_path / "net"), network=NetworkConfig("vit-linear")
    )
    made = {"labels": labels, "manifest": manifest}
    settings = dataclasses.asdict(config)
    about: dict[str, Any] = {"status": status, "result": {"steps": 7}, "configuration": settings}
    record(tmp_path / "net", decisive=made, **about)
    result, anew = kept(config, retrain=retrain)
    assert (result == {"steps": 7}, anew) == (stays, overwrite)
    # other settings are never passed over: the job says what differs
    other = dataclasses.replace(config, seed=9)
    assert kept(other, retrain=retrain)[0] is None


def test_what_is_not_there_yet_is_trained(tmp_path: Path) -> None:
    record(tmp_path / "labels", fingerprint="a", manifest=["m"], status="finished")
    network = NetworkConfig("vit-linear")
    config = TrainSegmenterConfig(str(tmp_path / "labels"), str(tmp_path / "net"), network=network)
    assert kept(config, retrain=False) == (None, False)
