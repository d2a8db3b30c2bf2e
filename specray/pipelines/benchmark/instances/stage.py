"""Speed of what tells instances apart, against SciPy and against the reference's stage."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from scipy.spatial.distance import cdist
from torch import Tensor

from specray.backbones import Backbone
from specray.masks import EmbeddingConfig, spectral_instances, tree_instances
from specray.pipelines.benchmark.images import BUDGET
from specray.pipelines.benchmark.instances.reference import reference_instances
from specray.pipelines.benchmark.timing import alternate
from specray.sources import decode
from specray.spectral import pairwise_affinity

CHANNELS: Final = 60
"""That deviation-based channel reduction leaves: the number of the released code."""
CLUSTERS: Final = 5
"""Instances that the reference is told to find, and so is ours."""


def kernel_rows(patches: Sequence[int], repeats: int) -> Iterator[dict[str, Any]]:
    """The affinity BoC against SciPy's two distances alone, in float64, which it is made of.

    Parameters
    ----------
    patches
        Numbers of rows.
    repeats
        Timed calls of each.
    """
    for count in patches:
        generator = torch.Generator().manual_seed(0)
        points = F.normalize(torch.randn(count, CHANNELS, generator=generator), dim=-1)
        rows = points.double().numpy()
        compared = alternate(
            partial(pairwise_affinity, points[None], "boc"),
            partial(_both_distances, rows),
            repeats,
            name="BoC, to cdist",
        )
        yield asdict(compared) | {"patches": count, "channels": CHANNELS, "threads": 1}


def _both_distances(rows: NDArray[np.float64]) -> None:
    for metric in ("braycurtis", "chebyshev"):
        cdist(rows, rows, metric)


def stage_rows(
    paths: Sequence[Path], backbone: Backbone, sizes: Sequence[tuple[int, int]], repeats: int
) -> Iterator[dict[str, Any]]:
    """From features to instances: ours, spectral and tree, against the reference's stage.

    Parameters
    ----------
    paths
        Photographs; a timed call is all of them, as the reference's iterations depend on the image.
    backbone
        Of the features; not timed.
    sizes
        (width, height) to which the photographs are resized.
    repeats
        Timed calls of each.
    """
    for width, height in sizes:
        grid = (height // backbone.patch_size, width // backbone.patch_size)
        images = [backbone(_pixels(path, grid, backbone.patch_size))[0] for path in paths]
        same = EmbeddingConfig(deviation_share=CHANNELS / images[0].shape[1])
        stages = {
            "spectral": partial(
                spectral_instances, grid=grid, count=CLUSTERS, seed=0, embedding=same
            ),
            "tree": partial(tree_instances, grid=grid),
        }
        reference = partial(
            reference_instances, grid=grid, clusters=CLUSTERS, deviation_channels=CHANNELS
        )
        setting = {"images": len(images), "patches": grid[0] * grid[1], "threads": 1}
        for name, ours in stages.items():
            compared = alternate(
                partial(_of_all, ours, images),
                partial(_of_all, reference, images),
                repeats,
                name=f"{name}, to reference",
            )
            yield asdict(compared) | setting


def _of_all(stage: Callable[[Tensor], object], images: Sequence[Tensor]) -> None:
    for features in images:
        stage(features)


def _pixels(path: Path, grid: tuple[int, int], patch: int) -> Tensor:
    """(1, 3, H, W) uint8, whole patches."""
    photograph = Image.fromarray(decode(path.read_bytes(), max_pixels=BUDGET).pixels)
    resized = photograph.resize((grid[1] * patch, grid[0] * patch))
    return torch.from_numpy(np.array(resized)).permute(2, 0, 1)[None]
