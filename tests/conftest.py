"""Fixtures that every room's tests share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def assets() -> Path:
    """Real images with ground truth and a trained ViT-Tiny; never part of the project."""
    path = Path(os.environ.get("SPECRAY_ASSETS", ROOT.parent / "shared"))
    if not (path / "weights").is_dir():
        pytest.skip(f"no assets at {path}: set SPECRAY_ASSETS to the folder of images and weights")
    return path
