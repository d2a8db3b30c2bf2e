"""A run that goes wrong stops early, and says how to go on."""

from __future__ import annotations

import pytest

from specray.errors import ErrorCode, UserError
from specray.pipelines.error_limit import MIN_IMAGES, ErrorLimit, check_errors
from specray.tables.counts import ShardCounts


def test_few_images_do_not_stop_a_run_however_bad() -> None:
    limit = ErrorLimit(0.1)
    limit.add(ShardCounts(MIN_IMAGES - 1, {"corrupt": MIN_IMAGES - 1}))
    with pytest.raises(UserError):
        limit.add(ShardCounts(1))


def test_shards_are_judged_together() -> None:
    limit = ErrorLimit(0.5)
    limit.add(ShardCounts(MIN_IMAGES, {"corrupt": 100}))
    limit.add(ShardCounts(300, {"corrupt": 300}))
    limit.add(ShardCounts(300, {"empty": 250}))  # 650 of 1,600
    limit.add(ShardCounts(300, {"corrupt": 300}))  # 950 of 1,900
    with pytest.raises(UserError, match=r"951 of 1901 images .*\(700 corrupt, 251 empty\)"):
        limit.add(ShardCounts(1, {"empty": 1}))


@pytest.mark.parametrize("images", [1, 3, 10, 100, 1000, 12345])
@pytest.mark.parametrize("rate", [0.0, 0.001, 0.1, 0.29, 0.5, 0.57, 0.7, 1.0])
def test_exactly_the_rate_is_allowed_and_one_more_is_not(rate: float, images: int) -> None:
    allowed = round(rate * 1000) * images // 1000  # in whole numbers: no rounding
    check_errors(ShardCounts(images, {"corrupt": allowed} if allowed else {}), rate)
    if allowed < images:
        with pytest.raises(UserError, match=f"{allowed + 1} of {images} "):
            check_errors(ShardCounts(images, {"corrupt": allowed + 1}), rate)


def test_no_images_are_no_error() -> None:
    check_errors(ShardCounts(), 0)
    check_errors(ShardCounts(), 1)


def test_the_message_names_codes_by_number_and_the_ways_out_in_one_line() -> None:
    counts = ShardCounts(9, {"corrupt": 1, "unreadable": 4, "empty": 1})
    with pytest.raises(UserError) as caught:
        check_errors(counts, 0.25)
    message = str(caught.value)
    assert "6 of 9 images are errors (4 unreadable, 1 corrupt, 1 empty)" in message
    assert "--max-error-rate 0.25;" in message
    assert "--retry unreadable corrupt empty," in message
    assert message.endswith("--max-error-rate 1")
    assert "\n" not in message
    named = message.split("--retry ")[1].split(",")[0].split()
    assert {ErrorCode(code) for code in named} == set(counts.codes)
