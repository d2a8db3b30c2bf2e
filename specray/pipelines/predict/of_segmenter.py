"""Predictions by a trained segmenter."""

from __future__ import annotations

import dataclasses
import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Final

import numpy as np

from specray.backbones import DESCRIPTOR, BackboneConfig
from specray.errors import UserError
from specray.pipelines.config import SegmentConfig
from specray.pipelines.given import read_given
from specray.pipelines.predict.common import prediction_pass, prediction_record
from specray.pipelines.predict.config import PredictConfig
from specray.pipelines.weights import Weights
from specray.pipelines.work import Work
from specray.semantics.segmenter.segmenter_file import Segmenter
from specray.sources import Store, absolute
from specray.tables.counts import ShardCounts

_PATCH: Final = 16
"""Pixels of the side of a patch, as --max-patches counts them; a segmenter has smaller cells."""


@dataclass(frozen=True)
class SegmenterJob:
    """What `run_image_job` needs to know."""

    given: PredictConfig
    segmenter: Segmenter
    digest: str
    """SHA-256 of its file."""
    names: dict[int, str]

    name: ClassVar = "predict"

    @cached_property
    def cell(self) -> int:
        """Pixels on a side of a cell of its scores."""
        return self.segmenter.build().cell

    @cached_property
    def config(self) -> SegmentConfig:
        """A pass that keeps scores where others keep features."""
        side: int = self.segmenter.training["short_side"]
        cells = max(1, _PATCH // self.cell) ** 2
        # the features of the network are its own affair
        return prediction_pass(self.given, BackboneConfig(DESCRIPTOR), side, cells)

    def weights(self) -> Weights:
        """Those of the network are in its file."""
        if self.given.weights is not None or self.given.projection is not None:
            raise UserError("a segmenter has its weights with it; drop --weights and --projection")
        return Weights(None, self.given.model, self.digest)

    def patch_size(self, weights: Weights) -> int:
        return self.cell

    def record(self, source: Store, output: Store, weights: Weights) -> dict[str, Any]:
        crf = dataclasses.asdict(self.config.refinement)
        names = {number: self.names.get(number) for number in self.segmenter.ids}
        decisive: dict[str, Any] = {"segmenter": self.digest}
        if self.given.window is not None:
            decisive["window"] = self.given.window
        record = prediction_record(self.given, source, output, decisive, crf, names)
        return record | {"weights": {"source": weights.source, "sha256": weights.sha256}}

    def work(self, weights: Weights, patch_size: int) -> Work:
        from specray.pipelines.predict.maps import MakeMap
        from specray.pipelines.predict.predicting import PredictWork  # Ray

        given = self.given
        model = absolute(given.model)
        scorer = SegmenterSource(model, given.run.endpoint, self.digest, given.window)
        refinement, ids = self.config.refinement, self.segmenter.ids
        make = MakeMap(refinement, patch_size, self.given.confidence, ids)
        # logits are scores already, and are averaged with those of the mirror image alike
        head = np.eye(len(ids), dtype=np.float32)
        return PredictWork(self.config, self.digest, head, self.given.mirror, make, None, scorer)

    def told(self, counts: ShardCounts) -> dict[str, Any]:
        return {"classes": len(self.segmenter.ids)}


@dataclass(frozen=True)
class SegmenterSource:
    """Where workers read a segmenter."""

    uri: str
    endpoint: str | None
    sha256: str
    window: int | None

    def __call__(self, device: str) -> Any:
        """Its scores in place of a backbone's features.

        Raises
        ------
        UserError
            The file has changed since the job began.
        """
        import torch

        from specray.semantics.segmenter.scoring import SegmenterScores

        torch.set_num_threads(1)
        data = read_given(self.uri, "--model", self.endpoint)
        if hashlib.sha256(data).hexdigest() != self.sha256:
            raise UserError(f"{self.uri} changed since the run began; start it again")
        network = Segmenter.from_bytes(data).build().to(device)
        return SegmenterScores(network, "segmenter", self.window)
