"""Which features are trained on, made by the worker that is to use them."""

from __future__ import annotations

from dataclasses import dataclass

from specray.backbones import BackboneConfig, build_backbone
from specray.backbones.config import Jitter
from specray.errors import UserError
from specray.pipelines.training.computed import ComputedFeatures
from specray.pipelines.training.samples import KeptFeatures, Pair
from specray.pipelines.weights import load_weights
from specray.sources import Store


@dataclass(frozen=True)
class Recomputed:
    """How features are computed anew."""

    images: Store
    features: BackboneConfig
    weights_sha256: str | None
    endpoint: str | None
    seed: int
    jitter: Jitter
    max_pixels: int
    image_size: int | None


@dataclass(frozen=True)
class PairFactory:
    """Builds what gives features; None takes those that are kept."""

    recomputed: Recomputed | None = None

    def __call__(self, device: str) -> Pair:
        """Load the weights, if any are needed.

        Raises
        ------
        UserError
            The weights are not those of the segment run.
        """
        how = self.recomputed
        if how is None:
            return KeptFeatures()
        weights = load_weights(how.features, how.endpoint)
        if weights.sha256 != how.weights_sha256:
            raise UserError(
                f"{weights.source} are not the weights of the segment run; pass its --weights"
            )
        backbone = build_backbone(how.features, weights.data, weights.source, device)
        return ComputedFeatures(
            how.images, backbone, how.seed, how.jitter, how.max_pixels, how.image_size
        )
