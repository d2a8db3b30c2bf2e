"""Images, unaries and two oracles that the tests of the dense CRF share."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydensecrf.densecrf
import skimage.data
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate, one_hot

from specray.masks.crf import CRFParameters, label_energies


def photographs() -> Tensor:
    """(3, 60, 80, 3) crops of photographs."""
    corners = [
        (skimage.data.astronaut(), 30, 180),
        (skimage.data.coffee(), 120, 260),
        (skimage.data.chelsea(), 60, 150),
    ]
    crops = [np.asarray(image)[y : y + 120 : 2, x : x + 160 : 2] for image, y, x in corners]
    return torch.from_numpy(np.stack(crops))


def noise(batch: int, height: int, width: int, seed: int = 0) -> Tensor:
    """(B, H, W, 3) images of random pixels."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (batch, height, width, 3), generator=generator).byte()


def shrunk(path: Path, short_side: int) -> Tensor:
    """(H, W, 3) image of a file, its short side at most `short_side`."""
    with Image.open(path) as image:
        factor = min(1, short_side / min(image.size))
        size = round(image.width * factor), round(image.height * factor)
        return torch.from_numpy(np.array(image.convert("RGB").resize(size)))


def random_energies(batch: int, labels: int, height: int, width: int, seed: int = 0) -> Tensor:
    """(B, L, H, W) energies with no pattern at all."""
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(batch, labels, height, width, generator=generator) * 4


def tile_labels(image: Tensor, labels: int, tile: int, seed: int = 0) -> Tensor:
    """(h, w) labels of the tiles of an image: the nearest of the colours of random tiles."""
    colours = image[tile // 2 :: tile, tile // 2 :: tile].double()
    flat = colours.flatten(0, 1)
    chosen = torch.randperm(len(flat), generator=torch.Generator().manual_seed(seed))[:labels]
    distances = torch.cdist(flat, flat[chosen])
    return distances.argmin(1).view(colours.shape[:2])


def sure_energies(image: Tensor, labels: int, tile: int) -> Tensor:
    """(L, H, W) energies as in DSM: the labels of the tiles, at 0.99."""
    height, width, _ = image.shape
    tiles = tile_labels(image, labels, tile)[None, None].double()
    return label_energies(interpolate(tiles, (height, width))[:, 0].long(), labels)[0]


def one_nat_energies(image: Tensor, labels: int, tile: int) -> Tensor:
    """(L, H, W) energies as in PriMaPs: log-softmax of the one-hot maps of the tiles, resized."""
    logits = one_hot(tile_labels(image, labels, tile), labels).permute(2, 0, 1)[None].float()
    resized = interpolate(logits.log_softmax(1), image.shape[:2], mode="bilinear")
    return -resized.softmax(1).clamp(1e-5, 1).log()[0]


def pydensecrf_marginals(image: Tensor, energies: Tensor, parameters: CRFParameters) -> Tensor:
    """(L, H, W) marginals of one image by Krähenbühl's code."""
    labels, height, width = energies.shape
    field = pydensecrf.densecrf.DenseCRF2D(width, height, labels)
    field.setUnaryEnergy(np.ascontiguousarray(energies.flatten(1).numpy()))
    field.addPairwiseGaussian(sxy=parameters.gaussian_xy, compat=parameters.gaussian_weight)
    field.addPairwiseBilateral(
        sxy=parameters.bilateral_xy,
        srgb=parameters.bilateral_rgb,
        rgbim=np.ascontiguousarray(image.numpy()),
        compat=parameters.bilateral_weight,
    )
    marginals = np.array(field.inference(parameters.crf_iterations), dtype=np.float32)
    return torch.from_numpy(marginals).view(labels, height, width)


def exact_kernel(features: NDArray[np.float64]) -> Tensor:
    """(N, N) normalised Gaussian kernel of (N, D) features over their deviations."""
    points = torch.from_numpy(features)
    kernel = torch.exp(-(torch.cdist(points, points) ** 2) / 2)
    root = kernel.sum(1).rsqrt()
    return root[:, None] * kernel * root


def brute_force_marginals(image: Tensor, energies: Tensor, parameters: CRFParameters) -> Tensor:
    """(L, H, W) marginals of one image with every pair of its pixels summed exactly."""
    labels, height, width = energies.shape
    y, x = np.mgrid[:height, :width].reshape(2, -1, 1)
    place = np.concatenate([x, y], axis=1).astype(float)
    colour = image.numpy().reshape(-1, 3).astype(float)
    p = parameters
    both = np.concatenate([place / p.bilateral_xy, colour / p.bilateral_rgb], axis=1)
    kernel = p.bilateral_weight * exact_kernel(both)
    kernel += p.gaussian_weight * exact_kernel(place / p.gaussian_xy)
    unary = energies.flatten(1).double()
    marginals = (-unary).softmax(0)
    for _ in range(p.crf_iterations):
        marginals = (-unary + marginals @ kernel).softmax(0)
    return marginals.float().view(labels, height, width)
