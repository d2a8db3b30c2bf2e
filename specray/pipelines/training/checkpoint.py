"""What a worker leaves behind, so that another goes on bit by bit.

In EM of prototypes and in self-training alike.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final

import ray.train
import torch
import torch.distributed
from ray.train import Checkpoint

_FILE: Final = "state.pt"


@dataclass(frozen=True)
class TrainingState:
    """Everything that the next batch depends on; what it shows is decided by its number."""

    number: int
    """Of the next batch."""
    trainer: dict[str, Any]
    """Of `PrototypeEM.state_dict`, or of `SegmenterTrainer.state_dict`."""
    objective: list[float] | None = None
    """Of the last pass of Lloyd's k-means, of every run."""
    diagnosis: dict[str, Any] | None = None
    """Of `Diagnosis.state_dict`; None where there is no ground truth."""

    def save(self, folder: Path) -> None:
        """Write it into a folder."""
        torch.save(
            {field.name: getattr(self, field.name) for field in fields(self)}, folder / _FILE
        )

    @classmethod
    def load(cls, folder: Path) -> TrainingState:
        """Read it from a folder: tensors and numbers, nothing that could run."""
        return cls(**torch.load(folder / _FILE, weights_only=True))

    def report(self, metrics: dict[str, Any], *, write: bool) -> None:
        """Hand it to Ray Train, which waits for all workers.

        Parameters
        ----------
        metrics
            What is said with it.
        write
            Whether this worker writes the checkpoint: one of them does.
        """
        metrics = {"step": self.number} | metrics
        if not write:
            ray.train.report(metrics)
            return
        with tempfile.TemporaryDirectory(prefix="specray-") as folder:
            self.save(Path(folder))
            ray.train.report(
                metrics,
                checkpoint=Checkpoint.from_directory(folder),
                checkpoint_dir_name=f"step-{self.number:08}",
            )

    @classmethod
    def restored(cls) -> TrainingState | None:
        """The last one that Ray Train knows of."""
        checkpoint = ray.train.get_checkpoint()
        if checkpoint is None:
            return None
        with checkpoint.as_directory() as folder:
            return cls.load(Path(folder))


def all_reduce(tensor: torch.Tensor) -> torch.Tensor:
    """Sum of a tensor over all workers, on its device."""
    total = tensor.clone()
    if torch.distributed.get_backend() == "nccl" and not total.is_cuda:
        on_device = total.cuda()
        torch.distributed.all_reduce(on_device)
        return on_device.cpu()
    torch.distributed.all_reduce(total)
    return total
