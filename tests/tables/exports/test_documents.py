"""Shared files are whole, and large ones become several that are whole."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from specray.sources import LocalStore
from specray.tables.exports import assemble
from specray.tables.exports.output import Document, lines

TREE = Document(
    "a/tree.json", ("odd", "even"), (b'{"odd":[', b'],"even":['), b",", b"]}", splits=True
)


def written(store: LocalStore, document: Document, parts: list[dict[str, bytes]], size: int) -> int:
    with assemble(document, store, size) as assembly:
        for part in parts:
            assembly.add(part)
        assembly.finish()
    return assembly.files


PARTS = [{"odd": f"{i},{i + 2}".encode(), "even": f"{i + 1}".encode()} for i in range(1, 40, 4)]


def test_streams_follow_each_other_with_separators_between_entries(tmp_path: Path) -> None:
    parts = [{"odd": b"", "even": b""}, *PARTS[:2], {"odd": b"", "even": b"8"}]
    assert written(LocalStore(str(tmp_path)), TREE, parts, 1000) == 1
    tree = json.loads((tmp_path / "a/tree.json").read_text())
    assert tree == {"odd": [1, 3, 5, 7], "even": [2, 6, 8]}


@pytest.mark.parametrize("size", [1, 10, 30])
def test_a_large_document_is_several_whole_ones(size: int, tmp_path: Path) -> None:
    files = written(LocalStore(str(tmp_path)), TREE, PARTS, size)
    assert files > 1
    names = [f"tree-{number:05}.json" for number in range(files)]
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == names
    trees = [json.loads((tmp_path / "a" / name).read_text()) for name in names]
    assert all(tree["odd"] for tree in trees)
    assert [i for tree in trees for i in tree["odd"]] == list(range(1, 41, 2))
    assert [i for tree in trees for i in tree["even"]] == list(range(2, 40, 4))


def test_what_must_not_split_does_not(tmp_path: Path) -> None:
    store = LocalStore(str(tmp_path))
    assert written(store, lines("list.txt", "line"), [{"line": b"a"}, {"line": b"b\nc"}], 1) == 1
    assert (tmp_path / "list.txt").read_text() == "a\nb\nc\n"


def test_a_document_of_nothing_is_a_whole_one(tmp_path: Path) -> None:
    with assemble(TREE, LocalStore(str(tmp_path))) as assembly:
        assembly.add({"odd": b"", "even": b""})
        assert assembly.empty
        assembly.finish()
    assert json.loads((tmp_path / "a/tree.json").read_text()) == {"odd": [], "even": []}
