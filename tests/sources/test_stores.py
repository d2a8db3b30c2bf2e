"""What every store promises, and what each kind adds."""

from __future__ import annotations

import hashlib
import pickle
import re
import shutil
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path
from threading import Event, Thread

import boto3
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from specray.errors import ErrorCode, ImageError, UserError
from specray.sources import ArrowStore, Entry, LocalStore, S3Store, Store, open_store
from specray.sources.stores import open_parent
from specray.sources.stores.base import WRITE_ROUNDS
from specray.sources.stores.walk import walk

KINDS = ("local", "s3", "arrow-file", "arrow-mock")

TRICKY_KEYS = [
    "a b/c.jpg",
    "a!/x.jpg",
    "a.b",
    "a/b",
    "a/b.c/d",
    "a/c/d",
    "a0",
    "A",
    "#hash.jpg",
    "%41 literal percent.jpg",
    "x+y=z&q?.jpg",
    "quote'\"<>.jpg",
    "back\\slash.jpg",
    "_underscore/_x.jpg",
    "é/e acute.jpg",
    "e\u0301/combining.jpg",
    "日本/画像.jpg",
    "\uff46ullwidth.jpg",  # after the emoji in UTF-16, before it in UTF-8
    "\U0001f600.jpg",
    "~tilde.JPG",
    " leading space.jpg",
]


@pytest.fixture(params=KINDS)
def store(request: pytest.FixtureRequest) -> Store:
    return make_store(request.param, request)


def make_store(kind: str, request: pytest.FixtureRequest) -> Store:
    if kind == "s3":
        bucket = request.getfixturevalue("s3_bucket")
        return open_store(f"s3://{bucket}/pre fix", request.getfixturevalue("s3_server"))
    folder = request.getfixturevalue("tmp_path") / kind
    if kind == "local":
        return open_store(str(folder))
    if kind == "arrow-file":
        return ArrowStore(f"file://{folder}")
    return open_store(f"mock:///{uuid.uuid4().hex}")


def keys(store: Store, suffixes: tuple[str, ...] | None = None) -> list[str]:
    return [entry.key for entry in store.list(suffixes)]


def test_keys_come_in_utf8_byte_order(store: Store) -> None:
    for key in TRICKY_KEYS:
        store.write(key, b"x")
    assert keys(store) == sorted(TRICKY_KEYS, key=str.encode)


def test_what_is_written_is_read_with_the_md5_as_etag(store: Store) -> None:
    for key in TRICKY_KEYS:
        data = key.encode() * 3
        store.write(key, data)
        blob = store.read(key)
        assert (blob.data, blob.etag) == (data, hashlib.md5(data).hexdigest())


def test_a_listing_says_what_stat_says(store: Store) -> None:
    store.write("a/b", b"123")
    store.write("c", b"")
    entries = list(store.list())
    assert [entry.size for entry in entries] == [3, 0]
    assert entries == [store.stat("a/b"), store.stat("c")]


def test_the_etag_of_an_entry_changes_with_the_object(store: Store) -> None:
    store.write("a", b"1")
    before = store.stat("a")
    store.write("a", b"22")
    after = store.stat("a")
    assert before is not None and after is not None and before.etag != after.etag


def test_writing_replaces(store: Store) -> None:
    store.write("a", b"old and longer")
    store.write("a", b"new")
    assert store.read("a").data == b"new"
    assert keys(store) == ["a"]


def test_suffixes_ignore_case(store: Store) -> None:
    for key in ("a.JPG", "b.jpeg", "c.jpg.txt", "d.Jpg"):
        store.write(key, b"x")
    assert keys(store, (".jpg",)) == ["a.JPG", "d.Jpg"]


def test_hidden_objects_are_not_listed_but_read(store: Store) -> None:
    for key in (".hidden", "a/.hidden", ".git/a", "b"):
        store.write(key, b"x")
    assert keys(store) == ["b"]
    assert store.read(".git/a").data == b"x"


def test_an_object_that_is_not_there_is_missing(store: Store) -> None:
    store.write("folder/a", b"x")
    for key in ("nothing", "folder", "folder/a/b", "x" * 2000):
        with pytest.raises(ImageError) as caught:
            store.read(key)
        assert caught.value.code is ErrorCode.MISSING
        with pytest.raises(ImageError) as caught:
            store.tail(key, 8)
        assert caught.value.code is ErrorCode.MISSING
        assert store.stat(key) is None
        assert not store.exists(key)


