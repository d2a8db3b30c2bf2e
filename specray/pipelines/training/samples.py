"""Images to train on, out of rows of a segment table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from specray.masks import RLE, seen_masks
from specray.pipelines.labels.maps import geometry_of
from specray.pipelines.truth import TruthMaps
from specray.seeds import derive_seed
from specray.semantics.prototypes.em import Images
from specray.tables.features import COLUMNS, ImageFeatures, features_of, variant

MASK_COLUMNS: Final = (
    *("key", "width", "height", "grid_h", "grid_w"),
    *(f"segments.list.element.{name}" for name in ("method", "rle")),
)


@dataclass(frozen=True)
class Draw:
    """What an epoch makes of an image: it depends on the seed, the epoch and the key alone."""

    mirrored: bool
    number: int
    """For the choice of a view."""


def draw(seed: int, epoch: int, key: str) -> Draw:
    """Mirrored or not, and which view (PriMaPs section 3.3)."""
    bits = derive_seed(derive_seed(seed, key), f"epoch {epoch}")
    return Draw(bool(bits & 1), bits >> 1)


@dataclass(frozen=True)
class Sample:
    """An image of a group of rows."""

    key: str
    proposals: NDArray[np.uint8]
    """(S, H, W) of each set, see `specray.masks.seen_masks`."""
    features: ImageFeatures | None
    """Kept ones."""
    truth: NDArray[np.uint8] | None = None
    """(H, W) true classes, for diagnosis alone."""


class Pair(Protocol):
    """Gives the features of images as they are and of their views."""

    columns: Sequence[str]
    """Columns that it reads besides `MASK_COLUMNS`."""

    def __call__(
        self, samples: Sequence[Sample], draws: Sequence[Draw]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """(B, N, C) float32 of images of one size, and of one view of each."""
        ...


class KeptFeatures:
    """Features that the segment run has kept."""

    columns: Sequence[str] = COLUMNS

    def __call__(
        self, samples: Sequence[Sample], draws: Sequence[Draw]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Of images of one size; without views, the view of an image is itself."""
        clean: list[torch.Tensor] = []
        view: list[torch.Tensor] = []
        for sample, drawn in zip(samples, draws, strict=True):
            features = sample.features
            assert features is not None  # its columns were read
            views = len(features) // 2 - 1
            number = 1 + drawn.number % views if views else 0
            for found, which in ((clean, 0), (view, number)):
                values = features[variant(which, drawn.mirrored)]
                found.append(torch.from_numpy(values.astype(np.float32) * features.scale))
        return torch.stack(clean), torch.stack(view)


def samples_of(
    rows: pa.Table,
    cell: int,
    image_size: int | None,
    kept: bool,
    others: Sequence[pa.Table] = (),
    truth: TruthMaps | None = None,
) -> list[Sample]:
    """The images of rows without errors.

    Parameters
    ----------
    rows
        With `MASK_COLUMNS`, and those of the features if they are `kept`.
    cell, image_size
        As in `specray.pipelines.labels.maps.geometry_of`.
    kept
        Whether the rows have features.
    others
        Rows of the same images with other proposals.
    truth
        Their true classes; None where nothing is to be diagnosed.
    """
    features = features_of(rows) if kept else [None] * rows.num_rows
    names = ["key", "width", "height", "grid_h", "grid_w"]
    sets = [_masks(each) for each in (rows, *others)]
    found = []
    for i, (row, own) in enumerate(zip(rows.select(names).to_pylist(), features, strict=True)):
        geometry = geometry_of(row, cell, image_size)
        proposals = np.stack([seen_masks(masks[i], geometry) for masks in sets])
        known = None if truth is None else truth(row["key"], geometry)
        found.append(Sample(row["key"], proposals, own, known))
    return found


def _masks(rows: pa.Table) -> list[list[RLE]]:
    """Of the proposals of every row; none where it has an error."""
    return [
        [segment["rle"] for segment in segments or () if segment["method"] == "primap"]
        for segments in rows["segments"].to_pylist()
    ]


def batched(
    samples: Sequence[Sample], draws: Sequence[Draw], pair: Pair, cell: int
) -> list[Images]:
    """Samples as batches of one size each, in the order of their sizes."""
    sizes = [sample.proposals.shape[1:] for sample in samples]
    found = []
    for size in sorted(set(sizes)):
        mine = [i for i, other in enumerate(sizes) if other == size]
        drawn = [draws[i] for i in mine]
        clean, view = pair([samples[i] for i in mine], drawn)
        proposals = _oriented([samples[i].proposals for i in mine], drawn).movedim(1, 0)
        known = [own for i in mine if (own := samples[i].truth) is not None]
        truth = _oriented(known, drawn) if known else None
        grid = (size[0] // cell, size[1] // cell)
        found.append(Images(grid, clean, view, proposals.contiguous(), truth))
    return found


def _oriented(maps: Sequence[NDArray[np.uint8]], draws: Sequence[Draw]) -> torch.Tensor:
    """Maps of one size as one tensor, turned as their images are."""
    pairs = zip(maps, draws, strict=True)
    turned = [each[..., ::-1] if drawn.mirrored else each for each, drawn in pairs]
    return torch.from_numpy(np.stack(turned))
