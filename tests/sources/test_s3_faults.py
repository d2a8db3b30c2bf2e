"""What an S3 in trouble turns into."""

from __future__ import annotations

import pickle
import random
import socket
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import unquote

import pytest
from botocore.exceptions import ClientError

from specray.errors import ErrorCode, ImageError, UserError
from specray.sources import S3Store, open_store
from specray.sources.stores import s3
from tests.sources.scripted_s3 import Answer, failure, scripted_s3

EARNEST = {name: getattr(s3, name) for name in ("ATTEMPTS", "PATIENCE", "BACKOFF")}


@pytest.fixture(autouse=True)
def few_attempts(s3_server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three attempts, so that giving up takes no time."""
    monkeypatch.setattr(s3, "ATTEMPTS", 3)
    monkeypatch.setattr(s3, "PATIENCE", 0.0)
    monkeypatch.setattr(s3, "BACKOFF", 0.05)


def page(number: int, path: str) -> Answer:
    """The next page of a listing that never ends."""
    items = "".join(
        f"<Contents><Key>{number:08}-{item}.jpg</Key><Size>1</Size><ETag>e</ETag></Contents>"
        for item in range(10)
    )
    return Answer(
        200,
        f"<ListBucketResult><IsTruncated>true</IsTruncated>{items}"
        f"<NextContinuationToken>t</NextContinuationToken></ListBucketResult>".encode(),
    )


@pytest.mark.timeout(60)
def test_a_listing_fetches_no_page_before_it_is_needed() -> None:
    pages = []

    def script(number: int, path: str) -> Answer:
        pages.append(number)
        return page(number, path)

    with scripted_s3(script) as endpoint:
        entries = S3Store("bucket", "", endpoint).list()
        assert pages == []
        assert len(list(islice(entries, 25))) == 25
        assert len(pages) == 3


@pytest.mark.parametrize(
    "fault",
    [
        failure(503, "SlowDown"),
        failure(500, "InternalError"),
        failure(429, "Whatever"),
        failure(400, "RequestTimeout"),
        Answer(200, b"12345", 2),
    ],
)
def test_a_passing_fault_is_retried(fault: Answer) -> None:
    def script(number: int, path: str) -> Answer:
        return fault if number < 2 else Answer(200, b"12345")

    with scripted_s3(script) as endpoint:
        assert S3Store("bucket", "", endpoint).read("a").data == b"12345"


def test_a_passing_fault_of_a_listing_neither_loses_nor_repeats() -> None:
    def script(number: int, path: str) -> Answer:
        return failure(503, "SlowDown") if number in (1, 2) else page(number, path)

    with scripted_s3(script) as endpoint:
        entries = islice(S3Store("bucket", "", endpoint).list(), 20)
        assert [entry.key[:8] for entry in entries] == ["00000000"] * 10 + ["00000003"] * 10


@pytest.mark.parametrize("sent", [0, 100, 500])
def test_a_listing_that_breaks_off_is_asked_for_again(sent: int) -> None:
    def script(number: int, path: str) -> Answer:
        whole = page(number, path)
        return replace(whole, sent=sent) if number in (0, 2) else whole

    with scripted_s3(script) as endpoint:
        entries = islice(S3Store("bucket", "", endpoint).list(), 20)
        assert [entry.key[:8] for entry in entries] == ["00000001"] * 10 + ["00000003"] * 10


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (failure(503, "SlowDown"), ErrorCode.UNREADABLE),
        (failure(403, "AccessDenied"), ErrorCode.UNREADABLE),
        (failure(403, "InvalidObjectState"), ErrorCode.UNREADABLE),  # in Glacier
        (Answer(200, b"12345", 2), ErrorCode.UNREADABLE),
        (failure(404, "NoSuchKey"), ErrorCode.MISSING),
    ],
)
@pytest.mark.parametrize("use", [lambda s: s.read("a"), lambda s: s.tail("a", 5)])
@pytest.mark.parametrize("listing", [page(0, ""), failure(403, "AccessDenied")])
def test_a_lasting_fault_of_one_object_is_its_row(
    fault: Answer, code: ErrorCode, use: Callable[[S3Store], object], listing: Answer
) -> None:
    def script(number: int, path: str) -> Answer:
        return listing if "list-type" in path else fault

    with scripted_s3(script) as endpoint, pytest.raises(ImageError) as caught:
        use(S3Store("bucket", "", endpoint))
    assert caught.value.code is code
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "fault", [failure(503, "SlowDown"), failure(500, "InternalError"), Answer(200, b"12345", 2)]
)
def test_a_store_that_fails_for_all_objects_stops_the_job(fault: Answer) -> None:
    with scripted_s3(lambda number, path: fault) as endpoint:
        store = S3Store("bucket", "", endpoint)
        for use in (lambda: store.read("a"), lambda: store.tail("a", 5)):
            with pytest.raises(UserError) as caught:
                use()
            assert_one_line_without_secret(caught.value)


@pytest.mark.parametrize("seed", range(3))
def test_in_earnest_a_call_outlasts_throttling_and_an_outage_of_half_a_minute(
    monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    monkeypatch.undo()  # the constants as they are; only the clock is not
    now = 0.0

    def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds

    monkeypatch.setattr(s3, "time", SimpleNamespace(monotonic=lambda: now, sleep=sleep))
    chance = random.Random(seed)
    error = ClientError({"Error": {"Code": "SlowDown"}}, "GetObject")

    def throttled() -> int:
        if chance.random() < 0.5:
            raise error
        return 1

    def down() -> int:
        if now < outage_end:
            raise error
        return 1

    store = S3Store("bucket")
    for _ in range(20_000):
        assert store._retrying(throttled) == 1
    for _ in range(100):
        outage_end = now + 30
        assert store._retrying(down) == 1
    outage_end = start = now
    outage_end += 10_000
    with pytest.raises(ClientError):
        store._retrying(down)
    assert 120 < now - start < 180


@pytest.mark.parametrize(
    "fault",
    [
        failure(404, "NoSuchBucket"),
        failure(403, "InvalidAccessKeyId"),
        failure(403, "SignatureDoesNotMatch"),
        failure(400, "ExpiredToken"),
    ],
)
@pytest.mark.parametrize(
    "use", [lambda s: s.read("a"), lambda s: s.write("a", b"x"), lambda s: next(s.list())]
)
def test_a_fault_of_all_objects_stops_the_job(
    fault: Answer, use: Callable[[S3Store], object]
) -> None:
    with (
        scripted_s3(lambda number, path: fault) as endpoint,
        pytest.raises(UserError) as caught,
    ):
        use(S3Store("bucket", "", endpoint))
    assert_one_line_without_secret(caught.value)


def test_a_refused_listing_or_write_names_the_permissions() -> None:
    with scripted_s3(lambda number, path: failure(403, "AccessDenied")) as endpoint:
        store = S3Store("bucket", "", endpoint)
        for use in (lambda: next(store.list()), lambda: store.write("a", b"x")):
            with pytest.raises(UserError, match="s3:ListBucket") as caught:
                use()
            assert_one_line_without_secret(caught.value)
        with pytest.raises(UserError, match="access denied"):
            store.exists("a")


def test_an_endpoint_that_nobody_serves_stops_the_job() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, not listening: connections are refused
        store = open_store("s3://bucket", f"http://127.0.0.1:{taken.getsockname()[1]}")
        for use in (lambda: next(store.list()), lambda: store.read("a")):
            with pytest.raises(UserError, match="--endpoint") as caught:
                use()
            assert_one_line_without_secret(caught.value)


@pytest.mark.parametrize(
    ("endpoint", "use"),
    [
        ("http://127.0.0.1:{port}", lambda store: store.read("a")),
        ("http://no-such-host.invalid", lambda store: next(store.list())),
    ],
)
def test_in_earnest_an_endpoint_that_never_answered_is_given_up_within_seconds(
    monkeypatch: pytest.MonkeyPatch, endpoint: str, use: Callable[[S3Store], object]
) -> None:
    for name, value in EARNEST.items():
        monkeypatch.setattr(s3, name, value)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, not listening: connections are refused
        store = S3Store("bucket", "", endpoint.format(port=taken.getsockname()[1]))
        start = time.monotonic()
        with pytest.raises(UserError, match="check --endpoint") as caught:
            use(store)
        assert time.monotonic() - start < 15
        assert_one_line_without_secret(caught.value)


# both with the end of the connection, which would outlive the server
@pytest.mark.parametrize("first", [Answer(200, b"x", 1), replace(failure(503, "SlowDown"), sent=9)])
def test_a_store_that_has_answered_is_waited_for_also_by_other_processes(
    monkeypatch: pytest.MonkeyPatch, first: Answer
) -> None:
    later = Answer(200, b"x", 1)
    with scripted_s3(lambda number, path: later if number else first) as endpoint:
        store = S3Store("bucket", "", endpoint)
        store.read("a")
    arrived: S3Store = pickle.loads(pickle.dumps(store))
    monkeypatch.setattr(s3, "PATIENCE", 1.0)
    monkeypatch.setattr(s3, "FIRST_PATIENCE", 0.0)
    for known in (store, arrived):  # nobody listens there any more
        start = time.monotonic()
        with pytest.raises(UserError, match="check --endpoint"):
            known.read("a")
        assert time.monotonic() - start > 1.0
    start = time.monotonic()
    with pytest.raises(UserError, match="check --endpoint"):
        S3Store("bucket", "", endpoint).read("a")
    assert time.monotonic() - start < 1.0


@pytest.mark.timeout(60)
def test_without_credentials_the_metadata_service_does_not_hang(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_EC2_METADATA_DISABLED"):
        monkeypatch.delenv(name)
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes connections, never answers
        port = silent.getsockname()[1]
        monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", f"http://127.0.0.1:{port}/")
        store = open_store("s3://bucket", "http://127.0.0.1:1")
        with pytest.raises(UserError, match="AWS_ACCESS_KEY_ID"):
            next(store.list())
        with pytest.raises(UserError, match="AWS_ACCESS_KEY_ID"):
            store.read("a")


def test_a_profile_that_does_not_exist_is_a_user_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "no-such-profile")
    with pytest.raises(UserError, match="AWS_PROFILE"):
        next(open_store("s3://bucket", "http://127.0.0.1:2").list())


def test_a_bucket_that_does_not_exist_is_a_user_error(s3_server: str) -> None:
    with pytest.raises(UserError, match="no such bucket"):
        next(open_store("s3://no-such-bucket-anywhere", s3_server).list())


def test_an_upload_is_one_put_with_its_md5() -> None:
    with scripted_s3(lambda number, path: Answer(200)) as endpoint:
        S3Store("bucket", "", endpoint).write("a.html", b"12345")
        (request,) = endpoint.requests
    assert request.headers["Content-MD5"] == "gnzLDuqKcGxMNKFokfhOew=="
    assert request.headers["Content-Type"] == "text/html"
    assert (request.method, request.body) == ("PUT", b"12345")


def test_an_upload_that_moves_may_take_longer_than_the_time_outs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(s3, "CONNECT_TIMEOUT", 0.5)
    monkeypatch.setattr(s3, "READ_TIMEOUT", 2.0)  # what is on the way when all is sent
    data = bytes(16 * 2**20)
    with scripted_s3(lambda number, path: Answer(200), bytes_per_second=8 * 2**20) as endpoint:
        S3Store("bucket", "", endpoint).write("a", data)
        assert [len(request.body) for request in endpoint.requests] == [len(data)]


def test_what_no_upload_can_hold_names_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3, "MAX_PUT_BYTES", 5)
    with pytest.raises(UserError, match="--shard-size"):
        S3Store("bucket", "", "http://127.0.0.1:1").write("a", b"12345")


@pytest.mark.parametrize(
    ("answer", "tail"),
    [
        (Answer(206, b"45"), b"45"),
        (failure(416, "InvalidRange"), b""),  # of an empty object
        (Answer(200, b"12345"), b"45"),  # the range was ignored
    ],
)
def test_a_tail_is_a_ranged_get(answer: Answer, tail: bytes) -> None:
    with scripted_s3(lambda number, path: answer) as endpoint:
        assert S3Store("bucket", "", endpoint).tail("a", 2) == tail
        assert endpoint.requests[0].headers["Range"] == "bytes=-2"


def test_a_key_with_a_line_break_is_listed_and_read_as_it_is() -> None:
    """The server of the other tests cannot hold one."""
    key = "../a\nb\r\t%0A+ ä"
    quoted = "..%2Fa%0Ab%0D%09%250A%2B+%C3%A4"
    listing = (
        "<ListBucketResult><IsTruncated>false</IsTruncated><EncodingType>url</EncodingType>"
        f"<Contents><Key>{quoted}</Key><Size>1</Size><ETag>e</ETag></Contents></ListBucketResult>"
    )

    def script(number: int, path: str) -> Answer:
        return Answer(200, listing.encode() if "list-type" in path else b"12345")

    with scripted_s3(script) as endpoint:
        store = S3Store("bucket", "", endpoint)
        assert [entry.key for entry in store.list()] == [key]
        assert store.read(key).data == b"12345"
        assert "encoding-type=url" in endpoint.requests[0].path
        assert unquote(endpoint.requests[1].path) == "/bucket/" + key


def assert_one_line_without_secret(error: UserError) -> None:
    assert "\n" not in str(error) and "secret" not in str(error)
