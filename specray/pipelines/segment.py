"""The segment job: a bucket of photographs in, objects and regions out."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, ClassVar

from specray import backbones
from specray.pipelines.config import SegmentConfig
from specray.pipelines.image_job import run_image_job
from specray.pipelines.record import new_record
from specray.pipelines.weights import Weights, for_workers, weights_of_run
from specray.pipelines.work import Work
from specray.sources import Store
from specray.tables.counts import ShardCounts


def run_segment(config: SegmentConfig) -> dict[str, Any]:
    """Segment every image of the input; see `SegmentConfig`, and `run_image_job`."""
    return run_image_job(_SegmentJob(config))


@dataclass(frozen=True)
class _SegmentJob:
    config: SegmentConfig

    name: ClassVar = "segment"

    def weights(self) -> Weights:
        return weights_of_run(self.config.features, self.config.run.endpoint)

    def patch_size(self, weights: Weights) -> int:
        features = self.config.features
        built = backbones.build_backbone(features, weights.data, weights.source, "cpu")
        if weights.projection is not None:
            backbones.check_channels(built, weights.projection)
        return built.patch_size

    def record(self, source: Store, output: Store, weights: Weights) -> dict[str, Any]:
        return new_record(self.config, source, output, weights)

    def work(self, weights: Weights, patch_size: int) -> Work:
        from specray.pipelines.segmenting import SegmentWork  # torch and Ray

        config = dataclasses.replace(self.config, features=for_workers(self.config.features))
        return SegmentWork(config, weights.sha256, patch_size, weights.projection)

    def told(self, counts: ShardCounts) -> dict[str, Any]:
        told = {"dense_fallbacks": counts.dense_fallbacks}
        return told | ({"capped": counts.capped} if "primaps" in self.config.methods else {})
