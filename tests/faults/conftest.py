"""What several fault tests start from."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.command import COUNT, in_process
from tests.pipelines.photographs import write_photographs


@pytest.fixture(scope="session")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`COUNT` small photographs; copy them to change them."""
    folder = tmp_path_factory.mktemp("photographs")
    write_photographs(folder, COUNT)
    return folder


@pytest.fixture(scope="session")
def calm(photographs: Path, tmp_path_factory: pytest.TempPathFactory, ray_cluster: None) -> Path:
    """The output of an undisturbed run over them."""
    output = tmp_path_factory.mktemp("calm")
    in_process(photographs, output)
    return output