def test_nothing_under_a_prefix_is_an_empty_listing(store: Store) -> None:
    assert keys(store) == []


def test_deleting_twice_is_no_error(store: Store) -> None:
    store.write("a/b", b"x")
    assert store.exists("a/b")
    store.delete("a/b")
    store.delete("a/b")
    assert not store.exists("a/b")


UNSAFE_KEYS = ["", "/etc/passwd", "../secret", "a/../../secret", "a/./b", "a\0b", "\udcff"]


@pytest.mark.parametrize("key", [*UNSAFE_KEYS, "a\nb", "a\x7fb"])
def test_only_plain_keys_are_written_and_deleted(store: Store, key: str) -> None:
    for refusing in (store.delete, lambda key: store.write(key, b"x")):
        with pytest.raises(ValueError, match="unsafe key"):
            refusing(key)


@pytest.mark.parametrize("key", UNSAFE_KEYS)
@pytest.mark.parametrize("kind", ["local", "arrow-file", "arrow-mock"])
def test_a_file_system_reads_nothing_outside_of_its_root(
    kind: str, key: str, request: pytest.FixtureRequest
) -> None:
    store = make_store(kind, request)
    for refusing in (store.stat, store.exists):
        with pytest.raises(ValueError, match="unsafe key"):
            refusing(key)
    for read in (store.read, lambda key: store.tail(key, 8), lambda key: store.part(key, 0, 8)):
        with pytest.raises(ImageError) as caught:
            read(key)
        assert caught.value.code is ErrorCode.UNREADABLE
        str(caught.value).encode()  # storable in a table


@pytest.mark.parametrize("key", ["", "\udcff"])
def test_a_key_that_no_bucket_can_hold_is_unreadable(
    s3_server: str, s3_bucket: str, key: str
) -> None:
    store = open_store(f"s3://{s3_bucket}/in", s3_server)
    with pytest.raises(ImageError) as caught:
        store.read(key)
    assert caught.value.code is ErrorCode.UNREADABLE
    str(caught.value).encode()
    with pytest.raises(ValueError, match="unsafe key"):
        store.stat(key)


def test_the_tail_is_the_end_of_an_object(store: Store) -> None:
    store.write("a", b"12345")
    store.write("empty", b"")
    assert [store.tail("a", size) for size in (1, 4, 5, 6, 10**6)] == [
        b"5",
        b"2345",
        b"12345",
        b"12345",
        b"12345",
    ]
    assert store.tail("empty", 8) == b""


def test_a_part_is_what_lies_there_of_an_object(store: Store) -> None:
    store.write("a", b"12345")
    parts = [(0, 1), (1, 3), (3, 9), (4, 1), (5, 2), (9, 1)]
    found = [store.part("a", start, size) for start, size in parts]
    assert found == [b"1", b"234", b"45", b"5", b"", b""]
    with pytest.raises(ImageError) as caught:
        store.part("nothing", 0, 1)
    assert caught.value.code is ErrorCode.MISSING


def odd_names(separators: str) -> st.SearchStrategy[str]:
    """Keys of which people do not think; surrogates are not Unicode."""
    # the S3 server of the tests, unlike S3, has no route for a line break
    characters = st.characters(exclude_categories=["Cs"], exclude_characters="/\0\n")
    odd = st.sampled_from(
        ["%2F", "+", "%", "&amp;", "<script>", "?a=b#c", "a b", "\t", "\r", "日本"]
    )
    part = st.text(characters, min_size=1, max_size=20) | odd
    parts = st.lists(part | st.sampled_from(separators.split(" ")), min_size=1, max_size=4)
    return parts.map("/".join)


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(keys=st.sets(odd_names(".. . ... x"), min_size=1, max_size=4), at_root=st.booleans())
@example(
    keys={"../../etc/passwd", "/abs", "//abs", "a//b", "./x", "x/..", "..", "x" * 1024, "é" * 512},
    at_root=True,
)
def test_what_a_bucket_lists_is_read_under_exactly_this_key(
    s3_server: str, keys: set[str], at_root: bool
) -> None:
    bucket = f"bucket-{uuid.uuid4().hex}"
    client = boto3.client("s3", endpoint_url=s3_server)
    client.create_bucket(Bucket=bucket)
    prefix = "" if at_root else "a b/"
    for key in keys:
        client.put_object(Bucket=bucket, Key=prefix + key, Body=key.encode())
    assert_listed_is_readable(open_store(f"s3://{bucket}/{prefix}", s3_server), keys)


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(keys=st.sets(odd_names("... x"), min_size=1, max_size=4))
@example(keys={"a\nb/c\td", "%2F", "+", "<script>", "\x01\x7f"})
def test_what_a_folder_lists_is_read_under_exactly_this_key(tmp_path: Path, keys: set[str]) -> None:
    root = tmp_path / uuid.uuid4().hex
    written = set()
    for key in keys:
        path = root / key
        with suppress(OSError):  # one key is the folder of another
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(key.encode())
            written.add(key)
    assert_listed_is_readable(LocalStore(str(root)), written)
    assert_listed_is_readable(ArrowStore(f"file://{root}"), written)


