"""Names that lie, lead elsewhere or carry code are names: one row each, and text in the report."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from pathlib import Path

import boto3
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from specray.pipelines.config import ImageConfig
from specray.pipelines.report import ReportConfig, run_report
from specray.pipelines.segment import run_segment
from specray.sources import open_store
from specray.tables import read
from tests.pipelines.photographs import encode, photograph
from tests.pipelines.test_segment import configuration
from tests.tables.report_cases import Page, read_page, report_files

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("ray_cluster")]

IMAGE = encode(photograph(), "JPEG")

MARKUP = {
    "<script>alert(1)</script>.jpg",
    '"onerror=alert(1).jpg',
    '"><img src=x onerror=alert(1)>.jpg',
    "'><svg onload=alert(1)>.jpg",
    "--><!--.jpg",
    "</title><style>@import url(x)</style>.jpg",
    "javascript:alert(1).jpg",
    "&lt;b&gt;&amp;.jpg",
    "{{ 7 * 191 }}{% include 'x' %}.jpg",
}
"""Slashes in it make folders."""

ODD = {
    "sp ace.jpg",
    " leading and trailing .jpg",
    "tab\tkey.jpg",
    "carriage\rreturn.jpg",
    "\x01\x07\x1b[31mcontrol\x7f.jpg",
    "%2e%2e%2f.jpg",
    "%00.jpg",
    "+&=?#;.jpg",
    "*?[a-z]{1,2}.jpg",
    "back\\slash\\..\\x.jpg",
    "$(touch pwned)`touch pwned`;.jpg",
    "'; DROP TABLE shards; --.jpg",
    "=1+1.jpg",
    "-rf.jpg",
    "~root.jpg",
    "C:\\x.jpg",
    "\u00e9 composed.jpg",
    "e\u0301 composed.jpg",
    "\u202egpj.elppa.jpg",
    "\ufeffmark.jpg",
    "\U0001f600\U0001f3f3\ufe0f\u200d\U0001f308.jpg",
    "日本/画像.jpg",
    "UPPER.JPG",
}

ONLY_NAMES = {
    "../x.jpg",
    "../../x.jpg",
    "../../../../../../etc/x.jpg",
    "/abs.jpg",
    "//host/abs.jpg",
    "a//b.jpg",
    "./c.jpg",
    "d/./../e.jpg",
    "x" * 1017 + ".jpg",  # 1,024 bytes with the prefix
    "é" * 508 + ".jpg",
}
"""A bucket has them, a folder cannot."""


def files_in(folder: Path, but: Path) -> dict[Path, bytes]:
    """What lies below a folder, one subtree left out."""
    found = (path for path in folder.rglob("*") if not path.is_relative_to(but) and path.is_file())
    return {path: path.read_bytes() for path in found}


def assert_one_good_row_each(rows: pa.Table, keys: Iterable[str]) -> None:
    assert rows["key"].to_pylist() == sorted(keys, key=str.encode)
    assert rows["error"].null_count == rows.num_rows
    assert all(rows["segments"].to_pylist())


def assert_report_shows_text(output: str, keys: Iterable[str], endpoint: str | None = None) -> None:
    """Everything of a key is text or the value of a harmless attribute; files have plain names."""
    store = open_store(output, endpoint)
    before = {entry.key for entry in store.list()}
    run_report(ReportConfig(output, endpoint=endpoint))
    page = read_page(store)
    tags = {tag for tag, _ in page.tags}
    assert tags.isdisjoint({"script", "iframe", "object", "embed", "base", "form", "link"})
    attributes = {name.lower() for _, attributes in page.tags for name in attributes}
    assert not any(name.startswith("on") for name in attributes)
    assert page.count("style") == 1 + page.count("svg")  # ours, and one in each chart
    links = page.values("src") + page.values("href")
    assert all(link.startswith(("#", "pictures/")) for link in links)

    texts, descriptions = page.text, page.values("alt")
    for key in keys:
        assert " ".join(key.split()) in texts
        assert f"Object mask and box of {key}" in descriptions
        assert f"Photograph {key}" in descriptions
    assert {entry.key for entry in store.list()} == before | report_files(store).keys()
    assert set(links) >= {f"pictures/{name.rpartition('/')[2]}" for name in report_files(store)} - {
        "pictures/index.html"
    }


def test_keys_of_a_bucket_are_only_names(s3_server: str, s3_bucket: str) -> None:
    client = boto3.client("s3", endpoint_url=s3_server)
    keys = MARKUP | ODD | ONLY_NAMES
    for key in keys:
        client.put_object(Bucket=s3_bucket, Key=f"in/{key}", Body=IMAGE)
    client.put_object(Bucket=s3_bucket, Key="x.jpg", Body=b"must neither be read nor written")

    def others() -> dict[str, str]:
        bucket = boto3.resource("s3", endpoint_url=s3_server).Bucket(s3_bucket)
        listed = {found.key: found.e_tag for found in bucket.objects.all()}
        return {key: etag for key, etag in listed.items() if not key.startswith("out/")}

    before = others()
    assert len(before) == len(keys) + 1
    output = f"s3://{s3_bucket}/out"
    small = {"shard_size": 64, "batch_size": 16}  # few files, each is a round trip
    run_segment(configuration(f"s3://{s3_bucket}/in", output, endpoint=s3_server, **small))
    assert_one_good_row_each(read(output, endpoint=s3_server), keys)
    assert_report_shows_text(output, keys, s3_server)
    assert others() == before


def test_file_names_are_only_names(tmp_path: Path) -> None:
    keys = MARKUP | ODD | {"line\nfeed.jpg", "x" * 251 + ".jpg"}
    source, output = tmp_path / "in", tmp_path / "out"
    for key in keys:
        (source / key).parent.mkdir(parents=True, exist_ok=True)
        (source / key).write_bytes(IMAGE)
    before = files_in(tmp_path, but=output)
    run_segment(configuration(source, output, shard_size=64, batch_size=16))
    assert_one_good_row_each(read(str(output)), keys)
    assert_report_shows_text(str(output), keys)
    assert files_in(tmp_path, but=output) == before


def test_a_key_list_leads_nowhere_outside_of_a_folder(tmp_path: Path) -> None:
    source, output = tmp_path / "deep" / "in", tmp_path / "deep" / "out"
    (source / "a").mkdir(parents=True)
    inside = {"a/b.jpg", "line\nfeed.jpg", "<script>alert(1)<\u2215script>.jpg"}
    outside = {"../x.jpg", "../../x.jpg", "a/../../x.jpg", str(tmp_path / "x.jpg"), "./a/b.jpg"}
    outside |= {f"/{tmp_path}/x.jpg", "a/../a/b.jpg", "a\0b.jpg", "..", "/", "a//../../x.jpg"}
    for path in [tmp_path / "x.jpg", tmp_path / "deep" / "x.jpg", *map(source.joinpath, inside)]:
        path.write_bytes(IMAGE)
    listed = tmp_path / "keys.parquet"
    pq.write_table(pa.table({"key": sorted(inside | outside)}), listed)
    before = files_in(tmp_path, but=output)

    config = configuration(source, output, max_error_rate=1)
    run_segment(dataclasses.replace(config, images=ImageConfig(keys=str(listed))))
    rows = read(str(output)).to_pylist()
    assert [row["key"] for row in rows] == sorted(inside | outside, key=str.encode)
    for row in rows:
        assert bool(row["segments"]) == (row["key"] in inside)
        if row["key"] in outside:
            assert (row["error"]["code"], row["error"]["stage"]) == ("unreadable", "read")
            assert row["size"] is row["etag"] is row["width"] is None
    assert_report_shows_text(str(output), inside)
    page: Page = read_page(open_store(str(output)))
    assert "unreadable" in page.text
    assert files_in(tmp_path, but=output) == before
