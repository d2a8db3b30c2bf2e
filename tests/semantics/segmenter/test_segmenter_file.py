"""Files of segmenters: what is written is read, and nothing else is."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from specray.errors import UserError
from specray.semantics.segmenter.config import NetworkConfig, Norm
from specray.semantics.segmenter.networks import build_network
from specray.semantics.segmenter.segmenter_file import Segmenter
from tests.semantics.segmenter.cases import ENCODERS, batch


def segmenter(norm: Norm = "group") -> Segmenter:
    config = NetworkConfig("deeplab", ENCODERS["deeplab"], trainable=2, norm=norm)
    network = build_network(config, 3, None, seed=4)
    return Segmenter.of(
        network, config, (0, 5, 9), {5: "road"}, {"steps": 7}, {"labels": "file:///labels"}
    )


WRITTEN = segmenter()
DATA = WRITTEN.to_bytes()


@pytest.mark.parametrize("norm", ["group", "batch"])
def test_a_network_that_is_read_gives_the_same_logits(norm: Norm) -> None:
    written = segmenter(norm)
    read = Segmenter.from_bytes(written.to_bytes())
    assert (read.network, read.ids, read.names) == (written.network, (0, 5, 9), {5: "road"})
    assert (read.training, read.provenance) == ({"steps": 7}, {"labels": "file:///labels"})
    images, _, _ = batch(1)
    with torch.inference_mode():
        assert torch.equal(read.build()(images), written.build()(images))
        network = build_network(written.network, 3, None, seed=4)
        assert torch.equal(read.build()(images), network(images))


def test_equal_contents_give_equal_bytes() -> None:
    assert segmenter().to_bytes() == DATA
    assert Segmenter.from_bytes(DATA).to_bytes() == DATA


@pytest.mark.parametrize("place", [4, 30, 200, 5000, len(DATA) // 2, -3])
def test_a_damaged_file_is_refused(place: int) -> None:
    data = bytearray(DATA)
    data[place] ^= 0xFF
    with pytest.raises(UserError, match="make it again"):
        Segmenter.from_bytes(bytes(data))


@pytest.mark.parametrize("data", [b"", b"{}", b"PK\x03\x04", bytes(1000), DATA[:-1]])
def test_another_file_is_refused(data: bytes) -> None:
    with pytest.raises(UserError, match="make it again"):
        Segmenter.from_bytes(data)


def test_a_file_that_contradicts_itself_is_refused() -> None:
    name = next(iter(WRITTEN.state))
    broken = {**WRITTEN.state, name: np.full_like(WRITTEN.state[name], np.nan)}
    with pytest.raises(UserError, match="make it again"):
        Segmenter.from_bytes(replace(WRITTEN, state=broken).to_bytes())
    for wrong in (replace(WRITTEN, ids=(0, 1)), replace(WRITTEN, state={name: broken[name] * 0})):
        with pytest.raises(UserError, match="make it again"):
            Segmenter.from_bytes(wrong.to_bytes()).build()
