"""Compile the compiled parts once: ``python -m specray.warm``.

numba keeps what it has compiled in the cache folder of the user, or beside the sources where there
is none. Worth a line in the recipe of a container image: pymatting compiles for a minute
when it is first imported, the CRF for some 20 seconds when it is first used.
"""

from __future__ import annotations

import numpy as np
import torch

from specray.masks import (
    ImageGeometry,
    PrincipalConfig,
    RefineConfig,
    Refiner,
    SuperpixelConfig,
    described,
    matte,
    principal_segments,
    superpixel_segments,
    tree_instances,
)
from specray.masks.resize import resize_labels
from specray.spectral import pairwise_affinity


def warm() -> None:
    """Refine and cut out something small; compare, merge, describe and propose a few patches."""
    image = np.zeros((48, 48, 3), np.uint8)
    image[16:32, 16:32] = 255
    inside = image[..., 0] > 0
    quarters = np.arange(48)[:, None] // 24 * 2 + np.arange(48) // 24
    features, grid = torch.eye(9), (3, 3)
    geometry = ImageGeometry(48, 48, 48, 48, 16, *grid)
    for refine in ("fast", "crf"):
        refiner = Refiner(image, RefineConfig(refine))
        principal_segments(features[None], grid, [geometry], PrincipalConfig(), [refiner])
        for labels in (inside.astype(np.int64), quarters):  # one free label, and more
            resize_labels(refiner(labels), 50, 50)
    matte(image, inside)
    pairwise_affinity(torch.eye(4)[None], "boc")
    tree_instances(features, grid)
    for segments in superpixel_segments(features[None], grid, [geometry], SuperpixelConfig(2)):
        described(segments, features, geometry)


if __name__ == "__main__":
    warm()
