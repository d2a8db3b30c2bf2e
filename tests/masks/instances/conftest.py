"""Features of a real photograph, and one thread, as in the tasks that make masks."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from tests.spectral.conftest import real_keys as real_keys


@pytest.fixture(autouse=True, scope="package")
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
