"""The page on the whole road: labels before and after self-training, side by side."""

from specray.tables.report.road.build import RoadReportSummary, build_road_report

__all__ = ["RoadReportSummary", "build_road_report"]
