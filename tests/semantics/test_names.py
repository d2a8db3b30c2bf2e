from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from specray.errors import UserError
from specray.semantics import read_names

SKY = {0: "sky", 7: "a road, wet"}


@pytest.mark.parametrize(
    ("filename", "text"),
    [
        ("n.json", '{"0": "sky", "7": "a road, wet"}'),
        ("N.JSON", '\ufeff{\t"7":\t" a road, wet ", "0": "sky"}'),
        ("n.yaml", "0: sky\n7: a road, wet\n"),
        ("n.yml", "'0': sky\n'7': a road, wet\n"),
        ("n.csv", 'id,name\n0,sky\n7,"a road, wet"\n'),
        ("n.csv", '0,sky\r\n\r\n7,"a road, wet"'),
    ],
)
def test_names_are_read_from_every_format(filename: str, text: str) -> None:
    assert read_names(text.encode(), filename) == SKY


@pytest.mark.parametrize("filename", ["n.json", "n.yaml"])
def test_a_list_names_classes_from_zero(filename: str) -> None:
    assert read_names('["sky", "Bäume"]'.encode(), filename) == {0: "sky", 1: "Bäume"}


@pytest.mark.parametrize(
    ("filename", "data", "message"),
    [
        ("n.txt", b"0,sky", "are read from"),
        ("n.json", b"\xff\xfe", "UTF-8"),
        ("n.json", b'{"0": ', "not JSON"),
        ("n.json", b"[" * 100_000, "not JSON"),
        ("n.json", b"{}", "names by class"),
        ("n.json", b'"sky"', "names by class"),
        ("n.json", b'{"0": "a", "0": "b"}', "two names"),
        ("n.json", b'{"0": "a", "00": "b"}', "two names"),
        ("n.json", b'{"-1": "a"}', "'-1' is no class id"),
        ("n.json", b'{"0": 5}', "name of class 0"),
        ("n.json", b'{"0": {"1": "a"}}', "name of class 0"),
        ("n.json", b'{"0": " "}', "name of class 0"),
        ("n.json", b'{"0": "a\\nb"}', "one line"),
        ("n.yaml", b"0: [", "not YAML"),
        ("n.yaml", b"0: a\n0: b", "two names"),
        ("n.yaml", b"true: a", "'True' is no class id"),
        ("n.yaml", b"1.5: a", "no class id"),
        ("n.yaml", b"!!python/object:os.system {}", "not YAML"),
        ("n.csv", b"id,name\n0,sky,blue", "line 2: expected id,name"),
        ("n.csv", b"sky,0", "'sky' is no class id"),
        ("n.csv", b'0,"sky', "line 1"),
    ],
)
def test_every_fault_is_one_clear_line(filename: str, data: bytes, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        read_names(data, filename)
    assert "\n" not in str(caught.value) and filename in str(caught.value)


@given(st.binary(max_size=60), st.sampled_from(["n.json", "n.yaml", "n.csv"]))
def test_no_bytes_fail_otherwise(data: bytes, filename: str) -> None:
    try:
        names = read_names(data, filename)
    except UserError:
        return
    assert all(number >= 0 and name for number, name in names.items())
