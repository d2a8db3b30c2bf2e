"""The report: a static page on what a job has written, beside its shards."""

from specray.tables.report.build import ReportSummary, build_report
from specray.tables.report.classes import LabelReportSummary, build_label_report
from specray.tables.report.records import read_reported_run
from specray.tables.report.road import RoadReportSummary, build_road_report
from specray.tables.report.scores import ScoreReportSummary, build_score_report

__all__ = [
    "LabelReportSummary",
    "ReportSummary",
    "RoadReportSummary",
    "ScoreReportSummary",
    "build_label_report",
    "build_report",
    "build_road_report",
    "build_score_report",
    "read_reported_run",
]
