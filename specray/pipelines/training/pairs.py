"""Which features are trained on, made by the worker that is to use them."""

from __future__ import annotations

from dataclasses import dataclass

from specray.backbones import Backbone, BackboneConfig, Projection, build_backbone, projected
from specray.backbones.config import Jitter
from specray.errors import UserError
from specray.pipelines.training.computed import ComputedFeatures
from specray.pipelines.training.samples import KeptFeatures, Pair
from specray.pipelines.weights import load_projection, load_weights
from specray.sources import Store


@dataclass(frozen=True)
class Recomputed:
    """How features are computed anew, as the segment run has done."""

    images: Store
    features: BackboneConfig
    weights_sha256: str | None
    projection_sha256: str | None
    endpoint: str | None
    seed: int
    jitter: Jitter
    max_pixels: int
    image_size: int | None

    def backbone(self, device: str) -> Backbone:
        """The one of the segment run, with its projection.

        Raises
        ------
        UserError
            The files are not those of the segment run.
        """
        weights = load_weights(self.features, self.endpoint)
        if weights.sha256 != self.weights_sha256:
            raise UserError(
                f"{weights.source} are not the weights of the segment run; pass its --weights"
            )
        built = build_backbone(self.features, weights.data, weights.source, device)
        return projected(built, self.projection())

    def projection(self) -> Projection | None:
        """The one of the segment run, if it had one; raises as `backbone`."""
        found = load_projection(self.features.projection, self.endpoint)
        if (None if found is None else found.sha256) != self.projection_sha256:
            raise UserError(
                f"{self.features.projection} is not the projection of the segment run; pass its "
                "--projection"
            )
        return found

    def pair(self, device: str) -> ComputedFeatures:
        """Computes features; raises as `backbone`."""
        return ComputedFeatures(
            self.images,
            self.backbone(device),
            self.seed,
            self.jitter,
            self.max_pixels,
            self.image_size,
        )


@dataclass(frozen=True)
class PairFactory:
    """Builds what gives features; None takes those that are kept."""

    recomputed: Recomputed | None = None

    def __call__(self, device: str) -> Pair:
        """Load the weights, if any are needed; raises as `Recomputed.backbone`."""
        return KeptFeatures() if self.recomputed is None else self.recomputed.pair(device)
