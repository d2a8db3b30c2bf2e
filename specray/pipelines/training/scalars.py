"""TensorBoard scalars of a training run, on any store."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from tensorboardX import SummaryWriter

from specray.pipelines.training.running import TENSORBOARD
from specray.sources import Store


class Scalars:
    """Writes scalars to a file of its own and publishes it whenever it is told to.

    Parameters
    ----------
    store
        The output.
    begin
        First batch of this attempt: what an earlier one has written of later batches is void.
    """

    def __init__(self, store: Store, begin: int) -> None:
        self._store = store
        self._folder = tempfile.TemporaryDirectory(prefix="specray-")
        self._writer = SummaryWriter(self._folder.name, purge_step=begin)

    def add(self, name: str, values: Sequence[float], step: int) -> None:
        """Add a scalar of every run."""
        for run, value in enumerate(values):
            self._writer.add_scalar(f"{name}/run {run}", value, step)

    def publish(self) -> None:
        """Make visible what was added."""
        self._writer.flush()
        for file in sorted(Path(self._folder.name).iterdir()):
            self._store.write(f"{TENSORBOARD}{file.name}", file.read_bytes())

    def close(self) -> None:
        """Publish the rest."""
        self._writer.close()
        self.publish()
        self._folder.cleanup()
