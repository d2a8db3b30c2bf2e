"""What an S3 in trouble turns into."""

from __future__ import annotations

import socket
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import pytest

from specray.errors import ErrorCode, ImageError, UserError
from specray.sources import S3Store, open_store
from specray.sources.stores import s3
from tests.sources.scripted_s3 import Answer, failure, scripted_s3


@pytest.fixture(autouse=True)
def few_attempts(s3_server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three attempts in all, so that giving up takes seconds."""
    monkeypatch.setattr(s3, "CLIENT_ATTEMPTS", 1)
    monkeypatch.setattr(s3, "ATTEMPTS", 3)


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
    "fault", [failure(503, "SlowDown"), failure(500, "InternalError"), Answer(200, b"12345", 2)]
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
def test_a_lasting_fault_of_one_object_is_its_row(fault: Answer, code: ErrorCode) -> None:
    with (
        scripted_s3(lambda number, path: fault) as endpoint,
        pytest.raises(ImageError) as caught,
    ):
        S3Store("bucket", "", endpoint).read("a")
    assert caught.value.code is code
    assert "secret" not in str(caught.value)


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


def assert_one_line_without_secret(error: UserError) -> None:
    assert "\n" not in str(error) and "secret" not in str(error)
