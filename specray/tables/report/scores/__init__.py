"""The report of an evaluate job."""

from specray.tables.report.scores.build import ScoreReportSummary, build_score_report
from specray.tables.report.scores.cards import Case, Drawn

__all__ = ["Case", "Drawn", "ScoreReportSummary", "build_score_report"]
