"""The report of an evaluate job from end to end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from specray.sources import Store
from specray.tables.report.folder import write_report
from specray.tables.report.page import page_of, settings
from specray.tables.report.records import read_reported_run
from specray.tables.report.scores.cards import Case, CaseCard, cards_of


@dataclass(frozen=True)
class ScoreReportSummary:
    """What the page is about, and where it is."""

    images: int
    cases: int
    """Images that are shown, as often as they are."""
    unavailable: int
    """Of these, such whose photograph could not be had."""
    files: int
    bytes: int
    location: str
    """URI of the page."""


@dataclass(frozen=True)
class _Section:
    """A task, and what it did worst and best."""

    task: str
    worst: Sequence[CaseCard]
    best: Sequence[CaseCard]


def build_score_report(
    output: Store,
    scores: Mapping[str, Any],
    cases: Mapping[str, tuple[Sequence[Case], Sequence[Case]]],
) -> ScoreReportSummary:
    """Write ``report/`` into the output of an evaluate job.

    Parameters
    ----------
    output
        Of the job.
    scores
        Its ``scores.json``.
    cases
        By task, the worst images, the worst first, and the best, the best first.

    Raises
    ------
    UserError
        The output holds no such run, or the store does not answer.
    """
    run = read_reported_run(output, "evaluate")
    files: dict[str, bytes] = {}
    sections = []
    for task, (worst, best) in cases.items():
        cards = []
        for some in (worst, best):
            found, pictures = cards_of(task, some)
            cards.append(found)
            files |= pictures
        sections.append(_Section(task, *cards))
    semantic = next((each["semantic"] for each in scores["runs"] if "semantic" in each), None)
    page = page_of(
        "scores.html.j2",
        run=run,
        scores=scores,
        several=len(scores["runs"]) > 1,
        semantic=semantic,
        pixels=sum(each["pixels"] for each in semantic["classes"]) if semantic else 0,
        sections=sections,
        settings=settings(run["configuration"], "evaluate") + settings(run["versions"], "versions"),
    )
    shown = [card for each in sections for card in (*each.worst, *each.best)]
    return ScoreReportSummary(
        images=scores["images"],
        cases=len(shown),
        unavailable=sum(card.unavailable is not None for card in shown),
        **asdict(write_report(output, page, files)),
    )
