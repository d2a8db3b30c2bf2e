"""The report: a static page on an output of the segment job, written beside its shards."""

from specray.tables.report.build import ReportSummary, build_report, read_segment_run

__all__ = ["ReportSummary", "build_report", "read_segment_run"]
