"""Fixtures that every room's tests share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.forking import forking

pytest_plugins = ("tests.s3",)

ROOT = Path(__file__).resolve().parents[1]

# Before anything imports Ray, and inherited by all of its processes.
os.environ |= {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AUTH_MODE": "disabled",
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
    "RAY_DATA_EXECUTION_NO_PROGRESS_TIMEOUT_S": "300",
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.2",  # it takes reports of its workers no sooner
    # Tests in parallel share the cores: those of Ray would starve beside those that compute.
    "RAY_worker_niceness": "0",
    "OMP_WAIT_POLICY": "passive",
}

LONGEST = (
    "tests/faults/test_training_kills.py",
    "tests/faults/test_kills.py",
    "tests/faults/",
    "tests/pipelines/",
    "tests/masks/crf/",
    "tests/test_",
)
"""Where to begin with parallel workers, so that none ends long after the others."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Take the longest files first."""
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: [not item.nodeid.startswith(place) for place in LONGEST])


@pytest.fixture(scope="session")
def assets() -> Path:
    """Real images with ground truth and a trained ViT-Tiny; never part of the project."""
    path = Path(os.environ.get("SPECRAY_ASSETS", ROOT.parent / "shared"))
    if not (path / "weights").is_dir():
        pytest.skip(f"no assets at {path}: set SPECRAY_ASSETS to the folder of images and weights")
    return path


@pytest.fixture(scope="session")
def vit_tiny(assets: Path) -> Path:
    """The weights of ``vit_tiny_patch16_224``."""
    (path,) = (assets / "weights" / "vit_tiny").glob("*.safetensors")
    return path


@pytest.fixture(scope="session")
def ray_cluster(s3_server: str) -> Iterator[None]:
    """Ray on this machine, once for all tests; its processes know the S3 server's credentials."""
    import ray

    from specray.pipelines.cluster import start_local

    with forking():
        start_local(3, object_store_memory=256 * 2**20)
    yield
    ray.shutdown()