def assert_listed_is_readable(store: Store, written: set[str]) -> None:
    hidden = {
        key for key in written if any(re.match(r"\.(?!\.?$)", part) for part in key.split("/"))
    }
    entries = list(store.list())
    assert [entry.key for entry in entries] == sorted(written - hidden, key=str.encode)
    for entry in entries:
        assert store.read(entry.key).data == entry.key.encode()
        assert store.tail(entry.key, 4) == entry.key.encode()[-4:]
        assert store.stat(entry.key) == entry


def test_objects_outside_the_prefix_are_not_listed(
    s3_server: str, s3_bucket: str, tmp_path: Path
) -> None:
    for root, endpoint in ((f"s3://{s3_bucket}", s3_server), (str(tmp_path), None)):
        whole = open_store(root, endpoint)
        whole.write("pre/a", b"x")
        whole.write("prefix", b"x")
        assert keys(open_store(f"{root}/pre", endpoint)) == ["a"]
        assert keys(open_store(f"{root}/pre/", endpoint)) == ["a"]


def test_a_store_pickles_without_secrets_and_works_on(store: Store) -> None:
    if store.uri.startswith("mock"):
        pytest.skip("the file system lives in the memory of one process")
    store.write("a", b"x")
    pickled = pickle.dumps(store)  # as Ray sends it to its workers; nothing of a stranger's
    assert b"a-secret-for-tests-only" not in pickled and b"AKIATEST" not in pickled
    assert pickle.loads(pickled).read("a").data == b"x"


def test_the_uri_opens_the_same_store(tmp_path: Path) -> None:
    for uri in (str(tmp_path), "s3://bucket/a b/c%20", "s3://bucket", "gs://bucket/p"):
        store = open_store(uri)
        assert store.uri == uri
        assert open_store(store.uri) == store


# --- folders ---------------------------------------------------------------------------------


def test_a_file_uri_is_unquoted(tmp_path: Path) -> None:
    assert open_store((tmp_path / "a b%").as_uri()) == LocalStore(str(tmp_path / "a b%"))


@pytest.mark.timeout(60)
def test_loops_of_symbolic_links_end(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    (tmp_path / "a" / "1.jpg").touch()
    (tmp_path / "a" / "self").symlink_to(tmp_path / "a")
    (tmp_path / "a" / "up").symlink_to(tmp_path)
    (tmp_path / "a" / "to b").symlink_to(tmp_path / "b")
    (tmp_path / "b" / "to a").symlink_to(tmp_path / "a")
    (tmp_path / "knot").symlink_to(tmp_path / "knot")
    assert keys(LocalStore(str(tmp_path)), (".jpg",)) == ["a/1.jpg", "b/to a/1.jpg"]


def test_linked_folders_are_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "1.jpg").write_bytes(b"x")
    (tmp_path / "input").mkdir()
    (tmp_path / "input" / "linked").symlink_to(tmp_path / "elsewhere")
    assert keys(LocalStore(str(tmp_path / "input"))) == ["linked/1.jpg"]


def test_a_dangling_link_is_listed_and_missing(tmp_path: Path) -> None:
    (tmp_path / "gone.jpg").symlink_to(tmp_path / "nowhere")
    store = LocalStore(str(tmp_path))
    assert list(store.list()) == [Entry("gone.jpg", None, None)]
    with pytest.raises(ImageError) as caught:
        store.read("gone.jpg")
    assert caught.value.code is ErrorCode.MISSING


@pytest.mark.timeout(60)
def test_a_named_pipe_is_no_object(tmp_path: Path) -> None:
    import os

    os.mkfifo(tmp_path / "pipe.jpg")
    store = LocalStore(str(tmp_path))
    assert keys(store) == []
    with pytest.raises(ImageError) as caught:
        store.read("pipe.jpg")
    assert caught.value.code is ErrorCode.MISSING


