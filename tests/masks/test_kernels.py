"""Where compiled functions keep their machine code."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import specray

CODE = """
import numpy as np
from specray.masks import kernels
from specray.masks.resize import resize_labels

print(resize_labels(np.eye(2, dtype=np.int32), 4, 4).sum(), kernels._folder())
"""


def run(package: Path, environment: dict[str, str]) -> tuple[str, str]:
    done = subprocess.run(
        [sys.executable, "-c", CODE],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"PYTHONPATH": str(package)} | environment,
        cwd=package,
    )
    total, _, folder = done.stdout.strip().partition(" ")
    return total, folder


def test_code_is_kept_for_these_very_sources(tmp_path: Path) -> None:
    package = tmp_path / "lib"
    shutil.copytree(Path(specray.__file__).parent, package / "specray")
    cache = {"NUMBA_CACHE_DIR": str(tmp_path / "cache")}
    total, folder = run(package, cache)
    assert Path(folder).parent == tmp_path / "cache" and list(Path(folder).rglob("*.nbc"))
    assert run(package, cache) == (total, folder)
    source = package / "specray/masks/crf/compiled_filter.py"
    source.write_text(source.read_text() + "# changed\n")
    assert run(package, cache)[1] != folder


def test_without_a_place_to_keep_it_code_is_compiled_each_time(tmp_path: Path) -> None:
    nowhere = tmp_path / "file"
    nowhere.write_text("")  # no folder can be made in it, whoever asks
    total, folder = run(Path(specray.__file__).parents[1], {"NUMBA_CACHE_DIR": str(nowhere)})
    assert (total, folder) == ("8", "None")
