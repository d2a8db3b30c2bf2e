"""The page on a sweep: what each block, feature and rule scores."""

from specray.tables.report.sweep.build import build_sweep_report

__all__ = ["build_sweep_report"]