def test_a_name_that_is_not_utf8_stops_with_a_remedy(tmp_path: Path) -> None:
    Path(str(tmp_path) + "/\udcff.jpg").touch()
    with pytest.raises(UserError, match="rename"):
        keys(LocalStore(str(tmp_path)))


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").touch()
    with pytest.raises(UserError, match="is a file"):
        keys(LocalStore(str(tmp_path / "a.jpg")))


@pytest.mark.parametrize("kind", ["local", "arrow-file"])
def test_a_full_disk_leaves_the_old_object_and_no_rest(kind: str, small_disk: Path) -> None:
    store = LocalStore(str(small_disk)) if kind == "local" else ArrowStore(f"file://{small_disk}")
    store.write("a", b"old")
    with pytest.raises(UserError, match=r"No space left.*free space.*same command") as caught:
        store.write("a", bytes(2**20))
    assert "\n" not in str(caught.value)
    assert store.read("a").data == b"old"
    assert [path.name for path in small_disk.iterdir()] == ["a"]
    store.write("a", b"new")  # the run continues
    assert store.read("a").data == b"new"


@pytest.mark.parametrize("kind", ["local", "arrow-file"])
def test_a_read_only_disk_stops_the_job(kind: str, small_disk: Path) -> None:
    store = LocalStore(str(small_disk)) if kind == "local" else ArrowStore(f"file://{small_disk}")
    store.write("a", b"old")
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    for key in ("a", "b", "folder/c"):
        with pytest.raises(UserError, match=r"Read-only.*permissions.*same command") as caught:
            store.write(key, b"new")
        assert "\n" not in str(caught.value)
    assert store.read("a").data == b"old"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
    if not shutil.which("mount") or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("a small file system can be mounted by root on Linux only")
    yield folder
    subprocess.run(["umount", folder], check=True)


# --- temporary files ---------------------------------------------------------------------------

STALE = [".specray-0.tmp", "a/.specray-1.tmp", "a/b/.specray-2.tmp"]
KEPT = [".git/.specray-3.tmp", "a/b.tmp", ".specray-4", "a/.other.tmp", "a/b/c"]


