"""How alike the label maps of two runs over the same images are; no ground truth is needed."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from specray.errors import UserError
from specray.pipelines.evaluate.summing import Task, label_rows, summed
from specray.pipelines.labelled import LabelRun, label_map
from specray.semantics.segmenter.agreement import Agreement
from specray.sources import Store, read_manifest
from specray.tables.rows import Row


def agreement_of(new: LabelRun, old: LabelRun) -> Agreement:
    """Compare every image that both have labelled, pixel by pixel.

    Parameters
    ----------
    new, old
        Runs over the same images, whose classes have the same ids, as those of a segmenter and of
        the labels that it has learnt from.

    Raises
    ------
    UserError
        Their classes differ, or they have no image in common.
    """
    if new.ids != old.ids:
        raise UserError(f"{new.run.store.uri} and {old.run.store.uri} have different classes")
    ranges = list(_ranges(old))
    firsts, lasts = [first for _, first, _ in ranges], [last for _, _, last in ranges]
    tasks: list[Task] = []
    for (name, first, last), shard in zip(_ranges(new), new.run.shards, strict=True):
        # rows go by their keys in both, so those of a shard lie in neighbouring shards
        others = ranges[bisect_left(lasts, first) : bisect_right(firsts, last)]
        if others:
            names = [other for other, _, _ in others]
            tasks.append({"shard": name, "others": names, "images": shard.rows})
    if not tasks:
        raise UserError(f"{new.run.store.uri} and {old.run.store.uri} have no image in common")
    of_shards = ShardAgreement(new.run.store, old.run.store, new.ids)
    return Agreement(summed(tasks, of_shards))


def _ranges(run: LabelRun) -> Iterator[tuple[str, str, str]]:
    """Of every shard its name, and the first and the last key."""
    manifest = read_manifest(run.run.store, run.run.manifest)
    for shard, listed in zip(run.run.shards, manifest, strict=True):
        yield shard.name, listed["key"][0].as_py(), listed["key"][-1].as_py()


@dataclass(frozen=True)
class ShardAgreement:
    """The pixels of a shard by their classes in two runs."""

    new: Store
    old: Store
    ids: Sequence[int]

    def __call__(self, task: Task) -> np.ndarray[tuple[int, int], np.dtype[np.int64]]:
        """Of the images that a shard and some others have in common."""
        found = Agreement.none(len(self.ids))
        earlier = self._earlier(task["others"])
        before = next(earlier, None)
        for row in label_rows(self.new, task["shard"]):
            while before is not None and before["key"] < row["key"]:
                before = next(earlier, None)
            if before is not None and before["key"] == row["key"]:
                found += self._of_image(row, before)
        return found.matrix

    def _earlier(self, shards: Sequence[str]) -> Iterator[Row]:
        for shard in shards:
            yield from label_rows(self.old, shard)

    def _of_image(self, new: Row, old: Row) -> Agreement:
        if new["error"] is not None or old["error"] is not None:
            return Agreement.none(len(self.ids))
        one, other = (label_map(row, self.ids, confidence=False)[0] for row in (new, old))
        return Agreement.of(one, other, len(self.ids))
