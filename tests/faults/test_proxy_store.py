"""An S3 store loses and repeats nothing while its bucket fails again and again."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from specray.errors import ErrorCode, ImageError, UserError
from specray.sources import S3Store
from specray.sources.stores import s3
from tests.faults.proxy import KINDS, Kind, Proxy, faulty_s3

OBJECTS = {f"{number:03}/photo {number}.jpg": bytes([number]) * 3000 for number in range(200)}


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits as short as a server on this machine allows; as many tries as in earnest."""
    monkeypatch.setattr(s3, "BACKOFF", 0.01)
    monkeypatch.setattr(s3, "MAX_BACKOFF", 0.1)
    monkeypatch.setattr(s3, "PATIENCE", 5.0)
    monkeypatch.setattr(s3, "READ_TIMEOUT", 0.5)


@pytest.fixture
def proxy(s3_server: str) -> Iterator[Proxy]:
    with faulty_s3(s3_server, seed=0, rate=0.0) as running:
        yield running


@pytest.mark.parametrize("rate", [0.2, 0.5])
def test_a_store_that_fails_often_loses_nothing(
    proxy: Proxy, s3_bucket: str, monkeypatch: pytest.MonkeyPatch, rate: float
) -> None:
    monkeypatch.setattr(s3, "PATIENCE", 60.0)  # the machine may be busy besides
    store = S3Store(s3_bucket, "pre fix/", proxy.url)
    proxy.rate, proxy.stall = rate, 0.05
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(store.write, OBJECTS, OBJECTS.values()))
        for _ in range(10):
            assert [entry.key for entry in store.list()] == list(OBJECTS)
        blobs = dict(zip(OBJECTS, pool.map(store.read, OBJECTS), strict=True))
        tails = list(pool.map(lambda key: store.tail(key, 8), OBJECTS))
        list(pool.map(store.delete, list(OBJECTS)[::2]))
    assert {key: blob.data for key, blob in blobs.items()} == OBJECTS
    assert tails == [data[-8:] for data in OBJECTS.values()]
    assert [entry.key for entry in store.list()] == list(OBJECTS)[1::2]
    assert set(proxy.injected) == set(KINDS)
    spread = math.sqrt(rate * (1 - rate) * proxy.requests)
    assert abs(sum(proxy.injected.values()) - rate * proxy.requests) < 5 * spread


@pytest.mark.parametrize("stall", [1.0, float("inf")])
def test_an_answer_later_than_the_time_out_is_asked_for_again(
    proxy: Proxy, s3_bucket: str, stall: float
) -> None:
    store = S3Store(s3_bucket, "", proxy.url)
    store.write("a", b"12345")
    proxy.kinds, proxy.stall, proxy.rate, proxy.limit = ("stall",), stall, 1.0, 2
    assert store.read("a").data == b"12345"
    assert proxy.injected["stall"] == 2


@pytest.mark.parametrize("kind", ["slow_down", "reset_before", "truncate"])
def test_an_outage_that_ends_is_waited_for(proxy: Proxy, s3_bucket: str, kind: Kind) -> None:
    store = S3Store(s3_bucket, "", proxy.url)
    store.write("a", b"12345")
    for use, answer in (
        (lambda: store.read("a").data, b"12345"),
        (lambda: store.tail("a", 2), b"45"),
        (lambda: [entry.key for entry in store.list()], ["a"]),
        (lambda: store.exists("a"), True),
        (lambda: store.write("a", b"12345"), None),
    ):
        proxy.kinds, proxy.rate, proxy.limit = (kind,), 1.0, 2 * s3.ATTEMPTS
        assert use() == answer
        assert proxy.limit == 0


USES: list[Callable[[S3Store], object]] = [
    lambda store: store.read("a"),
    lambda store: store.tail("a", 8),
    lambda store: store.stat("a"),
    lambda store: store.write("a", b"x"),
    lambda store: store.delete("a"),
    lambda store: next(store.list()),
]


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("kind", ["slow_down", "reset_before", "stall"])
def test_an_outage_that_does_not_end_stops_the_job(
    proxy: Proxy,
    s3_bucket: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    use: Callable[[S3Store], object],
    kind: Kind,
) -> None:
    for name, value in (("PATIENCE", 0.0), ("READ_TIMEOUT", 0.05)):
        monkeypatch.setattr(s3, name, value)
    proxy.kinds, proxy.rate, proxy.stall = (kind,), 1.0, float("inf")
    with (
        caplog.at_level(logging.WARNING),
        pytest.raises(UserError, match="run the same command again later") as caught,
    ):
        use(S3Store(s3_bucket, "", proxy.url))
    assert "\n" not in str(caught.value) and "secret" not in str(caught.value)
    assert "trying again" in caplog.text and "secret" not in caplog.text


@pytest.mark.parametrize("kind", ["internal_error", "reset_in_body", "truncate"])
def test_an_object_that_keeps_failing_in_a_healthy_store_is_a_row(
    proxy: Proxy, s3_bucket: str, monkeypatch: pytest.MonkeyPatch, kind: Kind
) -> None:
    monkeypatch.setattr(s3, "PATIENCE", 0.0)
    store = S3Store(s3_bucket, "", proxy.url)
    store.write("bad", b"12345")
    store.write("good", b"12345")
    proxy.kinds, proxy.rate, proxy.only = (kind,), 1.0, f"{s3_bucket}/bad"
    for read in (lambda: store.read("bad"), lambda: store.tail("bad", 3)):
        with pytest.raises(ImageError) as caught:
            read()
        assert caught.value.code is ErrorCode.UNREADABLE
    assert store.read("good").data == b"12345"


def test_an_outage_that_ends_while_it_is_diagnosed_is_no_row(
    proxy: Proxy, s3_bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(s3, "PATIENCE", 0.0)
    store = S3Store(s3_bucket, "", proxy.url)
    store.write("a", b"12345")
    proxy.kinds, proxy.rate, proxy.limit = ("slow_down",), 1.0, s3.ATTEMPTS
    assert store.read("a").data == b"12345"
    assert proxy.injected == {"slow_down": s3.ATTEMPTS}


def test_the_proxy_counts_what_was_delivered(proxy: Proxy, s3_bucket: str) -> None:
    store = S3Store(s3_bucket, "", proxy.url)
    store.write("é", b"12345")
    store.read("é")
    store.tail("é", 2)
    assert (proxy.requests, proxy.injected) == (3, {})
    assert proxy.gets == {f"{s3_bucket}/é": 2}


@pytest.mark.parametrize("kind", ["reset_before", "reset_after"])
def test_the_proxy_resets_an_upload_before_or_after_it_is_stored(
    proxy: Proxy, s3_server: str, s3_bucket: str, monkeypatch: pytest.MonkeyPatch, kind: Kind
) -> None:
    proxy.kinds, proxy.rate = (kind,), 1.0
    monkeypatch.setattr(s3, "PATIENCE", 0.0)
    with pytest.raises(UserError):
        S3Store(s3_bucket, "", proxy.url).write("a", b"12345")
    assert S3Store(s3_bucket, "", s3_server).exists("a") == (kind == "reset_after")
