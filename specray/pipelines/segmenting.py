"""The second stage: pixels to rows of the output, in the actor that holds the backbone."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Final

import pyarrow as pa
import ray
import torch

from specray.backbones import Backbone, Projection, build_backbone, build_class_token
from specray.errors import Stage, UserError
from specray.pipelines.blocks import PIXELS, SEGMENTED, SPECTRA, images_of
from specray.pipelines.config import SegmentConfig
from specray.pipelines.decoding import crashed
from specray.pipelines.engine import Engine
from specray.pipelines.isolation import SUSPICIOUS, Died, deadline, each_alone
from specray.pipelines.masking import Masking
from specray.pipelines.masks_apart import MakeMasks
from specray.pipelines.preparing import Prepared
from specray.pipelines.weights import Weights, load_weights
from specray.pipelines.work import EngineMaker, ImageEngine
from specray.tables.rows import Row
from specray.tables.schema import SEGMENTS

_PIXELS: Final = frozenset(field.name for field in PIXELS)


@dataclass(frozen=True)
class SegmentWork:
    """Masks of the images: what the segment job makes of them."""

    config: SegmentConfig
    weights_sha256: str | None
    patch_size: int
    projection: Projection | None = None

    schema: ClassVar = SEGMENTS

    def maker(self, device: str) -> EngineFactory:
        """Makes the engine of a device."""
        masks = self._together(device)
        return EngineFactory(self.config, self.weights_sha256, device, masks, self.projection)

    def finishing(self, device: str, tally: Any) -> MakeMasks | None:
        """Makes the masks beside an accelerator."""
        if self._together(device):
            return None
        return MakeMasks(Masking(self.config, self.config.spectral.cell(self.patch_size)), tally)

    def _together(self, device: str) -> bool:
        # crops of the masks go through the backbone; where features are projected, CPUs would need
        # both kinds
        apart = self.config.describe != "crop" and self.projection is None
        return device == "cpu" or not apart


@dataclass(frozen=True)
class EngineFactory:
    """Builds the engine in whichever process is to hold it."""

    config: SegmentConfig
    weights_sha256: str | None
    device: str
    masks: bool = True
    """Whether the engine makes the masks, too; else `MakeMasks` does."""
    projection: Projection | None = None

    @property
    def block(self) -> pa.Schema:
        """With the masks, or with what they are made of."""
        return SEGMENTED if self.masks else SPECTRA

    def __call__(self) -> Engine:
        """Load the weights and build the backbone; see `load_backbone`."""
        features = self.config.features
        backbone, weights = load_backbone(self.config, self.weights_sha256, self.device)
        crops = None
        if self.config.describe == "crop":
            assert weights.data is not None  # the configuration refuses the descriptor
            crops = build_class_token(features, weights.data, weights.source, self.device)
        spare = None if self.device == "cpu" else dataclasses.replace(self, device="cpu")
        return Engine(self.config, backbone, self.device, spare, self.masks, crops, self.projection)


def load_backbone(
    config: SegmentConfig, weights_sha256: str | None, device: str
) -> tuple[Backbone, Weights]:
    """The backbone of a run, in a process of its own with one thread.

    Raises
    ------
    UserError
        The weights are not those that the run began with.
    """
    torch.set_num_threads(1)
    weights = load_weights(config.features, config.run.endpoint)
    if weights.sha256 != weights_sha256:
        raise UserError(f"{weights.source} changed since the run began; start it again")
    return build_backbone(config.features, weights.data, weights.source, device), weights


class Segment:
    """The actor: a block of `DECODED` to one of the schema that the engine's maker names."""

    def __init__(self, maker: EngineMaker, tally: Any) -> None:
        self._maker = maker
        self._engine = maker()
        self._tally = tally

    def __call__(self, decoded: pa.Table) -> pa.Table:
        """Segment what was decoded; errors and unused places pass through."""
        keys = decoded["key"].drop_null()
        schema = self._maker.block
        if not len(keys):
            return segment_block(decoded, self._engine, schema)
        first = keys[0].as_py()
        deaths = ray.get(self._tally.begin.remote("segment", first, len(keys)))
        fallbacks = self._engine.fallbacks
        rows = partial(self._rows, alone=deaths >= SUSPICIOUS)
        table = segment_block(decoded, rows, schema)
        errors = table.num_rows - table["error"].null_count
        fallen = self._engine.fallbacks - fallbacks
        self._tally.end.remote("segment", first, len(keys), errors, fallen)
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
        make: Callable[[], Callable[[Prepared], Row]] = partial(_make_single, self._maker)
        for image, result in zip(images, each_alone(make, images), strict=True):
            yield crashed(image.key, Stage.SEGMENT, result) if isinstance(result, Died) else result


def segment_block(
    decoded: pa.Table,
    segment: Callable[[Sequence[Prepared]], Iterable[Row]],
    schema: pa.Schema = SEGMENTED,
) -> pa.Table:
    """Rows of the output at the places of their images; what is no image passes through.

    Where the schema has `PIXELS` they are those of the block.
    """
    images = dict(images_of(decoded))
    found = dict(zip(images, segment(list(images.values())), strict=True))
    made = pa.schema([field for field in schema if field.name not in _PIXELS])
    columns = [name for name in decoded.column_names if name in made.names]
    rows = [row | found.get(i, {}) for i, row in enumerate(decoded.select(columns).to_pylist())]
    table = pa.Table.from_pylist(rows, schema=made)
    for field in schema:
        if field.name in _PIXELS:
            table = table.append_column(field, decoded[field.name])
    return table


def _make_single(maker: EngineMaker) -> Callable[[Prepared], Row]:
    engine: ImageEngine = maker()
    return lambda image: engine([image])[0]
