"""The demo from end to end, as `make demo` runs it."""

from __future__ import annotations

from pathlib import Path

import pytest

from specray.pipelines.demo import CLASSES, DemoConfig, run_demo
from specray.sources import open_store
from specray.tables.reading import read
from tests.tables.report_cases import read_page


@pytest.mark.slow
@pytest.mark.usefixtures("ray_cluster")
def test_the_demo_segments_labels_cuts_out_and_shows_all_of_its_photographs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = run_demo(DemoConfig(output=str(tmp_path)))
    assert (result["images"], result["cutouts"], result["errors"]) == (10, 10, 0)
    files = read(str(tmp_path / "edits"), columns=["file"])["file"].to_pylist()
    assert all((tmp_path / "edits" / file).is_file() for file in files)

    page = read_page(open_store(str(tmp_path / "segments")))
    for kind in ("Photograph", "Object in patches", "Regions", "Cut-out", "Eigenvector 4"):
        assert sum(alt.startswith(kind) for alt in page.values("alt")) == 10
    with_some = sum(alt.startswith("Instances of") for alt in page.values("alt"))
    assert with_some >= 5 and with_some + page.text.count("No instance") == 10
    assert "fast CRF, short side 480 px" in page.text

    classes = read_page(open_store(str(tmp_path / "labels")))
    assert result["classes"] == CLASSES and "6 classes in 10 images" in classes.text

    hints = capsys.readouterr().err
    assert result["report"] in hints and result["classes_report"] in hints
    for job in ("segment", "label", "edit", "export", "report"):
        assert f"specray {job} " in hints
