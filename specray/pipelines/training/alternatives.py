"""Proposals of further segment runs over the same images: other thresholds, another CRF."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import pyarrow as pa

from specray.errors import UserError
from specray.pipelines.derived import SegmentRun
from specray.sources import Store
from specray.tables.groups import ShardGroups


@dataclass(frozen=True)
class Alternative:
    """The rows of another run, by their places in the run that has the features."""

    store: Store
    shards: Mapping[str, str]
    """Its shard, by the one of the other run that has the same images."""
    _files: dict[str, ShardGroups] = field(default_factory=dict, init=False, repr=False)

    def rows(self, shard: str, begin: int, count: int, columns: list[str]) -> pa.Table:
        """Some columns of `count` rows from the place `begin` of a shard of the other run on."""
        name = self.shards[shard]
        if name not in self._files:
            self._files[name] = ShardGroups(self.store, name)
        file, parts, first = self._files[name], [], 0
        for number, rows in enumerate(file.rows):
            if first < begin + count and first + rows > begin:
                start = max(begin - first, 0)
                stop = min(begin + count - first, rows)
                parts.append(file.read(number, columns).slice(start, stop - start))
            first += rows
        return pa.concat_tables(parts)


def alternative(run: SegmentRun, other: SegmentRun) -> Alternative:
    """The proposals of another run for the images of a run.

    Raises
    ------
    UserError
        They are not of the same images, cut into the same shards, and of the same features.
    """
    features = [dict(each.record["decisive"]["features"]) for each in (run, other)]
    grids = [
        (each.record["cell"], each.configuration["images"]["image_size"]) for each in (run, other)
    ]
    same_shards = run.manifest == other.manifest and [shard.rows for shard in run.shards] == [
        shard.rows for shard in other.shards
    ]
    if not same_shards or features[0] != features[1] or grids[0] != grids[1]:
        raise UserError(
            f"the runs at {run.store.uri} and {other.store.uri} are not of the same images, "
            "--shard-size, backbone and --image-size; segment with the command of the first, but "
            "for --primap-threshold, --refine or --output"
        )
    pairs = zip(run.shards, other.shards, strict=True)
    return Alternative(other.store, {one.name: its.name for one, its in pairs})
