"""How far a job is, as metrics of Ray: on its dashboard, and for the Prometheus that reads them.

They only count up, as Prometheus wants it: ``rate(ray_specray_images_total[1m])`` are images per
second. Where Ray runs without its agent of metrics they cost nothing and go nowhere.
"""

from __future__ import annotations

import time

from ray.util.metrics import Counter

from specray.tables.counts import ShardCounts


class CommitMeters:
    """What was committed: ``specray_images``, ``specray_errors`` by code, ``specray_bytes``."""

    def __init__(self) -> None:
        self._images = Counter("specray_images", "Images whose rows are committed.")
        self._errors = Counter("specray_errors", "Error rows among them.", tag_keys=("code",))
        self._bytes = Counter("specray_bytes", "Bytes of Parquet that are committed.")

    def add(self, counts: ShardCounts) -> None:
        """Count a shard."""
        _add(self._images, counts.images)
        _add(self._bytes, counts.bytes)
        for code, errors in counts.codes.items():
            _add(self._errors, errors, code=code)


class StageMeters:
    """Seconds that batches spend in each stage, of all workers: ``specray_stage_seconds``.

    Divided by those of the clock they tell how many workers a stage keeps busy.
    """

    def __init__(self) -> None:
        self._seconds = Counter(
            "specray_stage_seconds", "Seconds of work on batches.", tag_keys=("stage",)
        )
        self._since: dict[tuple[str, str], float] = {}

    def begin(self, stage: str, key: str) -> None:
        """A worker begins with a batch, perhaps once more after one that died."""
        self._since[stage, key] = time.monotonic()

    def end(self, stage: str, key: str) -> None:
        """It is done."""
        begun = self._since.pop((stage, key), None)
        if begun is not None:  # else this process is younger than the batch
            _add(self._seconds, time.monotonic() - begun, stage=stage)


def _add(counter: Counter, value: float, **tags: str) -> None:
    if value > 0:  # Ray refuses 0
        counter.inc(value, tags=tags)
