"""The report of a label run: what its classes look like, how large and how sure they are."""

from specray.tables.report.classes.build import LabelReportSummary, build_label_report

__all__ = ["LabelReportSummary", "build_label_report"]
