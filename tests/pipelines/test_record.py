"""An output goes on only with a run that would write the same rows."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from specray.backbones import BackboneConfig, ViewConfig
from specray.errors import ErrorCode, UserError
from specray.masks import InstanceConfig, SuperpixelConfig
from specray.pipelines.config import ImageConfig, RunConfig, SegmentConfig
from specray.pipelines.record import new_record
from specray.pipelines.weights import Weights
from specray.sources import LocalStore, open_store
from specray.spectral import SpectralConfig
from specray.tables.run import write_run

CONFIG = SegmentConfig(
    "in",
    "out",
    methods=("objects", "regions"),
    describe="none",
    features=BackboneConfig(backbone="descriptor"),
)
"""What all that has come since leaves as it was."""


@pytest.fixture
def output(tmp_path: Path) -> LocalStore:
    return LocalStore(str(tmp_path / "out"))


def record(
    output: LocalStore, config: SegmentConfig = CONFIG, weights: Weights | None = None
) -> dict[str, Any]:
    return new_record(config, open_store(config.input), output, weights or Weights())


def written(output: LocalStore, **changes: Any) -> dict[str, Any]:
    """The record of a run whose manifest is written."""
    found = record(output) | {"manifest": ["manifest/1.parquet"]} | changes
    write_run(output, found)
    return found


def run(**changes: Any) -> RunConfig:
    return RunConfig(**changes)


@pytest.mark.parametrize(
    ("changed", "difference"),
    [
        ({"seed": 7}, "seed: 0 -> 7"),
        ({"methods": ("objects",)}, "methods: ['objects', 'regions'] -> ['objects']"),
        ({"keep": ("eigenvectors",)}, "keep: [] -> ['eigenvectors']"),
        ({"keep": ("features",)}, "keep: [] -> ['features']"),
        ({"features": BackboneConfig("descriptor", feature="v")}, "feature: k -> v"),
        ({"describe": "mean"}, "describe: None -> mean"),
        ({"images": ImageConfig(image_size=224)}, "image_size: None -> 224"),
        ({"images": ImageConfig(max_pixels=5)}, "max_pixels: 50000000 -> 5"),
        ({"spectral": SpectralConfig(color_lambda=10.0)}, "color_lambda: "),
        ({"input": "elsewhere"}, "elsewhere"),
    ],
)
def test_another_configuration_is_refused_with_the_difference_and_both_remedies(
    output: LocalStore, changed: dict[str, Any], difference: str
) -> None:
    written(output)
    with pytest.raises(UserError) as caught:
        record(output, dataclasses.replace(CONFIG, **changed))
    message = str(caught.value)
    assert difference in message
    assert message.count(" -> ") == 1
    assert "another --output" in message and "--overwrite" in message
    assert "\n" not in message


def test_other_weights_are_refused_whatever_their_name(output: LocalStore) -> None:
    write_run(output, record(output, weights=Weights(b"", "a.pt", "aa")) | {"manifest": []})
    assert record(output, weights=Weights(b"", "b.pt", "aa"))
    with pytest.raises(UserError, match="weights: aa -> bb"):
        record(output, weights=Weights(b"", "a.pt", "bb"))


@pytest.mark.parametrize(
    "changed",
    [
        {"input": "in/"},
        {"input": "./in"},
        {"output": "elsewhere"},
        {"images": ImageConfig(limit=3)},
        {"images": ImageConfig(keys="keys.txt")},
        {"images": ImageConfig(suffixes=(".jpg",))},
        {"run": run(shard_size=7, batch_size=1, num_workers=9, device="cpu")},
        {"run": run(max_error_rate=1.0, retry=(ErrorCode.EMPTY,))},
    ],
)
def test_how_the_work_is_done_and_on_which_images_changes_no_rows(
    output: LocalStore, changed: dict[str, Any]
) -> None:
    before = written(output)
    after = record(output, dataclasses.replace(CONFIG, **changed))
    assert after["fingerprint"] == before["fingerprint"]


def test_a_folder_is_the_same_input_by_every_path_to_it(
    output: LocalStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    written(output)
    assert record(output, dataclasses.replace(CONFIG, input=f"{tmp_path}/in"))


def test_fingerprints_differ_if_and_only_if_what_decides_the_rows_does(output: LocalStore) -> None:
    records = [
        record(output, dataclasses.replace(CONFIG, **changed))
        for changed in ({}, {"seed": 1}, {"keep": ("eigenvectors",)}, {"input": "b"})
    ]
    assert len({found["fingerprint"] for found in records}) == len(records)


def test_overwriting_refuses_nothing_and_forgets_the_earlier_state(output: LocalStore) -> None:
    written(output, status="finished")
    forced = dataclasses.replace(CONFIG, seed=7, run=run(overwrite=True))
    assert record(output, forced)["finished_manifest"] is None
    assert record(output, dataclasses.replace(forced, seed=0))["finished_manifest"] is None


def test_the_last_finished_state_is_handed_on_from_run_to_run(output: LocalStore) -> None:
    assert record(output)["finished_manifest"] is None
    written(output)
    assert record(output)["finished_manifest"] is None  # it never finished
    written(output, status="finished")
    assert record(output)["finished_manifest"] == ["manifest/1.parquet"]
    write_run(output, record(output) | {"manifest": ["manifest/2.parquet"]})  # and is killed
    assert record(output)["finished_manifest"] == ["manifest/1.parquet"]


INSTANCES = dataclasses.replace(CONFIG, methods=("objects", "instances"))


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"instances": InstanceConfig("spectral", 3)},
        {"superpixels": SuperpixelConfig(7)},
        {"views": ViewConfig(7, "clamped")},
        {"features": BackboneConfig("descriptor", feature="k")},
    ],
)
def test_an_output_of_before_there_were_instances_and_features_goes_on_without_them(
    output: LocalStore, changed: dict[str, Any]
) -> None:
    older = written(output, status="finished")
    for name in ("instances", "superpixels", "describe"):
        del older["configuration"][name]
    write_run(output, older)
    assert older["decisive"].keys() == {
        *("input", "methods", "keep", "seed", "schema_version"),
        *("images", "features", "spectral", "objects", "regions", "refinement"),
    }
    after = record(output, dataclasses.replace(CONFIG, **changed))
    assert after["fingerprint"] == older["fingerprint"]
    assert after["finished_manifest"] == ["manifest/1.parquet"]


def test_an_output_of_before_there_were_instances_is_not_mixed_with_them(
    output: LocalStore,
) -> None:
    written(output)
    with pytest.raises(UserError, match=r"methods: .*'regions'\] -> .*'instances'\]"):
        record(output, INSTANCES)


def test_an_output_of_before_there_were_features_is_not_mixed_with_them(
    output: LocalStore,
) -> None:
    written(output)
    with pytest.raises(UserError, match=r"describe: None -> mean, methods: .*'superpixels'"):
        record(output, SegmentConfig("in", "out", features=CONFIG.features))


def test_how_views_are_made_decides_the_rows_where_they_are_kept(output: LocalStore) -> None:
    before = dataclasses.replace(CONFIG, keep=("views",))
    write_run(output, record(output, before) | {"manifest": []})
    assert record(output, dataclasses.replace(before, keep=("features", "views")))
    for changed, difference in (
        (ViewConfig(3), "views: 2 -> 3"),
        (ViewConfig(jitter="clamped"), "jitter: paper -> clamped"),
    ):
        with pytest.raises(UserError, match=difference):
            record(output, dataclasses.replace(before, views=changed))


def test_how_superpixels_are_made_and_segments_described_decides_the_rows(
    output: LocalStore,
) -> None:
    before = SegmentConfig("in", "out")
    weights = Weights(b"", "a.pt", "aa")
    write_run(output, record(output, before, weights) | {"manifest": []})
    assert record(output, before, weights)
    for changed, difference in (
        ({"superpixels": SuperpixelConfig(7)}, "superpixels: 40 -> 7"),
        ({"describe": "crop"}, "describe: mean -> crop"),
        ({"describe": "none"}, "describe: mean -> None"),
    ):
        with pytest.raises(UserError, match=difference):
            record(output, dataclasses.replace(before, **changed), weights)


@pytest.mark.parametrize(
    ("changed", "difference"),
    [
        (InstanceConfig("spectral"), "separation: tree -> spectral"),
        (InstanceConfig(instances=4), "instances: None -> 4"),
    ],
)
def test_how_instances_are_found_decides_the_rows_where_they_are_asked_for(
    output: LocalStore, changed: InstanceConfig, difference: str
) -> None:
    before = record(output, INSTANCES)
    write_run(output, before | {"manifest": []})
    assert record(output, INSTANCES)["fingerprint"] == before["fingerprint"]
    other = dataclasses.replace(INSTANCES, instances=changed)
    with pytest.raises(UserError, match=difference):
        record(output, other)
    forced = dataclasses.replace(other, run=run(overwrite=True))
    assert record(output, forced)["fingerprint"] != before["fingerprint"]


def test_a_run_of_before_these_records_is_refused_not_mixed(output: LocalStore) -> None:
    write_run(output, {"configuration": {}, "status": "finished", "manifest": []})
    with pytest.raises(UserError, match="--overwrite"):
        record(output)
