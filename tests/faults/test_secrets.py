"""Whatever a store answers, nothing that a run prints or writes tells its credentials."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pyarrow.parquet as pq
import pytest
import ray

from specray.cli import main
from specray.errors import UserError
from specray.pipelines.report import ReportConfig, run_report
from specray.pipelines.segment import run_segment
from specray.sources.stores import s3
from specray.tables import read
from tests.faults import proxy as proxies
from tests.faults.proxy import Proxy, faulty_s3
from tests.pipelines.photographs import encode, photograph
from tests.pipelines.test_segment import configuration

KEYS = [f"{i:02}.jpg" for i in range(10)]


def secrets() -> list[str]:
    return [os.environ["AWS_SECRET_ACCESS_KEY"], os.environ["AWS_ACCESS_KEY_ID"]]


def assert_no_secret(text: str) -> None:
    assert not [secret for secret in secrets() if secret in text]


def refuse(patch: pytest.MonkeyPatch, status: int, code: str) -> None:
    """Let ``internal_error`` of the proxies be another refusal."""
    patch.setitem(proxies._STATUS, "internal_error", (status, code))


@pytest.fixture(autouse=True)
def telltale(monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that quotes the credentials in whatever it answers in vain, as some do."""

    def failure(status: int, code: str) -> proxies._Answer:
        secret, access = secrets()
        body = (
            f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>{secret} of {access} does "
            f"not match</Message><AWSAccessKeyId>{access}</AWSAccessKeyId><StringToSign>{secret}"
            f"</StringToSign><RequestId>{access}</RequestId><HostId>{secret}</HostId></Error>"
        )
        headers = [("Content-Type", "application/xml"), ("x-amz-request-id", secret)]
        return proxies._Answer(status, headers, body.encode())

    monkeypatch.setattr(proxies, "_failure", failure)
    monkeypatch.setattr(s3, "BACKOFF", 0.01)
    monkeypatch.setattr(s3, "PATIENCE", 0.0)


@pytest.fixture
def filled(s3_server: str, s3_bucket: str) -> str:
    """A bucket with photographs."""
    client = boto3.client("s3", endpoint_url=s3_server)
    for i, key in enumerate(KEYS):
        body = encode(photograph(i), "JPEG")
        client.put_object(Bucket=s3_bucket, Key=f"in/{key}", Body=body)
    return s3_bucket


@pytest.fixture
def proxy(s3_server: str) -> Iterator[Proxy]:
    with faulty_s3(s3_server, 0, 1.0, ("internal_error",)) as running:
        yield running


@pytest.mark.parametrize(
    ("status", "code", "only"),
    [
        (403, "SignatureDoesNotMatch", ""),
        (403, "InvalidAccessKeyId", ""),
        (403, "AccessDenied", ""),
        (400, "ExpiredToken", ""),
        (400, "NobodyKnows", ""),
        (503, "SlowDown", ""),
        (403, "AccessDenied", "/out/manifest"),
        (503, "SlowDown", "/out/run.json"),
    ],
)
def test_a_store_that_refuses_brings_no_secret_to_the_screen(
    filled: str,
    proxy: Proxy,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    status: int,
    code: str,
    only: str,
) -> None:
    refuse(monkeypatch, status, code)
    proxy.only = filled + only
    flags = ["--backbone", "descriptor", "--endpoint", proxy.url]
    place = f"s3://{filled}"
    assert main(["segment", "--input", f"{place}/in", "--output", f"{place}/out", *flags]) == 2
    printed = "".join(capfd.readouterr())
    assert "specray segment: " in printed and proxy.injected
    assert_no_secret(printed)


def texts_of(bucket: str, endpoint: str) -> Iterator[tuple[str, str]]:
    """Every object of an output as text, Parquet unpacked."""
    for found in boto3.resource("s3", endpoint_url=endpoint).Bucket(bucket).objects.all():
        if found.key.startswith("out/"):
            data = found.get()["Body"].read()
            if found.key.endswith(".parquet"):
                table = pq.read_table(io.BytesIO(data))
                yield found.key, f"{table.schema.metadata} {table.to_pylist()}"
            yield found.key, data.decode("latin-1")


@pytest.mark.slow
@pytest.mark.usefixtures("ray_cluster")
def test_a_run_and_its_report_on_a_faulty_store_keep_the_secrets(
    filled: str,
    s3_server: str,
    proxy: Proxy,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    refused = KEYS[3]
    proxy.only = f"{filled}/in/{refused}"
    refuse(monkeypatch, 403, "InvalidAccessKeyId")
    source, output = f"s3://{filled}/in", f"s3://{filled}/out"
    with faulty_s3(proxy.url, 1, 0.2, ("slow_down",)) as outer:
        config = configuration(source, output, endpoint=outer.url)
        with pytest.raises(UserError, match="rejects the credentials") as caught:
            run_segment(config)  # found by a worker
        assert_no_secret(str(caught.value))

        refuse(monkeypatch, 403, "AccessDenied")
        result = run_segment(config)
        run_report(ReportConfig(output, endpoint=outer.url))
    assert (result["images"], result["errors"]) == (len(KEYS), 1)
    assert proxy.injected["internal_error"] >= 2 and outer.injected["slow_down"] > 0

    (error,) = [
        row["error"] for row in read(output, endpoint=s3_server).to_pylist() if row["error"]
    ]
    assert error["code"] == "unreadable" and "AccessDenied" in error["message"]
    assert_no_secret(json.dumps(result))
    assert_no_secret("".join(capfd.readouterr()))
    texts = dict(texts_of(filled, s3_server))
    assert {"out/run.json", "out/report/index.html"} <= texts.keys()
    for text in texts.values():
        assert_no_secret(text)

    node: Any = ray._private.worker._global_node
    for path in Path(node.get_logs_dir_path()).rglob("*"):
        if path.is_file():
            assert_no_secret(path.read_text(errors="replace"))
