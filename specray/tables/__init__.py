"""The Parquet that a run leaves behind: schema, commits, readers, report."""

from specray.tables.reading import read, scan

__all__ = ["read", "scan"]
