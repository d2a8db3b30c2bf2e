"""Whole sweeps on small sets: nothing depends on the workers, nothing bad is fatal."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from specray.errors import UserError
from specray.pipelines.sweep.config import HeldOutConfig, SweepConfig
from specray.pipelines.sweep.job import run_sweep
from tests.pipelines.sweep.cases import (
    BOXES,
    BROKEN,
    DEPTH,
    MASKS,
    config_of,
    write_boxes,
    write_masks,
)

COMBINATIONS = 3 * 2 * 2 * 2


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sets")
    write_masks(folder / "a")
    write_boxes(folder / "b")
    write_masks(folder / "c", broken=False)
    return folder


@pytest.fixture(scope="module")
def swept(ray_cluster: None, root: Path, encoder: Path) -> Path:
    run_sweep(config_of(root, encoder, root / "out"))
    return root / "out"


def found_in(output: Path) -> dict[str, object]:
    found: dict[str, object] = json.loads((output / "sweep.json").read_bytes())
    return found


def test_what_is_written(swept: Path) -> None:
    found = json.loads((swept / "sweep.json").read_bytes())
    run = json.loads((swept / "run.json").read_bytes())
    assert run["status"] == "finished" and run["job"] == "sweep"
    assert len(found["combinations"]) == COMBINATIONS == run["result"]["combinations"]
    assert found["papers"]["block"] == DEPTH - 1
    assert found["weights"]["sha256"] == run["weights"]["sha256"]
    assert f"--block {found['recommended']['block']}" in found["command"]
    assert run["result"]["command"] == found["command"]
    mean = {json.dumps(one["scores"]): one["mean"] for one in found["combinations"]}
    for scores, value in mean.items():
        by_set = [sum(of.values()) / len(of) for of in json.loads(scores).values()]
        assert value == pytest.approx(sum(by_set) / 2)

    table = pq.read_table(swept / "scores.parquet")
    assert table.num_rows == 3 * COMBINATIONS + 2 * len(found["held_out"]["combinations"])
    assert set(table["role"].to_pylist()) == {"choice", "held out"}
    page = (swept / "report" / "index.html").read_text()
    assert found["command"] in page.replace("&#39;", "'")
    assert page.count('class="heat"') == 3 * 4


def test_a_broken_image_is_counted_and_named(
    swept: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = json.loads((swept / "sweep.json").read_bytes())
    first, second, third = found["sets"]
    assert (first["images"], second["images"], third["images"]) == (MASKS, BOXES, MASKS)
    ((key, code),) = [(each["key"], each["code"]) for each in first["errors"]]
    assert (key, code) == (BROKEN, "corrupt")
    assert (first["units"], second["units"]) == (2, BOXES)
    assert BROKEN in (swept / "report" / "index.html").read_text()


def test_held_out_images_score_the_chosen_alone(swept: Path) -> None:
    found = json.loads((swept / "sweep.json").read_bytes())
    names = ("block", "feature", "color_lambda", "sign", "corners")
    chosen = [tuple(found[one][n] for n in names) for one in ("papers", "leading", "best")]
    unseen = {
        tuple(one[n] for n in names): one["mean"] for one in found["held_out"]["combinations"]
    }
    assert set(unseen) == set(chosen)
    gain = found["held_out"]["gain"]
    assert gain["mean"] == pytest.approx(unseen[chosen[1]] - unseen[chosen[0]])
    assert gain["low"] <= gain["mean"] <= gain["high"]
    assert found["recommended"] == found["leading" if gain["mean"] > 0 else "papers"]


def test_two_workers_write_the_same(
    swept: Path, root: Path, encoder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = run_sweep(config_of(root, encoder, root / "two", workers=2))
    assert (root / "two" / "scores.parquet").read_bytes() == (swept / "scores.parquet").read_bytes()
    one, two = found_in(swept), found_in(root / "two")
    assert one | {"seconds": 0} == two | {"seconds": 0}
    shown = capsys.readouterr().err
    assert "rules: the feature of the papers" in shown
    assert f"use: {result['command']}" in shown


def test_a_finished_sweep_is_recognised(
    swept: Path, root: Path, encoder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (swept / "sweep.json").stat().st_mtime_ns
    result = run_sweep(config_of(root, encoder, swept, workers=2))
    assert result == json.loads((swept / "run.json").read_bytes())["result"]
    assert "--overwrite scores anew" in capsys.readouterr().err
    assert (swept / "sweep.json").stat().st_mtime_ns == before
    with pytest.raises(UserError, match="limit: None -> 3"):
        run_sweep(config_of(root, encoder, swept, limit=3))


def test_overwrite_and_no_held_out_images(
    swept: Path, root: Path, encoder: Path, tmp_path: Path
) -> None:
    shutil.copytree(swept, tmp_path / "out")
    config = config_of(root, encoder, tmp_path / "out", limit=2, overwrite=True)
    result = run_sweep(dataclasses.replace(config, held_out=HeldOutConfig()))
    assert result["held_out_gain"] is None
    assert result["images"] == 4
    assert "no held-out images" in (tmp_path / "out" / "report" / "index.html").read_text()


def refused(config: SweepConfig, message: str) -> None:
    with pytest.raises(UserError, match=message):
        run_sweep(config)
    assert not (Path(config.output) / "run.json").exists()


def test_what_is_refused_before_any_image(root: Path, encoder: Path, tmp_path: Path) -> None:
    config = config_of(root, encoder, tmp_path / "out")
    sets, grid = config.sets, config.grid
    blocks = dataclasses.replace(grid, blocks=(DEPTH,))
    refused(dataclasses.replace(config, grid=blocks), "blocks 0 to 5")
    without = dataclasses.replace(sets, input=("-", sets.input[1]))
    refused(dataclasses.replace(config, sets=without), "use --input")
    inside = str(root / "a" / "images" / "out")
    refused(dataclasses.replace(config, output=inside), "lies inside --input")
    seen = HeldOutConfig(sets.truth[:1], sets.dataset[:1], sets.input[:1])
    refused(dataclasses.replace(config, held_out=seen), "8 held-out images are among those")
