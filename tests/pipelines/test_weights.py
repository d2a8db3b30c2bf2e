"""Weights from wherever they are."""

from __future__ import annotations

import hashlib
from pathlib import Path

import boto3
import pytest
import safetensors.torch
import torch

from specray.backbones import BackboneConfig, parse_weights
from specray.errors import UserError
from specray.pipelines.weights import Weights, for_workers, load_weights


def test_weights_come_from_a_bucket_with_their_sha256(s3_server: str, s3_bucket: str) -> None:
    data = safetensors.torch.save({"a": torch.arange(3.0)})
    client = boto3.client("s3", endpoint_url=s3_server)
    client.put_object(Bucket=s3_bucket, Key="models/w.safetensors", Body=data)
    uri = f"s3://{s3_bucket}/models/w.safetensors"
    weights = load_weights(BackboneConfig("vit_tiny_patch16_224", uri), s3_server)
    assert weights == Weights(data, uri, hashlib.sha256(data).hexdigest())
    assert weights.data is not None
    assert parse_weights(weights.data, uri)["a"].tolist() == [0, 1, 2]


def test_the_descriptor_needs_none_and_takes_none() -> None:
    assert load_weights(BackboneConfig("descriptor"), None) == Weights()
    with pytest.raises(UserError, match="takes no weights"):
        load_weights(BackboneConfig("descriptor", "w.safetensors"), None)


def test_without_a_way_to_the_hub_the_line_names_two_remedies(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(UserError, match=r"--weights .* --backbone descriptor") as caught:
        load_weights(BackboneConfig("vit_large_patch16_224.orig_in21k"), None)
    assert "\n" not in str(caught.value)


def test_a_model_without_published_weights_says_so() -> None:
    with pytest.raises(UserError, match="publishes no weights for vit_tiny_patch16_225"):
        load_weights(BackboneConfig("vit_tiny_patch16_225"), None)


def test_workers_find_files_from_whatever_folder_they_run_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    named = BackboneConfig("vit", weights="w.safetensors", projection="s3://heads/stego.ckpt")
    found = for_workers(named)
    assert found.weights == str(tmp_path / "w.safetensors")
    assert found.projection == "s3://heads/stego.ckpt"
    assert for_workers(BackboneConfig("descriptor")) == BackboneConfig("descriptor")
