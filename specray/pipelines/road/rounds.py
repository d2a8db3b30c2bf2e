"""Which round of self-training is the last, and which is taken: without any ground truth."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from specray.pipelines.labelled import LabelRun, label_run
from specray.sources import Store
from specray.tables.objects import if_there

AGREEMENT: Final = "agreement.json"


@dataclass(frozen=True)
class RoundAgreement:
    """How alike the label maps of a round and of the one before it are."""

    same: float
    """Share of the pixels that keep their class."""
    miou: float
    iou: tuple[float | None, ...]
    """Of each class, by rising id; None where neither has it."""
    images: int

    @property
    def lost(self) -> int:
        """Classes of the maps before that no pixel has any more."""
        return sum(value == 0 for value in self.iou)


def taken(same: Sequence[float]) -> int:
    """The round whose maps agree the most with those before it; the later one of equals.

    Parameters
    ----------
    same
        Of every round, from the first on.

    Returns
    -------
    Its number, from 1; 0, the first labels, where there was no round.

    Examples
    --------
    >>> taken([]), taken([0.8]), taken([0.8, 0.9, 0.85])
    (0, 1, 2)
    """
    return max(range(len(same)), key=lambda number: (same[number], number), default=-1) + 1


def round_agreement(folder: Store, new: str, old: str, endpoint: str | None) -> RoundAgreement:
    """Compare the maps of a round with those before it, or read what was found before.

    Parameters
    ----------
    folder
        Of the round.
    new, old
        The label runs.
    endpoint
        Of their stores.
    """
    runs = label_run(new, None, endpoint), label_run(old, None, endpoint)
    of = [_state(run) for run in runs]
    blob = if_there(folder, AGREEMENT, lambda: folder.read(AGREEMENT))
    known = {} if blob is None else json.loads(blob.data)
    if known.get("of") != of:
        known = {"of": of, **_compared(*runs)}
        folder.write(AGREEMENT, json.dumps(known, indent=2).encode())
    return RoundAgreement(known["same"], known["miou"], tuple(known["iou"]), known["images"])


def _state(run: LabelRun) -> list[Any]:
    return [run.run.record["fingerprint"], run.run.manifest]


def _compared(new: LabelRun, old: LabelRun) -> dict[str, Any]:
    from specray.pipelines.cluster import ray_session
    from specray.pipelines.evaluate.agreeing import agreement_of

    with ray_session():
        found = agreement_of(new, old)
    iou = [None if np.isnan(value) else float(value) for value in found.iou]
    images = sum(counts.images - counts.errors for counts in new.run.counts.values())
    return {"same": found.same, "miou": found.miou, "iou": iou, "images": images}
