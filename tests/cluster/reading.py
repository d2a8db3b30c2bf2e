"""What the tests of `cluster/` read it with."""

from __future__ import annotations

import re
import shlex
import tomllib
from pathlib import Path
from typing import Any, Final

import yaml

from specray.cli import main
from tests.conftest import ROOT

CLUSTER: Final = ROOT / "cluster"


def read(name: str) -> Any:
    """A file of YAML in `cluster/`."""
    return yaml.safe_load((CLUSTER / name).read_text())


def version() -> str:
    """Of specray."""
    return str(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"])


def pinned(package: str) -> str:
    """The version of a package in constraints.txt."""
    found = re.search(rf"^{package}==(\S+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    assert found
    return found[1]


def check_job(command: str) -> None:
    """A job's command is understood by its own parser; prints its configuration."""
    words = shlex.split(command)
    if words[0] == "specray":
        args = words[1:]
    else:
        assert words[0] == "python"
        assert (ROOT / words[1]).is_file(), words[1]
        args = [Path(words[1]).stem, *words[2:]]
    assert main([*args, "--print-config"]) == 0
