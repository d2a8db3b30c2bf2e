"""An epoch of EM on kept features against one that computes them."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import torch
from PIL import Image

from specray.backbones import Backbone
from specray.pipelines.benchmark.prototypes.crops import SIDE, crop
from specray.pipelines.benchmark.timing import alternate
from specray.pipelines.training.computed import ComputedFeatures
from specray.pipelines.training.index import index_of
from specray.pipelines.training.samples import KeptFeatures, Pair
from specray.pipelines.training.stream import Lanes, TrainingStream
from specray.semantics.prototypes.config import EMConfig
from specray.semantics.prototypes.em import PrototypeEM
from specray.sources import LocalStore
from specray.tables.commit import commit_shard

_SHARD: Final = f"shards/{'0' * 32}.parquet"
_CLASSES: Final = 11
_BATCH: Final = 32
REPEATS: Final = 3


def epoch_rows(
    rows: pa.Table, paths: Sequence[Path], backbone: Backbone, repeats: int = REPEATS
) -> Iterator[dict[str, Any]]:
    """Time an epoch from a shard against one from photographs, in turns, each with a new reader.

    Parameters
    ----------
    rows, paths
        Of the training images, see `proposed`.
    backbone
        Of the features.
    repeats
        Timed epochs of either kind.
    """
    with tempfile.TemporaryDirectory(prefix="specray-") as folder:
        segments, images = (LocalStore(str(Path(folder, name))) for name in ("out", "in"))
        commit_shard(segments, _SHARD, rows)
        Path(images.root).mkdir()
        for path in paths:
            Image.fromarray(crop(path)).save(Path(images.root, path.name), "PNG")
        computed = ComputedFeatures(images, backbone, 0, "paper", SIDE**2, None)
        groups = index_of(segments, [_SHARD])

        def epoch(pair: Pair) -> None:
            lanes = Lanes(0, 1, _BATCH)
            stream = TrainingStream(segments, groups, 0, lanes, pair, backbone.patch_size, None)
            channels = len(rows["segments"][0][0]["feature"])
            start = torch.randn(1, _CLASSES, channels, generator=torch.Generator().manual_seed(0))
            fitted = PrototypeEM(start, EMConfig(_CLASSES))
            for number in range(stream.per_epoch):
                fitted.step(stream.batch(number))
            stream.close()

        compared = alternate(
            lambda: epoch(KeptFeatures()),
            lambda: epoch(computed),
            repeats,
            name="an epoch on kept features to one that computes them",
        )
        yield asdict(compared) | {"images": rows.num_rows, "batch": _BATCH}
