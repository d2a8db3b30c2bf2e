"""Rows of a pass without eigenvectors, for all that reads them."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from specray.sources import LocalStore
from specray.tables.counts import count_rows
from specray.tables.report.build import build_report
from specray.tables.report.charts import draw_charts
from specray.tables.report.gather import gather
from specray.tables.rows import Row, table_of
from specray.tables.run import write_run
from tests.tables.report_cases import bad_row, commit, good_row, run_record

NOTHING: Row = {"eigenvalues": None, "eigenvectors": None, "dense_fallback": None}
ROWS = [*(good_row(f"{i}.jpg", seed=i) | NOTHING for i in range(4)), bad_row("9.jpg")]


def test_nothing_is_counted_of_eigenvectors_that_there_are_not() -> None:
    counts = count_rows(table_of(ROWS))
    assert (counts.images, counts.errors, counts.dense_fallbacks) == (5, 1, 0)
    found = gather([table_of(ROWS)], 3, ["objects"])
    assert (found.images, found.dense_fallbacks) == (5, 0)
    assert found.histograms["fiedler"].total == 0
    titles = [chart.title for chart in draw_charts(found.histograms)]
    assert titles and not any("eigenvalue" in title for title in titles)


def test_eigenvectors_of_other_shards_are_counted_all_the_same() -> None:
    tables = [table_of(ROWS), table_of([good_row("a"), good_row("b", seed=1)])]
    for order in (tables, tables[::-1], [pa.concat_tables(tables)]):
        assert gather(order, 3, ["objects"]).histograms["fiedler"].total == 2


def test_there_is_a_report(tmp_path: Path) -> None:
    output = LocalStore(str(tmp_path / "out"))
    manifest = commit(output, ROWS)
    write_run(output, run_record(len(ROWS), manifest=manifest))
    summary = build_report(output, None, samples=3)
    assert (summary.images, summary.samples) == (5, 3)
