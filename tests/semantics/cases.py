"""Points with known clusters."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from specray.semantics import ClusterConfig, Codebook, Medoid, fit

FEATURES = {"backbone": "tiny", "source": "superpixels", "blocks": [11]}


def unit(points: NDArray[np.floating]) -> NDArray[np.float32]:
    lengths = np.linalg.norm(points, axis=1, keepdims=True)
    return np.ascontiguousarray(points / lengths, np.float32)


def blobs(
    classes: int, count: int, *, dimensions: int = 32, spread: float = 0.5, seed: int = 0
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Unit points around random directions, and which direction each belongs to."""
    rng = np.random.default_rng(seed)
    centres = unit(rng.standard_normal((classes, dimensions)))
    labels = rng.integers(classes, size=count)
    noise = spread / np.sqrt(dimensions) * rng.standard_normal((count, dimensions))
    return unit(centres[labels] + noise), labels


def codebook(
    points: NDArray[np.floating], classes: int, seed: int = 0, **options: object
) -> Codebook:
    config = ClusterConfig(classes=classes, restarts=3, **options)  # type: ignore[arg-type]
    return fit(points, config=config, seed=seed, features=FEATURES, medoid=medoid)


def medoid(position: int) -> Medoid:
    return Medoid(f"image {position}.jpg", position % 7, (0.0, 1.5, 2.0, float(position)))
