"""Where prototypes begin: spherical k-means of proposals, each counted once whatever its size."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from specray.semantics.kmeans import cluster
from specray.semantics.space import fit_space

RESTARTS: Final = 10
"""Of which the best is taken."""
ITERATIONS: Final = 100
"""At most, of each."""


def proposal_prototypes(
    features: NDArray[np.float32], classes: int, seeds: Sequence[int]
) -> NDArray[np.float64]:
    """Prototypes from the mean features of proposals.

    Parameters
    ----------
    features
        (N, C), whose place is taken.
    classes
        K.
    seeds
        (R,) of the runs.

    Returns
    -------
    (R, K, C) of unit length.

    Raises
    ------
    UserError
        There are fewer distinct proposals than classes.
    """
    space = fit_space(features, spherical=True, pca=None, whiten=False)
    points = space.project(features, features)
    found = [
        cluster(
            points,
            classes,
            seed=seed,
            restarts=RESTARTS,
            iterations=ITERATIONS,
            spherical=True,
            bound=space.bound,
        ).centroids
        for seed in seeds
    ]
    return np.stack(found).astype(np.float64)
