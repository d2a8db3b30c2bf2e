"""The report: a static page on an output of the segment or label job, beside its shards."""

from specray.tables.report.build import ReportSummary, build_report
from specray.tables.report.classes import LabelReportSummary, build_label_report
from specray.tables.report.records import read_reported_run

__all__ = [
    "LabelReportSummary",
    "ReportSummary",
    "build_label_report",
    "build_report",
    "read_reported_run",
]
