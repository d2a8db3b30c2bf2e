"""What a person may choose about PriMaPs-EM."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from specray.checks import at_least, share

Start = Literal["proposals", "directions", "centres"]
KMeans = Literal["none", "sgd", "lloyd"]
Weighting = Literal["proposals", "pixels"]


@dataclass(frozen=True)
class EMConfig:
    """How prototypes are fitted to proposals (PriMaPs sections 3.1 and 3.2).

    Parameters
    ----------
    classes
        Number of prototypes K; the paper has 27 on Cityscapes and COCO-Stuff, 3 on Potsdam.
    start
        `proposals`: k-means of the proposals, each of which counts the same whatever its size;
        `directions`: the first K principal directions of all features, as in the paper; `centres`:
        those of the --projection that the features were made with, as the paper has it on top of
        other methods.
    kmeans
        Cosine k-means of all patches before EM: `sgd`, by Adam, as in the paper; `lloyd`, whole
        passes; `none`.
    kmeans_steps
        Batches of `sgd`, or most passes of `lloyd`. The paper's two epochs are 184 batches on
        Cityscapes; a number of batches does not depend on how large the dataset is.
    em_steps
        Batches of EM; the paper's 50 epochs are 4,600 on Cityscapes.
    batch
        Images of a batch, of all workers together.
    learning_rate
        Of Adam, constant.
    weighting
        `proposals`: every proposal weighs the same in the loss; `pixels`: every pixel does, as in
        the paper: what is large then takes over the classes of what is small.
    focal
        Exponent gamma of the weight ``(1 - share)`` of a class by its mean softmax.
    momentum
        Decay of the momentum prototypes, reached by warming up.
    momentum_every
        Batches from one of their updates to the next.
    """

    classes: int = 27
    start: Start = "proposals"
    kmeans: KMeans = "none"
    kmeans_steps: int = 250
    em_steps: int = 200
    batch: int = 32
    learning_rate: float = 5e-3
    weighting: Weighting = "proposals"
    focal: float = 2.0
    momentum: float = 0.98
    momentum_every: int = 10

    def __post_init__(self) -> None:
        at_least(2, self, "classes")
        at_least(0, self, "kmeans_steps", "em_steps", "focal", "learning_rate")
        at_least(1, self, "batch", "momentum_every")
        share(self, "momentum")