@pytest.mark.parametrize("kind", ["local", "arrow-file"])
def test_stale_temporaries_are_removed_and_nothing_else(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    store = make_store(kind, request)
    assert store.remove_temporaries() == 0  # nothing was written yet
    elsewhere = tmp_path / "elsewhere" / STALE[0]
    files = [tmp_path / kind / name for name in STALE + KEPT]
    for file in [elsewhere, *files]:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    if kind == "local":
        (tmp_path / kind / "link").symlink_to(elsewhere.parent)
    assert store.remove_temporaries() == len(STALE)
    assert [file for file in files if file.exists()] == files[len(STALE) :]
    assert elsewhere.exists()
    assert store.remove_temporaries() == 0


def test_a_store_that_writes_whole_objects_has_no_temporaries(
    s3_server: str, s3_bucket: str
) -> None:
    store = open_store(f"s3://{s3_bucket}", s3_server)
    store.write(".specray-mine.tmp", b"x")
    assert store.remove_temporaries() == 0
    assert store.exists(".specray-mine.tmp")


@pytest.mark.parametrize("kind", ["local", "arrow-file"])
def test_writers_survive_one_who_cleans_up(kind: str, request: pytest.FixtureRequest) -> None:
    store = make_store(kind, request)
    done = Event()
    removed = 0
    left = 0  # how often the writer may still lose; one removal may be on its way meanwhile

    def clean() -> None:
        nonlocal removed, left
        while not done.wait(0.0002):
            if left > 0:
                count = store.remove_temporaries()
                left -= count
                removed += count

    cleaner = Thread(target=clean)
    cleaner.start()
    data = bytes(range(256)) * 1000
    try:
        for number in range(100):
            left = WRITE_ROUNDS - 3
            store.write(f"{number % 5}/a", data + bytes([number]))
            assert store.read(f"{number % 5}/a").data == data + bytes([number])
    finally:
        done.set()
        cleaner.join()
    assert keys(store) == [f"{number}/a" for number in range(5)]
    assert removed > 0


@pytest.mark.parametrize("losses", [1, WRITE_ROUNDS - 1, WRITE_ROUNDS])
def test_a_writer_that_loses_its_temporary_writes_again_a_few_times(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, losses: int
) -> None:
    store = LocalStore(str(tmp_path))
    store.write("a", b"old")
    removed = 0

    def clean_at_the_worst_moment(_: int) -> None:
        nonlocal removed
        if removed < losses:
            removed += store.remove_temporaries()

    monkeypatch.setattr("os.fsync", clean_at_the_worst_moment)
    if losses < WRITE_ROUNDS:
        store.write("a", b"new")
    else:
        with pytest.raises(UserError, match="No such file"):
            store.write("a", b"new")
    assert removed == losses
    assert store.read("a").data == (b"new" if losses < WRITE_ROUNDS else b"old")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_readers_see_whole_objects_only(tmp_path: Path) -> None:
    store = LocalStore(str(tmp_path))
    versions = [bytes([value]) * 300_000 for value in range(2)]
    store.write("a", versions[0])

    def replace() -> None:
        for turn in range(100):
            store.write("a", versions[turn % 2])

    writer = Thread(target=replace)
    writer.start()
    while writer.is_alive():
        assert store.read("a").data in versions
    writer.join()


def test_a_walk_opens_one_folder_at_a_time() -> None:
    opened = []

    def endless(folder: str) -> list[str]:
        opened.append(folder)
        return ["1.jpg", "sub/"]

    assert list(islice(walk(endless), 3)) == ["1.jpg", "sub/1.jpg", "sub/sub/1.jpg"]
    assert opened == ["", "sub/", "sub/sub/"]


# --- S3 --------------------------------------------------------------------------------------


def test_a_large_object_is_one_upload(s3_server: str, s3_bucket: str) -> None:
    store = open_store(f"s3://{s3_bucket}", s3_server)
    data = bytes(range(256)) * (80 * 1024)  # 20 MiB, where boto3 would use several parts
    store.write("big", data)
    blob = store.read("big")
    assert (blob.data, blob.etag) == (data, hashlib.md5(data).hexdigest())


def test_folder_markers_are_not_listed(s3_server: str, s3_bucket: str) -> None:
    client = boto3.client("s3", endpoint_url=s3_server)
    for key in ("in/", "in/sub/", "in/sub/a"):
        client.put_object(Bucket=s3_bucket, Key=key)
    assert keys(open_store(f"s3://{s3_bucket}/in", s3_server)) == ["sub/a"]


def test_a_listing_of_many_pages_is_whole(s3_server: str, s3_bucket: str) -> None:
    client = boto3.client("s3", endpoint_url=s3_server)
    expected = [f"{number:04}" for number in range(1100)]  # a page has 1000
    for key in expected:
        client.put_object(Bucket=s3_bucket, Key=key)
    assert keys(open_store(f"s3://{s3_bucket}", s3_server)) == expected


def test_the_endpoint_comes_from_the_environment_if_not_given(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9000")
    assert open_store("s3://bucket") == S3Store("bucket", "", "http://127.0.0.1:9000")


# --- URIs ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("uri", "endpoint"),
    [
        ("", None),
        ("foo://bucket", None),
        ("https://host/path", None),
        ("s3://", None),
        ("s3://AKIA:hunter2/x@bucket/prefix", None),
        ("gs://user:hunter2@bucket", None),
        ("abfs://c@a.dfs.core.windows.net/p?client_secret=hunter2", None),
        ("s3://bucket", "host:9000"),
        ("s3://bucket", "http://user:hunter2@host"),
        ("file://elsewhere/path", None),
    ],
)
def test_a_wrong_uri_is_a_user_error_without_secrets(uri: str, endpoint: str | None) -> None:
    with pytest.raises(UserError) as caught:
        open_store(uri, endpoint)
    message = str(caught.value)
    assert "\n" not in message and "hunter2" not in message and "AKIA" not in message


@pytest.mark.parametrize(
    ("uri", "parent", "key"),
    [
        ("s3://bucket/a/b.txt", "s3://bucket/a", "b.txt"),
        ("s3://bucket/b.txt", "s3://bucket", "b.txt"),
        ("/b.txt", "/", "b.txt"),
        ("/a/b.txt", "/a", "b.txt"),
    ],
)
def test_a_uri_splits_into_store_and_key(uri: str, parent: str, key: str) -> None:
    store, found = open_parent(uri)
    assert (store.uri, found) == (parent, key)


@pytest.mark.parametrize("uri", ["s3://bucket", "s3://bucket/a/", "", "folder/"])
def test_a_uri_without_a_file_is_a_user_error(uri: str) -> None:
    with pytest.raises(UserError):
        open_parent(uri)
