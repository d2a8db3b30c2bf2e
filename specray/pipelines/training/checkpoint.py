"""What a worker leaves behind, so that another goes on bit by bit."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final

import torch

_FILE: Final = "state.pt"


@dataclass(frozen=True)
class TrainingState:
    """Everything that the next batch depends on; what it shows is decided by its number."""

    number: int
    """Of the next batch."""
    trainer: dict[str, Any]
    """Of `PrototypeEM.state_dict`."""
    objective: list[float] | None
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
