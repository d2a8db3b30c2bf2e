"""Names of files are readable, safe on every store, and no two images share one."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from specray.sources import LocalStore, check_key
from specray.tables.exports import Names, StemCounter

HOSTILE = [
    "../../etc/passwd.jpg",
    "/absolute.jpg",
    "a//b.jpg",
    "./c.jpg",
    "d/../e.jpg",
    "..",
    "/",
    "a/",
    ".hidden.jpg",
    "a/.hidden/b.jpg",
    "tab\tand\nline.jpg",
    "nul\0.jpg",
    "\u202egpj.exe.jpg",
    "C:\\x.jpg",
    "what?.jpg",
    " leading.jpg",
    "trailing .jpg",
    "dot..jpg",
    "x" * 1020 + ".jpg",
    "é" * 508 + ".jpg",
    "/".join(["folder"] * 140) + "/x.jpg",
    "a.png/b.jpg",
    "a.TXT/b.jpg",
    "x~0123456789abcdef.jpg",
    "\ud800.jpg",
]

PLAIN = {
    "a/b.jpg": "a/b",
    "a/b.c.jpg": "a/b.c",
    "no suffix": "no suffix",
    "日本/画像.png": "日本/画像",
    "IMG_0001 (1).JPG": "IMG_0001 (1)",
    "-rf.jpg": "-rf",
}


def stems(keys: list[str]) -> list[str]:
    counter = StemCounter()
    counter.add(keys)
    names = counter.names()
    return [names.stem(key) for key in keys]


def test_plain_keys_keep_their_path() -> None:
    assert stems(list(PLAIN)) == list(PLAIN.values())


@pytest.mark.parametrize("key", HOSTILE)
def test_a_hostile_key_gets_a_name_that_every_store_takes(key: str, tmp_path: Path) -> None:
    (stem,) = stems([key])
    check_key(f"{stem}.png")
    assert stem.isascii()
    assert not any(part.startswith(".") for part in stem.split("/"))
    assert len(stem) < 200
    LocalStore(str(tmp_path)).write(f"{stem}.png", b"")
    assert Names().own_stem(key) is None


def test_all_names_lie_side_by_side_in_a_folder(tmp_path: Path) -> None:
    keys = [*HOSTILE, *PLAIN, "a.jpg", "a/b.png", "A/B.JPG", "odd.jpg", "odd/x.jpg", "odd/a.png"]
    store = LocalStore(str(tmp_path))
    for stem in stems(keys):
        store.write(f"{stem}.png", b"")
    assert len(list(tmp_path.rglob("*.png"))) == len(keys)


@pytest.mark.parametrize(
    "keys",
    [
        ["x.jpg", "x.png"],
        ["x.jpg", "x.JPG"],
        ["x.jpg", "X.jpg"],
        ["a/x.jpg", "A/x.jpg"],
        ["é.jpg", "e\u0301.jpg"],
        ["x", "x.jpg"],
        ["ß.jpg", "SS.jpg"],
    ],
)
def test_keys_of_one_stem_are_told_apart_by_a_digest(keys: list[str]) -> None:
    found = stems(keys)
    assert len({stem.casefold() for stem in found}) == len(keys)
    assert [stem.partition("~")[0] for stem in found] == [key.partition(".")[0] for key in keys]
    assert stems(keys[:1]) == [keys[0].partition(".")[0]]


def test_a_name_does_not_depend_on_the_order_of_the_keys() -> None:
    keys = ["x.jpg", "y.jpg", "x.png", "../z.jpg"]
    assert stems(keys) == stems(keys[::-1])[::-1]


@given(st.lists(st.text(st.sampled_from("aAé~./ \\0f"), min_size=1, max_size=6), unique=True))
def test_no_two_keys_share_a_name(keys: list[str]) -> None:
    found = [stem.casefold() for stem in stems(keys)]
    assert len(set(found)) == len(keys)
    for stem in stems(keys):
        check_key(stem)
