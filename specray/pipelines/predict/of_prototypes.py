"""Predictions by fitted prototypes."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

from specray import backbones
from specray.backbones import BackboneConfig
from specray.errors import UserError
from specray.pipelines.config import SegmentConfig
from specray.pipelines.predict.common import prediction_pass, prediction_record
from specray.pipelines.predict.config import PredictConfig
from specray.pipelines.weights import Weights, for_workers, weights_of_run
from specray.pipelines.work import Work
from specray.semantics.prototypes.classifier import Classifier
from specray.sources import Store
from specray.tables.counts import ShardCounts


@dataclass(frozen=True)
class PrototypesJob:
    """What `run_image_job` needs to know."""

    given: PredictConfig
    classifier: Classifier
    digest: str
    """SHA-256 of its file."""
    names: dict[int, str]

    name: ClassVar = "predict"

    @cached_property
    def config(self) -> SegmentConfig:
        """A pass that keeps the features that the prototypes were fitted to."""
        made, given = self.classifier.features, self.given
        features = BackboneConfig(
            backbone=made["backbone"],
            weights=given.weights,
            projection=given.projection,
            feature=made["feature"],
            block=made["block"],
            precision=made["precision"],
            accept_dinov3_licence=given.accept_dinov3_licence,
        )
        return prediction_pass(given, features, made["image_size"])

    def weights(self) -> Weights:
        if self.given.window is not None:
            raise UserError("--window is for segmenters; prototypes see the image whole")
        found = weights_of_run(self.config.features, self.given.run.endpoint)
        projection = self.classifier.features.get("projection")
        has = None if found.projection is None else found.projection.sha256
        if has != projection:
            raise UserError(
                "the prototypes were fitted to features as the backbone has them; drop --projection"
                if projection is None
                else f"the prototypes were fitted with a projection of SHA-256 {projection}, which "
                f"{self.given.projection or 'none'} is not; name it with --projection"
            )
        wanted = self.classifier.features["weights"]
        if found.sha256 != wanted:
            raise UserError(
                f"the prototypes were fitted with weights of SHA-256 {wanted}, {found.source} has "
                f"{found.sha256}; name those with --weights"
            )
        return found

    def patch_size(self, weights: Weights) -> int:
        import torch  # takes seconds, which --help does without

        features = self.config.features
        built = backbones.build_backbone(features, weights.data, weights.source, "cpu")
        if weights.projection is not None:
            backbones.check_channels(built, weights.projection)
        built = backbones.projected(built, weights.projection)
        side, cell = built.patch_size, self.classifier.features["cell"]
        if cell != side:
            raise UserError(
                f"the prototypes were fitted to cells of {cell} pixels, patches have {side}; fit "
                "them to a segment run without --downsample-factor"
            )
        has = built(torch.zeros(1, 3, side, side, dtype=torch.uint8)).shape[-1]
        if has != self.classifier.momentum.shape[1]:
            raise UserError(
                f"the prototypes have {self.classifier.momentum.shape[1]} channels, the features "
                f"{has}; make them again with specray train-primaps"
            )
        return side

    def record(self, source: Store, output: Store, weights: Weights) -> dict[str, Any]:
        decisive = {"prototypes": self.digest, "head": self.given.head}
        crf = dataclasses.asdict(self.config.refinement)
        names = {number: self.names.get(number) for number in range(self.classifier.classes)}
        record = prediction_record(self.given, source, output, decisive, crf, names)
        return {
            **record,
            "weights": {"source": weights.source, "sha256": weights.sha256},
            "features": dict(self.classifier.features),
        }

    def work(self, weights: Weights, patch_size: int) -> Work:
        from specray.pipelines.predict.maps import MakeMap
        from specray.pipelines.predict.predicting import PredictWork  # Ray

        head = getattr(self.classifier, self.given.head)
        make = MakeMap(self.config.refinement, patch_size, self.given.confidence)
        config = dataclasses.replace(self.config, features=for_workers(self.config.features))
        return PredictWork(
            config, weights.sha256, head, self.given.mirror, make, weights.projection
        )

    def told(self, counts: ShardCounts) -> dict[str, Any]:
        return {"classes": self.classifier.classes}
