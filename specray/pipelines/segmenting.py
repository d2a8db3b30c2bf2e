"""The second stage: pixels to rows of the output, in the actor that holds the backbone."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import pyarrow as pa
import ray
import torch

from specray.backbones import build_backbone, build_class_token
from specray.errors import Stage, UserError
from specray.pipelines.blocks import PIXELS, SEGMENTED, SPECTRA, images_of
from specray.pipelines.config import SegmentConfig
from specray.pipelines.decoding import crashed
from specray.pipelines.engine import Engine
from specray.pipelines.isolation import SUSPICIOUS, Died, deadline, each_alone
from specray.pipelines.preparing import Prepared
from specray.pipelines.weights import load_weights
from specray.tables.rows import Row


@dataclass(frozen=True)
class EngineFactory:
    """Builds the engine in whichever process is to hold it."""

    config: SegmentConfig
    weights_sha256: str | None
    device: str
    masks: bool = True
    """Whether the engine makes the masks, too; else `MakeMasks` does."""

    def __call__(self) -> Engine:
        """Load the weights and build the backbone.

        Raises
        ------
        UserError
            The weights are not those that the run began with.
        """
        torch.set_num_threads(1)
        weights = load_weights(self.config.features, self.config.run.endpoint)
        if weights.sha256 != self.weights_sha256:
            raise UserError(f"{weights.source} changed since the run began; start it again")
        features = self.config.features
        backbone = build_backbone(features, weights.data, weights.source, self.device)
        crops = None
        if self.config.describe == "crop":
            assert weights.data is not None  # the configuration refuses the descriptor
            crops = build_class_token(features, weights.data, weights.source, self.device)
        spare = None if self.device == "cpu" else dataclasses.replace(self, device="cpu")
        return Engine(self.config, backbone, self.device, spare, self.masks, crops)


class Segment:
    """The actor: a block of `DECODED` to one of `SEGMENTED`, or of `SPECTRA` without masks."""

    def __init__(self, factory: EngineFactory, tally: Any) -> None:
        self._factory = factory
        self._engine = factory()
        self._tally = tally

    def __call__(self, decoded: pa.Table) -> pa.Table:
        """Segment what was decoded; errors and unused places pass through."""
        keys = decoded["key"].drop_null()
        apart = not self._factory.masks
        if not len(keys):
            return segment_block(decoded, self._engine, apart=apart)
        first = keys[0].as_py()
        deaths = ray.get(self._tally.begin.remote("segment", first, len(keys)))
        fallbacks = self._engine.fallbacks
        rows = partial(self._rows, alone=deaths >= SUSPICIOUS)
        table = segment_block(decoded, rows, apart=apart)
        self._tally.end.remote("segment", first)
        errors = table.num_rows - table["error"].null_count
        self._tally.add.remote(len(keys), errors, self._engine.fallbacks - fallbacks)
        return table

    def _rows(self, images: Sequence[Prepared], alone: bool) -> Iterator[Row]:
        if not alone:
            try:
                with deadline():
                    rows = self._engine(images)
            except torch.AcceleratorError:
                os._exit(1)  # its context is lost for good; a new process finds out who did it
            yield from rows
            return
        make: Callable[[], Callable[[Prepared], Row]] = partial(_make_single, self._factory)
        for image, result in zip(images, each_alone(make, images), strict=True):
            yield crashed(image.key, Stage.SEGMENT, result) if isinstance(result, Died) else result


def segment_block(
    decoded: pa.Table,
    segment: Callable[[Sequence[Prepared]], Iterable[Row]],
    *,
    apart: bool = False,
) -> pa.Table:
    """Rows of the output at the places of their images; what is no image passes through.

    With `apart` the block is one of `SPECTRA`: good rows keep their pixels.
    """
    images = dict(images_of(decoded))
    found = dict(zip(images, segment(list(images.values())), strict=True))
    columns = [name for name in decoded.column_names if name in SEGMENTED.names]
    rows = [row | found.get(i, {}) for i, row in enumerate(decoded.select(columns).to_pylist())]
    if not apart:
        return pa.Table.from_pylist(rows, schema=SEGMENTED)
    spectra = pa.Table.from_pylist(rows, schema=pa.schema(list(SPECTRA)[: -len(PIXELS)]))
    for field in PIXELS:
        spectra = spectra.append_column(field, decoded[field.name])
    return spectra


def _make_single(factory: EngineFactory) -> Callable[[Prepared], Row]:
    engine = factory()
    return lambda image: engine([image])[0]
