"""What a person at the keyboard meets: flags, files, help, and errors in one line."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import docstring_parser
import pytest
import safetensors.torch
import torch
import yaml

from specray.backbones import BackboneConfig
from specray.cli import JOBS, main
from specray.errors import UserError
from specray.flags import parse
from specray.masks import CRFParameters, ObjectConfig, RefineConfig, RegionConfig
from specray.pipelines.benchmark import BenchmarkConfig
from specray.pipelines.config import ImageConfig, RunConfig, SegmentConfig, StageConfig
from specray.pipelines.demo import DemoConfig
from specray.pipelines.edit import EditConfig
from specray.pipelines.export import ExportConfig
from specray.pipelines.report import ReportConfig
from specray.spectral import SpectralConfig
from tests.conftest import ROOT
from tests.pipelines.photographs import write_photographs

BASE = ["--input", "in", "--output", "out"]
NEEDED = {
    "segment": BASE,
    "edit": BASE,
    "label": BASE,
    "train-primaps": BASE,
    "train-segmenter": [*BASE, "--weights", "encoder.safetensors"],
    "predict": [*BASE, "--model", "fit/prototypes.safetensors"],
    "export": [*BASE, "--format", "coco"],
    "report": BASE[2:],
    "evaluate": [*BASE, "--truth", "truth", "--truth-classes", "3"],
    "sweep": [*BASE, "--truth", "truth", "--dataset", "masks"],
    "run": [*BASE, "--label.classes", "3", "--segment.image-size", "320"],
}
"""What each job cannot do without."""


def segment(*args: str) -> Any:
    return parse(SegmentConfig, "specray segment", [*BASE, *args])


def test_flags_reach_the_tree_of_dataclasses() -> None:
    config = segment(
        *("--methods", "objects", "--backbone", "descriptor", "--image-size", "240"),
        *("--shard-size", "32", "--limit", "7", "--seed", "3", "--dry-run", "--num-workers", "2"),
        *("--endpoint", "http://127.0.0.1:9", "--device", "cpu", "--feature", "q", "--block", "9"),
    )
    assert config.methods == ("objects",)
    assert (config.features.backbone, config.features.feature) == ("descriptor", "q")
    assert (config.images.image_size, config.images.limit, config.seed) == (240, 7, 3)
    assert (config.run.shard_size, config.run.num_workers, config.run.dry_run) == (32, 2, True)


def test_flags_override_the_file_and_the_file_overrides_the_defaults(tmp_path: Path) -> None:
    file = tmp_path / "run.yaml"
    file.write_text("methods: [regions]\nrun: {shard_size: 64, overwrite: true}\nseed: 5\n")
    config = segment("--config", str(file), "--seed", "6")
    assert (config.methods, config.seed) == (("regions",), 6)
    assert (config.run.shard_size, config.run.overwrite) == (64, True)
    assert config.run.batch_size == 16


@pytest.mark.parametrize("job", JOBS)
def test_a_printed_configuration_is_read_back_as_the_same(
    job: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([job, *NEEDED.get(job, []), "--print-config"]) == 0
    printed = capsys.readouterr().out
    file = tmp_path / "printed.yaml"
    file.write_text(printed)
    assert main([job, "--config", str(file), "--print-config"]) == 0
    assert capsys.readouterr().out == printed
    assert yaml.safe_load(printed)["output"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("methods: [", "is not YAML"),
        ("- a\n- b\n", "must be a mapping"),
        ("shard_sise: 3\n", "'shard_sise' is none of"),
        ("run: {shard_sise: 3}\n", "'shard_sise' is none of"),
        ("run: 3\n", "'run' must be a mapping"),
    ],
)
def test_a_wrong_file_is_one_clear_line(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "wrong.yaml"
    file.write_text(text)
    with pytest.raises(UserError, match=message) as caught:
        segment("--config", str(file))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("job", JOBS)
def test_help_explains_every_field_of_a_job(job: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main([job, "--help"])
    assert caught.value.code == 0
    text = capsys.readouterr().out
    assert "--print-config" in text and "(default:" in text and "Try: " in text


@pytest.mark.parametrize(
    "config",
    [
        *(SegmentConfig, ExportConfig, EditConfig, ReportConfig, DemoConfig, BenchmarkConfig),
        *(ImageConfig, RunConfig, BackboneConfig, SpectralConfig, ObjectConfig, RegionConfig),
        *(StageConfig, RefineConfig, CRFParameters),
    ],
)
def test_every_setting_is_explained(config: type[Any]) -> None:
    explained = {p.arg_name for p in docstring_parser.parse(config.__doc__ or "").params}
    settings = {
        field.name
        for field in dataclasses.fields(config)
        if not dataclasses.is_dataclass(field.default_factory)
    }
    assert explained == settings


def test_a_wrong_flag_exits_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["segment", *BASE, "--image-size", "large"])
    assert caught.value.code == 2
    assert "--image-size" in capsys.readouterr().err


@pytest.mark.parametrize(
    "flags",
    [
        ["--shard-size", "0"],
        ["--batch-size", "0"],
        ["--num-workers", "0"],
        ["--limit", "-1"],
        ["--image-size", "0"],
        ["--regions", "0"],
        ["--erode", "-1"],
        ["--refine-size", "3"],
        ["--bilateral-xy", "0"],
        ["--crf-iterations", "-1"],
        ["--methods"],
        ["--methods", "objects", "objects"],
    ],
)
def test_a_setting_out_of_range_exits_with_2_and_names_the_flag(
    flags: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["segment", *BASE, *flags])
    assert caught.value.code == 2
    assert flags[0] in capsys.readouterr().err


def test_an_unknown_job_names_those_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["segmnet"]) == 2
    assert "segment, label, train-primaps, train-segmenter, predict" in capsys.readouterr().err


@pytest.mark.parametrize("job", JOBS)
def test_every_job_has_a_script_that_ray_can_submit(job: str) -> None:
    script = ROOT / "jobs" / f"{'pipeline' if job == 'run' else job}.py"
    flags = NEEDED.get(job, BASE[2:])
    done = subprocess.run(
        [sys.executable, script, "--print-config", *flags],
        capture_output=True,
        text=True,
        check=True,
    )
    assert yaml.safe_load(done.stdout)["output"] == "out"


def test_importing_the_package_loads_nothing_heavy() -> None:
    code = (
        "import specray, sys; print([m for m in ('torch', 'ray', 'pyarrow') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_driver_that_has_nothing_to_do_loads_no_networks() -> None:
    modules = [module for job, (module, _, _) in JOBS.items() if job != "benchmark"]
    code = (
        "import importlib, sys\n"
        f"for name in {modules}: importlib.import_module(name)\n"
        "print([name for name in ('timm', 'torchvision', 'torch._dynamo') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    write_photographs(tmp_path / "in", 2)
    return tmp_path / "in"


def mistake(capsys: pytest.CaptureFixture[str], *args: str) -> str:
    """Run a job that must fail before it starts; returns its only line."""
    assert main(["segment", *args]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    assert line.startswith("specray segment: ")
    return line


def test_a_cluster_is_joined_by_its_address_not_by_that_of_its_job_server(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "")  # and set back
    assert main(["segment", *BASE, "--address", "10.0.0.1:6379", "--print-config"]) == 0
    assert os.environ["RAY_ADDRESS"] == "10.0.0.1:6379"
    assert "6379" not in capsys.readouterr().out  # it is no setting of the job
    assert main(["segment", *BASE, "--address=http://head:8265"]) == 2
    message = capsys.readouterr().err
    assert "ray job submit --address http://head:8265" in message and message.count("\n") == 1


def test_an_empty_prefix_is_one_clear_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    args = ["--output", str(tmp_path / "out"), "--backbone", "descriptor"]
    assert "nothing at" in mistake(capsys, "--input", str(tmp_path / "empty"), *args)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("uri", ["ftp://host/x", "s3://", "no/such/folder", "s3://Not_A_Bucket!"])
def test_a_wrong_uri_is_one_clear_line(
    uri: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    args = ["--output", str(tmp_path / "out"), "--backbone", "descriptor"]
    mistake(capsys, "--input", uri, *args)


def test_missing_credentials_are_one_clear_line(
    tmp_path: Path,
    s3_server: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    args = ["--output", str(tmp_path / "out"), "--backbone", "descriptor"]
    # another spelling of the endpoint, so that no client with credentials is remembered for it
    endpoint = s3_server.replace("127.0.0.1", "localhost")
    line = mistake(capsys, "--input", "s3://photos/2026", "--endpoint", endpoint, *args)
    assert "credentials" in line


def test_an_unknown_tag_of_published_weights_is_one_clear_line(
    photographs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    args = ["--input", str(photographs), "--output", "out"]
    line = mistake(capsys, *args, "--backbone", "vit_small_patch16_224.nosuch")
    assert "such as vit_small_patch16_224." in line


def test_an_endpoint_with_a_secret_is_refused_and_not_repeated(
    photographs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    args = ["--input", str(photographs), "--output", str(tmp_path / "out")]
    line = mistake(capsys, *args, "--endpoint", "https://AKIA:hunter2@host")
    assert "hunter2" not in line


def test_an_unknown_backbone_is_one_clear_line(
    photographs: Path, vit_tiny: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    args = ["--input", str(photographs), "--output", "out", "--weights", str(vit_tiny)]
    assert "vit_tiny_patch16" in mistake(capsys, *args, "--backbone", "vit_tiny_patch16_225")


def test_weights_that_do_not_fit_are_one_clear_line(
    photographs: Path, vit_tiny: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    args = ["--input", str(photographs), "--output", "out", "--weights", str(vit_tiny)]
    assert "do not fit" in mistake(capsys, *args, "--backbone", "vit_small_patch16_224")


def test_weights_that_are_no_weights_are_one_clear_line(
    photographs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    args = ["--input", str(photographs), "--output", "out", "--backbone", "vit_tiny_patch16_224"]
    for name in ("noise.safetensors", "noise.pth"):
        for noise in (b"noise" * 100, b"hello world", b"\x80\x02", b""):
            (tmp_path / name).write_bytes(noise)
            assert "safe to load" in mistake(capsys, *args, "--weights", str(tmp_path / name))
    assert "cannot read --weights" in mistake(
        capsys, *args, "--weights", str(tmp_path / "absent.pth")
    )


class Bomb:
    """Unpickling this would create a file."""

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path("bomb-went-off"),)


def test_a_malicious_checkpoint_is_refused_and_not_executed(
    photographs: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"state_dict": Bomb()}, tmp_path / "evil.pth")
    args = ["--input", str(photographs), "--output", "out", "--backbone", "vit_tiny_patch16_224"]
    assert "safe to load" in mistake(capsys, *args, "--weights", str(tmp_path / "evil.pth"))
    assert not (tmp_path / "bomb-went-off").exists()


def test_dinov3_needs_its_licence_accepted(
    photographs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = tmp_path / "w.safetensors"
    safetensors.torch.save_file({"a": torch.zeros(1)}, weights)
    args = ["--input", str(photographs), "--output", "out", "--weights", str(weights)]
    line = mistake(capsys, *args, "--backbone", "vit_small_patch16_dinov3.lvd1689m")
    assert "--accept-dinov3-licence" in line


@pytest.mark.usefixtures("ray_cluster")
def test_the_last_line_of_a_job_is_one_json_object(
    photographs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    args = ["--output", str(tmp_path / "out"), "--backbone", "descriptor", "--device", "cpu"]
    assert main(["segment", "--input", str(photographs), *args]) == 0
    captured = capsys.readouterr()
    result = json.loads(captured.out.splitlines()[-1])
    assert (result["images"], result["errors"]) == (2, 0)
    assert "2 / 2 images" in captured.err
    assert main(["report", "--output", str(tmp_path / "out")]) == 0
    page = Path(json.loads(capsys.readouterr().out.splitlines()[-1])["location"])
    assert page.read_text().startswith("<!doctype html>")
