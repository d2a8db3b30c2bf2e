"""Which round of self-training is the last, and which is taken: without any ground truth."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from specray.pipelines.labelled import LabelRun, label_run
from specray.semantics.segmenter.agreement import Agreement
from specray.sources import Store
from specray.tables.objects import if_there

AGREEMENT: Final = "agreement.json"


def ended(agreements: Sequence[Agreement], settled: float) -> bool:
    """Whether further rounds are in vain: labels have settled, or wander, or have collapsed.

    Parameters
    ----------
    agreements
        Of each round's maps with those before it, from the first round on.
    settled
        Share of the pixels that keep their class when nothing changes any more.
    """
    if any(agreement.has_collapsed for agreement in agreements):
        return True
    same = [agreement.same for agreement in agreements]
    settle = same[-1:] and same[-1] >= settled
    wander = len(same) > 1 and same[-1] <= same[-2]
    return bool(settle or wander)


def taken(agreements: Sequence[Agreement]) -> int:
    """The round whose maps agree the most with those before it; the later one of equals.

    A network that has learnt too little agrees with itself ever more, on fewer and fewer classes:
    no round is taken from the first one on that has collapsed.

    Returns
    -------
    Its number, from 1; 0, the first labels, where there is none.
    """
    whole = [not agreement.has_collapsed for agreement in agreements]
    lasting = len(whole) if all(whole) else whole.index(False)
    same = [agreement.same for agreement in agreements[:lasting]]
    return max(range(lasting), key=lambda number: (same[number], number), default=-1) + 1


def round_agreement(folder: Store, new: str, old: str, endpoint: str | None) -> Agreement:
    """Compare the maps of a round with earlier ones, or read what was found before.

    Parameters
    ----------
    folder
        Where what is found is kept.
    new, old
        The label runs.
    endpoint
        Of their stores.
    """
    runs = label_run(new, None, endpoint), label_run(old, None, endpoint)
    of = [_state(run) for run in runs]
    blob = if_there(folder, AGREEMENT, lambda: folder.read(AGREEMENT))
    known: dict[str, Any] = {} if blob is None else json.loads(blob.data)
    if known.get("of") != of:
        found = _compared(*runs)
        known = {"of": of, "same": found.same, "miou": found.miou, "matrix": found.matrix.tolist()}
        folder.write(AGREEMENT, json.dumps(known).encode())
    return Agreement(np.asarray(known["matrix"], np.int64))


def _state(run: LabelRun) -> list[Any]:
    return [run.run.record["fingerprint"], run.run.manifest]


def _compared(new: LabelRun, old: LabelRun) -> Agreement:
    from specray.pipelines.cluster import ray_session
    from specray.pipelines.evaluate.agreeing import agreement_of

    with ray_session():
        return agreement_of(new, old)
