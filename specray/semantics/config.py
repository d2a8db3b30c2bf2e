"""What a person may choose about the clustering of a dataset's features into classes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from specray.checks import at_least


@dataclass(frozen=True)
class ClusterConfig:
    """How features become classes: k-means over the whole dataset.

    Parameters
    ----------
    classes
        Number of classes K. `auto` tries every K from --min-classes to --max-classes, 21 fits of up
        to 20,000 points each, and takes the one whose classes are found again best among those at
        the elbow of the inertia.
    min_classes
        Smallest K that `auto` tries.
    max_classes
        Largest K that `auto` tries. The elbow lies between the two ends, so give a range that
        surely contains what you look for.
    spherical
        Compare features by angle: centroids are brought to length 1, as the features are.
    pca
        Principal components to which the features are reduced first; absent = all dimensions.
    whiten
        Scale the principal components to equal variance. Needs --pca.
    restarts
        Independent runs of k-means; the one of least inertia is kept, their agreement is reported.
    iterations
        Largest number of Lloyd iterations of each run; a run that has converged ends earlier.
    fit_points
        Points kept for the fit, a seeded uniform sample where there are more; all are labelled in
        any case. Each takes 4 bytes of memory per dimension of the feature (1,000,000 points of
        384 dimensions: 1.5 GB), and as many per component with --pca.
    """

    classes: int | Literal["auto"] = "auto"
    min_classes: int = 2
    max_classes: int = 30
    spherical: bool = True
    pca: int | None = None
    whiten: bool = False
    restarts: int = 5
    iterations: int = 50
    fit_points: int = 1_000_000

    def __post_init__(self) -> None:
        if self.classes != "auto":
            at_least(1, self, "classes")
        at_least(2, self, "min_classes")
        if self.max_classes < self.min_classes:
            raise ValueError(
                f"--max-classes {self.max_classes} is below --min-classes {self.min_classes}"
            )
        at_least(1, self, "pca", "restarts", "iterations", "fit_points")
        if self.whiten and self.pca is None:
            raise ValueError("--whiten needs --pca")
