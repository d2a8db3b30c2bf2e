"""Runs that the tests of others begin with, on the descriptor: no weights needed."""

from __future__ import annotations

from pathlib import Path

import pytest

from specray.backbones import BackboneConfig
from specray.pipelines.config import RunConfig, SegmentConfig
from specray.pipelines.segment import run_segment
from tests.pipelines.photographs import write_photographs
from tests.pipelines.segmenter.cases import write_encoder, write_labels

IMAGES = 27


@pytest.fixture(scope="session")
def proposed(ray_cluster: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its output; the photographs are beside it in ``in``, one of them broken."""
    folder = tmp_path_factory.mktemp("proposed")
    write_photographs(folder / "in", IMAGES)
    (folder / "in" / "a" / "broken.jpg").write_bytes(b"\xff\xd8\xff")
    result = run_segment(
        SegmentConfig(
            str(folder / "in"),
            str(folder / "out"),
            methods=("primaps",),
            keep=("views",),
            features=BackboneConfig(backbone="descriptor"),
            run=RunConfig(shard_size=8, batch_size=4, num_workers=1),
        )
    )
    assert (result["images"], result["errors"]) == (IMAGES + 1, 1)
    return folder / "out"


@pytest.fixture(scope="session")
def labelled(ray_cluster: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output of a predict run, see `write_labels`."""
    return write_labels(tmp_path_factory.mktemp("labelled"))


@pytest.fixture(scope="session")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The weights of the encoder."""
    return write_encoder(tmp_path_factory.mktemp("encoder") / "encoder.safetensors")
