"""The stages of a prediction: scores on the accelerator, maps on the CPUs."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final

import numpy as np
import pyarrow as pa
import ray
import torch
from numpy.typing import NDArray

from specray.backbones import Backbone, Projection, projected
from specray.pipelines.blocks import SEGMENTED, SPECTRA
from specray.pipelines.config import SegmentConfig
from specray.pipelines.engine import Engine
from specray.pipelines.isolation import SUSPICIOUS
from specray.pipelines.masks_apart import finished_block
from specray.pipelines.predict.maps import MakeMap
from specray.pipelines.preparing import Prepared
from specray.pipelines.segmenting import load_backbone
from specray.pipelines.work import ImageEngine
from specray.semantics.prototypes.scoring import ClassScores
from specray.tables.rows import Row
from specray.tables.schema import PREDICTIONS

PREDICTED: Final = pa.schema(
    [*list(SEGMENTED)[:2], *(field.with_nullable(True) for field in PREDICTIONS)]
)


@dataclass(frozen=True)
class PredictWork:
    """Semantic maps of the images: what the predict job makes of them.

    Parameters
    ----------
    config
        Of a pass that keeps the features of the images, and nothing else.
    weights_sha256
        Of its backbone.
    head
        (K, C) prototypes.
    mirror
        Whether features are averaged with those of the mirror image.
    make
        Makes the maps.
    projection
        Of the features; None where they are the backbone's.
    features
        Makes what gives features on a device; None: the backbone of `config`.
    """

    config: SegmentConfig
    weights_sha256: str | None
    head: NDArray[np.float32]
    mirror: bool
    make: MakeMap
    projection: Projection | None = None
    features: Callable[[str], Backbone] | None = None

    schema: ClassVar = PREDICTIONS

    def maker(self, device: str) -> ScorerMaker:
        """Makes the engine of a device."""
        return ScorerMaker(self, device, maps=device == "cpu")

    def finishing(self, device: str, tally: Any) -> MakeMaps | None:
        """Makes the maps beside an accelerator."""
        return None if device == "cpu" else MakeMaps(self.make, tally)


@dataclass(frozen=True)
class ScorerMaker:
    """Builds the engine in whichever process is to hold it."""

    work: PredictWork
    device: str
    maps: bool
    """Whether the engine makes the maps, too; else `MakeMaps` does."""

    @property
    def block(self) -> pa.Schema:
        """With the maps, or with the scores that they are made of."""
        return PREDICTED if self.maps else SPECTRA

    def __call__(self) -> ImageEngine:
        """Load the weights and build the engine; see `load_backbone`."""
        engine = self._scorer()
        return _MapEngine(engine, self.work.make) if self.maps else engine

    def _scorer(self) -> Engine:
        work = self.work
        if work.features is not None:
            features = work.features(self.device)
        else:
            backbone, _ = load_backbone(work.config, work.weights_sha256, self.device)
            features = projected(backbone, work.projection)
        scores = ClassScores(features, work.head, work.mirror)
        spare = None if self.device == "cpu" else dataclasses.replace(self, device="cpu")._scorer
        return Engine(work.config, scores, self.device, spare, masks=False)


class _MapEngine:
    """An engine of scores that makes the maps as well."""

    def __init__(self, engine: Engine, make: MakeMap) -> None:
        self._engine = engine
        self._make = make
        self.mask_seconds = 0.0

    @property
    def fallbacks(self) -> int:
        return self._engine.fallbacks

    def __call__(self, images: Sequence[Prepared]) -> list[Row]:
        scored = list(zip(images, self._engine(images), strict=True))
        begin = time.monotonic()
        rows = [row if "error" in row else row | self._make(image, row) for image, row in scored]
        self.mask_seconds += time.monotonic() - begin
        return rows


@dataclass(frozen=True)
class MakeMaps:
    """A block of `SPECTRA`, with scores for features, to one of `PREDICTED`."""

    make: MakeMap
    tally: Any

    def __call__(self, scored: pa.Table) -> pa.Table:
        """Make the maps of what has scores; errors and unused places pass through."""
        keys = scored["key"].drop_null()
        if not len(keys):
            return finished_block(scored, self.make, PREDICTED, alone=False)
        torch.set_num_threads(1)
        first = keys[0].as_py()
        deaths = ray.get(self.tally.begin.remote("masks", first, len(keys)))
        alone = deaths >= SUSPICIOUS
        table = finished_block(scored, self.make, PREDICTED, alone=alone)
        self.tally.end.remote("masks", first)
        return table
