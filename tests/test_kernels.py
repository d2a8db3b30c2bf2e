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
from specray import kernels
from specray.masks.resize import _resized, resize_labels

print(resize_labels(np.eye(2, dtype=np.int32), 4, 4).sum())
masks = kernels._room(_resized.py_func)
for room in (masks, masks.parent / "spectral"):
    print(kernels._folder(room))
"""


def run(package: Path, environment: dict[str, str]) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", CODE],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"PYTHONPATH": str(package)} | environment,
        cwd=package,
    )
    return done.stdout.split()


def test_code_is_kept_for_these_very_sources(tmp_path: Path) -> None:
    package = tmp_path / "lib"
    shutil.copytree(Path(specray.__file__).parent, package / "specray")
    cache = {"NUMBA_CACHE_DIR": str(tmp_path / "cache")}
    total, masks, spectral = run(package, cache)
    assert Path(masks).parent == Path(spectral).parent == tmp_path / "cache"
    assert masks != spectral and list(Path(masks).rglob("*.nbc"))
    assert run(package, cache) == [total, masks, spectral]
    source = package / "specray/masks/crf/compiled_filter.py"
    source.write_text(source.read_text() + "# changed\n")
    changed = run(package, cache)
    assert changed[1] != masks and changed[2] == spectral  # the other room's code is kept
    source = package / "specray/kernels.py"
    source.write_text(source.read_text() + "# changed\n")
    assert run(package, cache)[1:] != changed[1:]


def test_copies_of_the_same_sources_share_their_code_in_the_home_of_the_user(
    tmp_path: Path,
) -> None:
    home = tmp_path / "home"
    environment = {"NUMBA_CACHE_DIR": "", "HOME": str(home)}
    kept = []
    for name in ("one", "two"):
        package = tmp_path / name
        shutil.copytree(Path(specray.__file__).parent, package / "specray")
        _, masks, spectral = run(package, environment)
        assert Path(masks).parent == Path(spectral).parent == home / ".cache/specray"
        kept.append({path: path.stat().st_mtime_ns for path in home.rglob("*.nb[ci]")})
    assert kept[0] and kept[0] == kept[1]  # nothing was compiled again


def test_without_a_home_code_is_kept_beside_the_sources_of_its_room(tmp_path: Path) -> None:
    package, nowhere = tmp_path / "lib", tmp_path / "file"
    shutil.copytree(Path(specray.__file__).parent, package / "specray")
    nowhere.write_text("")
    _, masks, spectral = run(package, {"NUMBA_CACHE_DIR": "", "HOME": str(nowhere)})
    assert Path(masks).parent == package / "specray/masks/__pycache__"
    assert Path(spectral).parent == package / "specray/spectral/__pycache__"


def test_without_a_place_to_keep_it_code_is_compiled_each_time(tmp_path: Path) -> None:
    nowhere = tmp_path / "file"
    nowhere.write_text("")  # no folder can be made in it, whoever asks
    printed = run(Path(specray.__file__).parents[1], {"NUMBA_CACHE_DIR": str(nowhere)})
    assert printed == ["8", "None", "None"]
