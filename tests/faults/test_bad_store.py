"""A store that throttles, breaks off, stalls, goes away or refuses costs time, not rows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest

from specray.errors import ErrorCode, UserError
from specray.sources import open_store
from tests.faults import proxy as faults
from tests.faults.command import COUNT, in_process, rows, run, segment
from tests.faults.injected import injected
from tests.faults.proxy import KINDS, Proxy, faulty_s3

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("ray_cluster")]

S3 = "specray.sources.stores.s3"


def shard_count(output: str, endpoint: str) -> int:
    return sum(1 for e in open_store(output, endpoint).list() if e.key.startswith("shards/"))


@pytest.fixture(scope="module")
def bucket(photographs: Path, s3_server: str) -> str:
    """A bucket with the photographs under ``in/``; its name decides which requests fail."""
    s3_bucket = "photographs-in-a-bad-store"
    client = boto3.client("s3", endpoint_url=s3_server)
    client.create_bucket(Bucket=s3_bucket)
    for path in photographs.rglob("*.jpg"):
        key = f"in/{path.relative_to(photographs).as_posix()}"
        client.put_object(Bucket=s3_bucket, Key=key, Body=path.read_bytes())
    return s3_bucket


@pytest.fixture
def proxy(s3_server: str) -> Iterator[Proxy]:
    # a seed for which every fault occurs, and the first upload of run.json is stored but not told
    with faulty_s3(s3_server, seed=962, rate=0.0) as running:
        yield running


def test_a_fifth_of_all_operations_fails_and_the_rows_are_those_of_a_calm_run(
    proxy: Proxy, bucket: str, s3_server: str, calm: Path, tmp_path: Path
) -> None:
    source, output = f"s3://{bucket}/in", f"s3://{bucket}/out"
    proxy.rate, proxy.stall = 0.2, 4.0
    environment = injected(tmp_path, S3, "module.READ_TIMEOUT = 2.0")
    result = run(source, output, "--endpoint", proxy.url, environment=environment)
    assert (result["images"], result["errors"], result["repeated_images"]) == (COUNT, 0, 0)
    assert set(proxy.injected) == set(KINDS)
    assert sum(proxy.injected.values()) == pytest.approx(0.2 * proxy.requests, rel=0.4)
    assert rows(output, s3_server).equals(rows(calm))
    before = proxy.requests
    again = in_process(source, output, endpoint=proxy.url)  # also the resume asks this store
    assert (again["images"], again["new_images"]) == (COUNT, 0)
    assert proxy.requests > before
    names = sorted(e.key for e in open_store(output, s3_server).list())
    assert len(names) == result["shards"] + 2, names  # run.json and the manifest


def test_an_outage_stops_the_run_with_a_line_and_the_same_command_continues(
    proxy: Proxy, bucket: str, s3_server: str, calm: Path, tmp_path: Path
) -> None:
    source, output = f"s3://{bucket}/in", f"s3://{bucket}/outage"
    environment = injected(tmp_path, S3, "module.PATIENCE = module.BACKOFF = 1.0")
    with segment(source, output, "--endpoint", proxy.url, environment=environment) as running:
        assert running.wait_for(lambda: shard_count(output, s3_server) >= 2)
        proxy.kinds, proxy.rate = ("slow_down",), 1.0
        assert running.process.wait(120) == 2
        proxy.rate = 0.0
        line = running.log.read_text().splitlines()[-1]
        assert "keeps failing with SlowDown; run the same command again later" in line
        assert "Traceback" not in running.log.read_text()
    done = shard_count(output, s3_server)
    result = in_process(source, output, endpoint=proxy.url)
    assert (result["images"], result["errors"]) == (COUNT, 0)
    assert result["new_images"] < COUNT and done >= 2
    assert rows(output, s3_server).equals(rows(calm))


def test_refused_reads_stop_the_run_and_are_done_again_on_demand(
    proxy: Proxy, bucket: str, calm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = f"s3://{bucket}/in"
    monkeypatch.setitem(faults._STATUS, "internal_error", (403, "AccessDenied"))
    proxy.kinds, proxy.rate, proxy.only = ("internal_error",), 1.0, f"{bucket}/in/"
    with pytest.raises(UserError, match=rf"{COUNT} unreadable.*--retry unreadable") as caught:
        in_process(source, tmp_path, endpoint=proxy.url)
    assert "\n" not in str(caught.value)
    proxy.rate = 0.0
    with pytest.raises(UserError, match="--retry unreadable"):  # else they count as done
        in_process(source, tmp_path, endpoint=proxy.url)
    files = sorted((tmp_path / "shards").iterdir())
    result = in_process(source, tmp_path, endpoint=proxy.url, retry=(ErrorCode.UNREADABLE,))
    assert (result["images"], result["errors"], result["new_images"]) == (COUNT, 0, COUNT)
    assert sorted((tmp_path / "shards").iterdir()) == files
    assert rows(tmp_path).equals(rows(calm))
