"""Names that a person gave to classes, from a JSON, YAML or CSV file."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

import yaml

from specray.errors import UserError


def read_names(data: bytes, filename: str) -> dict[int, str]:
    """Names of classes by id.

    Parameters
    ----------
    data
        The file: an object ``{"0": "sky"}`` or a list of names for ids 0, 1, ... in JSON or YAML,
        or rows ``id,name`` in CSV, with or without that line as a header.
    filename
        Decides by its suffix (.json, .yaml, .yml, .csv) and appears in messages.

    Raises
    ------
    UserError
        The file is no such list, an id is no whole number of 0 or more, a name is empty or longer
        than a line, or an id stands twice.
    """
    read = {".json": _from_json, ".yaml": _from_yaml, ".yml": _from_yaml, ".csv": _from_csv}
    suffix = PurePosixPath(filename).suffix.lower()
    if suffix not in read:
        raise UserError(f"{filename}: names are read from .json, .yaml or .csv")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise UserError(f"{filename} is not text in UTF-8") from None
    names: dict[int, str] = {}
    for key, value in read[suffix](text, filename):
        number, name = _class_id(key, filename), _name(value, key, filename)
        if number in names:
            raise UserError(f"{filename}: class {number} has two names")
        names[number] = name
    return names


class _Loader(yaml.SafeLoader):
    """Reads mappings as pairs, so that an id that stands twice is seen."""


def _pairs(loader: yaml.SafeLoader, node: yaml.MappingNode) -> list[tuple[Any, Any]]:
    return [
        (loader.construct_object(key, deep=True), loader.construct_object(value, deep=True))
        for key, value in node.value
    ]


_Loader.add_constructor("tag:yaml.org,2002:map", _pairs)


def _from_json(text: str, filename: str) -> Iterator[tuple[Any, Any]]:
    try:
        tree = json.loads(text, object_pairs_hook=list)
    except (ValueError, RecursionError):
        raise UserError(f"{filename} is not JSON") from None
    return _entries(tree, filename)


def _from_yaml(text: str, filename: str) -> Iterator[tuple[Any, Any]]:
    try:
        tree = yaml.load(text, _Loader)
    except (yaml.YAMLError, ValueError, RecursionError):
        raise UserError(f"{filename} is not YAML") from None
    return _entries(tree, filename)


def _entries(tree: object, filename: str) -> Iterator[tuple[Any, Any]]:
    if not isinstance(tree, list) or not tree:
        raise UserError(f'{filename} must hold names by class, as {{"0": "sky"}}, or a list')
    yield from tree if all(isinstance(entry, tuple) for entry in tree) else enumerate(tree)


def _from_csv(text: str, filename: str) -> Iterator[tuple[str, str]]:
    rows = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        for row in rows:
            if not row or (rows.line_num == 1 and [cell.strip() for cell in row] == ["id", "name"]):
                continue
            if len(row) != 2:
                raise UserError(f"{filename}, line {rows.line_num}: expected id,name")
            yield row[0], row[1]
    except csv.Error as error:
        raise UserError(f"{filename}, line {rows.line_num}: {error}") from None


def _class_id(key: object, filename: str) -> int:
    text = str(key).strip()
    if isinstance(key, bool) or not (text.isascii() and text.isdigit() and len(text) < 19):
        raise UserError(f"{filename}: {text[:40]!r} is no class id; ids are whole numbers from 0")
    return int(text)


def _name(value: object, key: object, filename: str) -> str:
    name = value.strip() if isinstance(value, str) else ""
    if not name or not name.isprintable() or len(name) > 200:
        raise UserError(f"{filename}: the name of class {key} must be one line of text")
    return name
