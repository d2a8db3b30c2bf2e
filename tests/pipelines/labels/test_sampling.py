"""The points that classes are fitted to, drawn through Ray Data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from specray.pipelines.labels.points import points_of
from specray.pipelines.labels.sampling import Sample, draw
from specray.seeds import derive_seed, mixed
from specray.sources import LocalStore
from specray.tables.commit import commit_shard
from specray.tables.rows import Row, table_of

pytestmark = pytest.mark.usefixtures("ray_cluster")

IMAGES, SUPERPIXELS, DIMENSIONS = 300, 20, 5
RLE = {"size": [4, 4], "counts": b"04<"}


def image(i: int) -> Row:
    features = np.random.default_rng(i).random((SUPERPIXELS, DIMENSIONS)).astype(np.float16)
    segment: Row = {"method": "superpixel", "score": 0.5, "area": 4, "rle": RLE}
    return {
        "key": f"{i:04}",
        "segments": [
            segment | {"index": n, "bbox": [i, n, 1, 1], "feature": feature}
            for n, feature in enumerate(features)
        ],
    }


ROWS = [image(i) for i in range(IMAGES)]


def stored(folder: Path, per_shard: int) -> tuple[LocalStore, list[str]]:
    store = LocalStore(str(folder))
    names = [f"shards/{i:032x}.parquet" for i in range(0, IMAGES, per_shard)]
    for i, name in enumerate(names):
        commit_shard(store, name, table_of(ROWS[i * per_shard : (i + 1) * per_shard]))
    return store, names


def drawn(folder: Path, per_shard: int, most: int, seed: int = 0) -> Sample:
    store, names = stored(folder, per_shard)
    total = IMAGES * SUPERPIXELS
    options: Any = {"foreground": False, "seed": seed}
    return draw(store, names, IMAGES, total, most, "superpixels", **options)


def expected(most: int, seed: int = 0) -> NDArray[np.int64]:
    """Places of the points of the lowest priorities."""
    keys = np.array([derive_seed(seed, row["key"]) for row in ROWS], np.uint64)
    priority = mixed(keys.repeat(SUPERPIXELS), np.tile(np.arange(SUPERPIXELS), IMAGES))
    return np.sort(np.argsort(priority)[:most])


@pytest.mark.parametrize(("per_shard", "most"), [(300, 10**6), (7, 10**6), (7, 6000), (60, 1000)])
def test_the_sample_is_everything_or_the_points_of_lowest_priority(
    tmp_path: Path, per_shard: int, most: int
) -> None:
    sample = drawn(tmp_path, per_shard, most)
    places = expected(min(most, IMAGES * SUPERPIXELS))
    every = points_of(table_of(ROWS), "superpixels")
    np.testing.assert_array_equal(sample.features, every.features[places].astype(np.float32))
    assert sample.keys.to_pylist() == [ROWS[i]["key"] for i in places // SUPERPIXELS]
    np.testing.assert_array_equal(sample.index, places % SUPERPIXELS)
    assert sample.boxes is not None
    np.testing.assert_array_equal(sample.boxes[:, 1], sample.index)


def test_another_seed_is_another_sample(tmp_path: Path) -> None:
    one, other = (drawn(tmp_path / str(seed), 60, 1000, seed) for seed in (0, 1))
    np.testing.assert_array_equal(other.index, expected(1000, 1) % SUPERPIXELS)
    assert not np.array_equal(one.index, other.index)
