"""The front door: grids, resizing, colour, and real photographs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse.linalg
import timm
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor

from specray.spectral import (
    SpectralConfig,
    color_knn_affinity,
    cosine_affinity,
    decompose,
    laplacian_eigenpairs,
    orient,
    resize_features,
)

PATCH = 16


@pytest.fixture(scope="module")
def photographs(assets: Path) -> Tensor:
    """``(4, 3, 480, 848)`` uint8: frames of four DAVIS sequences, cropped to whole patches."""
    sequences = sorted((assets / "data/davis2016_val/images").iterdir())[::5]
    frames = [Image.open(sorted(folder.glob("*.jpg"))[0]).convert("RGB") for folder in sequences]
    return torch.stack(
        [torch.from_numpy(np.array(f)).permute(2, 0, 1)[:, :480, :848] for f in frames]
    )


@pytest.fixture(scope="module")
def keys(assets: Path, photographs: Tensor) -> Tensor:
    """``(4, 1590, 192)`` keys of the last block of a trained ViT-Tiny/16."""
    model: Any = timm.create_model("vit_tiny_patch16_224", dynamic_img_size=True).eval()
    (weights,) = (assets / "weights/vit_tiny").glob("*.safetensors")
    model.load_state_dict({name: value.float() for name, value in load_file(weights).items()})
    projections: list[Tensor] = []
    model.blocks[-1].attn.qkv.register_forward_hook(
        lambda _module, _inputs, output: projections.append(output)
    )
    with torch.inference_mode():
        model.forward_features((photographs.float() / 255 - 0.5) / 0.5)
    channels = projections[0].shape[-1] // 3
    return projections[0][:, 1:, channels : 2 * channels].clone()


def test_real_photographs_get_the_eigenpairs_of_arpack(keys: Tensor) -> None:
    pairs, grid = decompose(keys, (30, 53), PATCH, SpectralConfig())
    assert grid == (30, 53)
    assert not pairs.dense_fallback.any()
    unit = torch.nn.functional.normalize(keys.double(), dim=-1)
    for features, values, vectors in zip(unit, pairs.values, pairs.vectors, strict=True):
        weights = (features @ features.T).clamp_min(0)
        root = weights.sum(-1).sqrt()
        top, columns = scipy.sparse.linalg.eigsh(
            (weights / root / root[:, None]).numpy(), k=5, which="LA"
        )
        assert np.abs(np.sort(1 - top) - values.numpy()).max() < 1e-5
        exact = torch.from_numpy(columns[:, ::-1].T.copy()) / root
        assert (((vectors.double() * root) * (exact * root)).sum(-1).abs() > 0.9999).all()
        fiedler = orient(exact)[1]
        certain = fiedler.abs() > 1e-4 * fiedler.abs().max()
        assert torch.equal((vectors[1] > 0)[certain], (fiedler > 0)[certain])


def test_a_real_photograph_gets_the_same_vectors_alone_and_in_a_batch(keys: Tensor) -> None:
    together, _ = decompose(keys, (30, 53), PATCH, SpectralConfig())
    for index in range(len(keys)):
        alone, _ = decompose(keys[index : index + 1], (30, 53), PATCH, SpectralConfig())
        assert torch.allclose(alone.vectors[0], together.vectors[index], atol=1e-5)
        assert torch.allclose(alone.values[0], together.values[index], atol=1e-6)


def test_colour_steers_the_eigenvectors_of_a_real_photograph(
    keys: Tensor, photographs: Tensor
) -> None:
    plain, _ = decompose(keys, (30, 53), PATCH, SpectralConfig())
    config = SpectralConfig(color_lambda=10.0)
    coloured, grid = decompose(keys, (30, 53), PATCH, config, photographs)
    assert grid == (30, 53)
    assert torch.isfinite(coloured.vectors).all()
    assert (coloured.residuals < 1e-5).all()
    assert (coloured.vectors[:, 1] - plain.vectors[:, 1]).abs().amax(-1).min() > 1e-4


def test_colour_is_added_to_the_feature_affinity_with_its_weight() -> None:
    features = torch.randn(1, 100, 8, generator=torch.Generator().manual_seed(0))
    pixels = torch.randint(256, (1, 3, 10, 10), generator=torch.Generator().manual_seed(1))
    images = pixels.to(torch.uint8).repeat_interleave(4, 2).repeat_interleave(4, 3)
    pairs, _ = decompose(features, (10, 10), 4, SpectralConfig(color_lambda=0.5), images)
    small = torch.nn.functional.interpolate(
        images.float() / 255, (10, 10), mode="bilinear", antialias=True
    )
    expected = laplacian_eigenpairs(cosine_affinity(features) + 0.5 * color_knn_affinity(small), 5)
    assert torch.allclose(pairs.values, expected.values, atol=1e-5)


@pytest.mark.parametrize(("factor", "grid"), [(8, (8, 12)), (16, (4, 6)), (20, (3, 4))])
def test_the_downsample_factor_sets_the_grid_of_the_eigenvectors(
    factor: int, grid: tuple[int, int]
) -> None:
    features = torch.randn(2, 24, 8, generator=torch.Generator().manual_seed(0))
    config = SpectralConfig(eigenvectors=3, downsample_factor=factor)
    pairs, found = decompose(features, (4, 6), PATCH, config)
    assert found == grid
    assert pairs.vectors.shape == (2, 3, grid[0] * grid[1])


def test_resized_features_are_not_normalised_again() -> None:
    features = torch.tensor([[[3.0, 0.0], [0.0, 5.0]]])  # a 1 x 2 grid, at right angles
    resized = resize_features(features, (1, 2), (1, 4))[0]
    expected = torch.tensor([[1.0, 0.0], [0.75, 0.25], [0.25, 0.75], [0.0, 1.0]])
    assert torch.allclose(resized, expected)


def test_half_precision_features_are_computed_in_single_precision() -> None:
    features = torch.randn(1, 100, 8, generator=torch.Generator().manual_seed(0)).half()
    affinity = cosine_affinity(features)
    assert affinity.dtype == torch.float32
    assert torch.equal(affinity, cosine_affinity(features.float()))


def test_what_cannot_be_decomposed_is_refused_with_a_reason() -> None:
    features = torch.randn(1, 24, 8)
    with pytest.raises(ValueError, match="do not fill"):
        decompose(features, (5, 5), PATCH, SpectralConfig())
    with pytest.raises(ValueError, match="needs the images"):
        decompose(features, (4, 6), PATCH, SpectralConfig(color_lambda=1.0))
    for wrong in ({"eigenvectors": 1}, {"downsample_factor": 0}, {"color_lambda": -1.0}):
        with pytest.raises(ValueError, match="must"):
            SpectralConfig(**wrong)
