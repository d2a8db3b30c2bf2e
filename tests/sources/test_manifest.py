"""The manifest holds every image once, in order, in bounded memory."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import csv
from pyarrow import parquet as pq

from specray.errors import UserError
from specray.sources import (
    MANIFEST,
    Entry,
    LocalStore,
    Store,
    cut,
    entries_of,
    list_images,
    list_keys,
    list_parts,
    open_store,
    read_manifest,
    write_manifest,
)
from specray.sources.manifest import SHARDS_PER_PART


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(str(tmp_path / "input"))


@pytest.fixture
def output(tmp_path: Path) -> LocalStore:
    return LocalStore(str(tmp_path / "output"))


def read(store: Store, names: list[str]) -> list[Entry]:
    tables = [pq.read_table(io.BytesIO(store.read(name).data)) for name in names]
    assert all(table.schema.equals(MANIFEST) for table in tables)
    return [Entry(**row) for table in tables for row in table.to_pylist()]


def numbered(count: int) -> Iterator[Entry]:
    return (Entry(f"{number:08}.jpg", number, f"{number:x}") for number in range(count))


def test_images_are_told_by_their_suffix(store: LocalStore) -> None:
    names = ["a.jpg", "b.JPEG", "c.png", "d.bmp", "e.gif", "f.tif", "g.TIFF", "h.webp"]
    for name in [*names, "i.txt", "jpg", "k.jpg.part"]:
        store.write(name, b"x")
    assert [entry.key for entry in list_images(store)] == names


def test_an_empty_result_says_what_was_looked_for(store: LocalStore) -> None:
    with pytest.raises(UserError, match="nothing at"):
        next(list_images(store))
    store.write("a.txt", b"x")
    with pytest.raises(UserError, match=r"\.jpg.*\.webp") as caught:
        next(list_images(store))
    assert store.uri in str(caught.value)


@pytest.mark.parametrize("count", [1, 10, 11, SHARDS_PER_PART * 10, SHARDS_PER_PART * 10 + 1])
def test_the_files_hold_the_entries_and_each_row_group_is_a_shard(
    output: LocalStore, count: int
) -> None:
    names = write_manifest(numbered(count), output, shard_size=10)
    assert read(output, names) == list(numbered(count))
    shards = [list(entries_of(shard)) for shard in read_manifest(output, names)]
    assert shards == list(cut(numbered(count), 10))
    groups = [pq.read_metadata(Path(output.root, name)).num_row_groups for name in names]
    assert groups[:-1] == [SHARDS_PER_PART] * (len(names) - 1)


def test_file_names_follow_from_rows_and_shard_size(output: LocalStore, tmp_path: Path) -> None:
    names = write_manifest(numbered(100), output, 10)
    assert write_manifest(numbered(100), LocalStore(str(tmp_path / "other")), 10) == names
    assert write_manifest(numbered(99), output, 10) != names
    assert write_manifest(numbered(100), output, 9) != names
    assert read(output, names) == list(numbered(100))


def test_files_are_written_while_the_listing_goes_on(output: LocalStore) -> None:
    written: list[int] = []

    def watched() -> Iterator[Entry]:
        for entry in numbered(SHARDS_PER_PART * 3 + 1):
            yield entry
            written.append(sum(1 for _ in output.list()))

    write_manifest(watched(), output, shard_size=1)
    assert written[::SHARDS_PER_PART] == [0, 1, 2, 3]


@pytest.mark.parametrize("keys", [("b", "a"), ("a", "a")])
def test_a_listing_out_of_order_stops_the_job(output: LocalStore, keys: tuple[str, str]) -> None:
    with pytest.raises(UserError, match="not sorted"):
        write_manifest((Entry(key, 1, "e") for key in keys), output, 10)


def test_an_empty_manifest_has_no_file(output: LocalStore) -> None:
    assert write_manifest(iter(()), output, 10) == []


def test_only_files_that_a_run_wrote_are_taken_for_manifests(output: LocalStore) -> None:
    (ours,) = write_manifest(numbered(3), output, 10)
    for key in ["manifest/notes.parquet", f"manifest/old/{ours[9:]}", f"other/{ours}", "a.parquet"]:
        output.write(key, b"somebody else's")
    assert list_parts(output) == {ours}


def test_a_manifest_that_is_gone_or_damaged_is_a_user_error_of_one_line(output: LocalStore) -> None:
    names = write_manifest(numbered(3), output, 10)
    output.write("torn.parquet", output.read(names[0]).data[:-9])
    for name in ["gone.parquet", "torn.parquet"]:
        with pytest.raises(UserError, match=name) as caught:
            list(read_manifest(output, [name]))
        assert "\n" not in str(caught.value)


KEYS = ["b.jpg", "gone.jpg", "a c,\u20ac.jpg", "b.jpg", "../evil.jpg", "x" * 2000]


def key_list(kind: str) -> bytes:
    buffer = io.BytesIO()
    table = pa.table({"key": KEYS, "other": list(range(len(KEYS)))})
    if kind == "txt":
        return "\r\n".join([*KEYS, "", ""]).encode()
    if kind == "csv":
        csv.write_csv(table, buffer)
    else:
        pq.write_table(table, buffer)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["txt", "csv", "parquet"])
@pytest.mark.parametrize("where", ["local", "s3"])
def test_a_key_list_is_sorted_looked_up_and_free_of_repetition(
    kind: str, where: str, tmp_path: Path, caplog: pytest.LogCaptureFixture,
    s3_server: str, s3_bucket: str,
) -> None:  # fmt: skip
    root, endpoint = (str(tmp_path), None) if where == "local" else (f"s3://{s3_bucket}", s3_server)
    open_store(root, endpoint).write(f"list.{kind}", key_list(kind))
    store = open_store(f"{root}/in", endpoint)
    store.write("b.jpg", b"123")
    store.write("a c,\u20ac.jpg", b"1")
    open_store(root, endpoint).write("evil.jpg", b"not to be seen")
    assert list(list_keys(store, f"{root}/list.{kind}", endpoint)) == [
        Entry("../evil.jpg", None, None),
        store.stat("a c,\u20ac.jpg"),
        store.stat("b.jpg"),
        Entry("gone.jpg", None, None),
        Entry("x" * 2000, None, None),
    ]
    assert "1 repeated" in caplog.text


def test_sizes_and_etags_of_a_key_list_are_believed(store: LocalStore, tmp_path: Path) -> None:
    (tmp_path / "keys.csv").write_text("etag,key,size\n,b,5\n007,a,12\n")
    store.write("b", b"123")
    entries = list(list_keys(store, str(tmp_path / "keys.csv")))
    assert entries == [Entry("a", 12, "007"), store.stat("b")]


def test_a_long_key_list_keeps_its_order(store: LocalStore, tmp_path: Path) -> None:
    keys = [entry.key for entry in numbered(5000)]
    (tmp_path / "keys.txt").write_text("\n".join(reversed(keys)))
    assert [entry.key for entry in list_keys(store, str(tmp_path / "keys.txt"))] == keys


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("keys.txt", b""),
        ("keys.txt", b"\xff\xfe"),
        ("keys.csv", b"name\na\n"),
        ("keys.csv", b""),
        ("keys.csv", b"key,size\na,large\n"),
        ("keys.parquet", b"PAR1 not really"),
        ("keys.json", b"[]"),
        ("gone.txt", None),
    ],
)
def test_a_bad_key_list_is_a_user_error_of_one_line(
    store: LocalStore, tmp_path: Path, name: str, content: bytes | None
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=name) as caught:
        next(list_keys(store, str(tmp_path / name)))
    assert "\n" not in str(caught.value)
