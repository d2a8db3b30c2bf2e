"""What is trained on, and with."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.pipelines.segmenter.cases import write_encoder, write_labels


@pytest.fixture(scope="session")
def labelled(ray_cluster: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output of a predict run, see `write_labels`."""
    return write_labels(tmp_path_factory.mktemp("labelled"))


@pytest.fixture(scope="session")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The weights of the encoder."""
    return write_encoder(tmp_path_factory.mktemp("encoder") / "encoder.safetensors")
