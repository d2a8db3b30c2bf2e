"""Files of prototypes: what is written is read, and nothing else is."""

from __future__ import annotations

import numpy as np
import pytest

from specray.errors import UserError
from specray.semantics.prototypes.classifier import Classifier


def classifier() -> Classifier:
    momentum, running = np.random.default_rng(0).random((2, 3, 8)).astype(np.float32)
    return Classifier(momentum, running, {"backbone": "vit"}, {"seed": 0})


def test_what_is_written_is_read() -> None:
    written = classifier()
    read = Classifier.from_bytes(written.to_bytes())
    np.testing.assert_array_equal(read.momentum, written.momentum)
    np.testing.assert_array_equal(read.running, written.running)
    assert (read.features, read.provenance) == (written.features, written.provenance)
    assert read.classes == 3
    assert read.to_bytes() == written.to_bytes()


@pytest.mark.parametrize("place", [4, 30, 200, -3])
def test_a_damaged_file_is_refused(place: int) -> None:
    data = bytearray(classifier().to_bytes())
    data[place] ^= 0xFF
    with pytest.raises(UserError, match="make them again"):
        Classifier.from_bytes(bytes(data))


@pytest.mark.parametrize("data", [b"", b"{}", b"PK\x03\x04", bytes(1000)])
def test_another_file_is_refused(data: bytes) -> None:
    with pytest.raises(UserError, match="make them again"):
        Classifier.from_bytes(data)
