"""The progress line."""

from __future__ import annotations

import io
import time

import pytest

from specray.pipelines.progress import Progress, describe


def test_a_line_says_count_rate_errors_and_remaining_time() -> None:
    line = "50 / 200 images (25 %), 5.0 images/s, 1 error, 0:00:30 left"
    assert describe(50, 200, 1, 5.0) == line


def test_before_the_first_image_the_remaining_time_is_open() -> None:
    assert describe(0, 9, 0, 0.0) == "0 / 9 images (0 %), 0.0 images/s, 0 errors, -:--:-- left"


def test_a_log_file_gets_whole_lines_and_the_end() -> None:
    stream = io.StringIO()
    with Progress(3, lambda: (3, 0), stream):
        time.sleep(0.01)
    *_, last = stream.getvalue().splitlines()
    assert last.startswith("3 / 3 images (100 %)")
    assert "\r" not in stream.getvalue()


def test_batches_that_ran_twice_do_not_show_more_images_than_there_are() -> None:
    stream = io.StringIO()
    with Progress(3, lambda: (5, 0), stream):
        pass
    assert "3 / 3 images" in stream.getvalue()


def test_start_up_does_not_count_into_the_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 100.0, 110.0])  # made, first images seen, end
    monkeypatch.setattr(time, "monotonic", lambda: next(clock))
    readings = iter([(10, 0), (60, 0)])
    stream = io.StringIO()
    progress = Progress(110, lambda: next(readings), stream)
    progress._print()
    progress._print()
    assert "5.0 images/s, 0 errors, 0:00:10 left" in stream.getvalue()
