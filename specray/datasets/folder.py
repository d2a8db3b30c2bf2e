"""Files of a dataset: bytes, lines and JSON, or one line that says which file is at fault."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, Final

from specray.datasets.base import stem
from specray.errors import ErrorCode, ImageError, UserError
from specray.sources import Store, open_parent, open_store

_WRONG: Final[tuple[type[Exception], ...]] = (
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    ArithmeticError,
    RecursionError,
)
"""What code raises that trusts a file to have the form it ought to have."""


@dataclass(frozen=True)
class Folder:
    """A folder of a dataset, local or under a bucket; pickles.

    Parameters
    ----------
    store
        Opened at the folder, so that a listing sees no more than it.
    endpoint
        For the stores of folders below.
    """

    store: Store
    endpoint: str | None

    @property
    def uri(self) -> str:
        """Where it is."""
        return self.store.uri

    def at(self, path: str) -> Folder:
        """A folder below."""
        return open_folder(f"{self.uri.rstrip('/')}/{path}", self.endpoint)

    def read(self, name: str) -> bytes:
        """The bytes of a file.

        Raises
        ------
        UserError
            It is not there, or cannot be read.
        """
        try:
            return self.store.read(name).data
        except ImageError as error:
            if error.code == ErrorCode.MISSING:
                raise UserError(
                    f"--truth: there is no {name} in {self.uri}; check the folder, --dataset and "
                    "--split, or download what is missing"
                ) from None
            raise UserError(f"--truth: cannot read {name} in {self.uri}: {error.message}") from None

    def lines(self, name: str) -> list[str]:
        """The lines of a text file, stripped, without empty ones.

        Raises
        ------
        UserError
            As `read`, or it is empty or no text.
        """
        data = self.read(name)
        with self.damaged(name, "a list of images"):
            lines = [line.strip() for line in data.decode("utf-8-sig").splitlines()]
        if not (filled := [line for line in lines if line]):
            raise UserError(f"--truth: {name} in {self.uri} is empty; download it again")
        return filled

    def json(self, name: str) -> dict[str, Any]:
        """A JSON object.

        Raises
        ------
        UserError
            As `read`, or it is none.
        """
        data = self.read(name)
        with self.damaged(name, "JSON"):
            tree = json.loads(data)
        if not isinstance(tree, dict):
            raise UserError(f"--truth: {name} in {self.uri} is no JSON object")
        return tree

    def names(self, suffix: str) -> list[str]:
        """The files that end in `suffix`, those of folders below as well.

        Raises
        ------
        UserError
            There is none.
        """
        if found := [entry.key for entry in self.store.list((suffix,))]:
            return found
        raise UserError(
            f"--truth: no file in {self.uri} ends in {suffix}; check the folder, --dataset and "
            "--split"
        )

    @contextmanager
    def damaged(self, name: str, kind: str, *faults: type[Exception]) -> Iterator[None]:
        """Turn what a parser raises on wrong bytes into a `UserError` that names the file.

        Parameters
        ----------
        name, kind
            Of the file, and what it ought to be.
        faults
            What the parser raises besides the errors of wrong values and wrong types.
        """
        try:
            yield
        except (*_WRONG, *faults) as error:
            reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
            raise UserError(
                f"--truth: {name} in {self.uri} is no {kind}, or damaged ({reason}); repair it, or "
                "download it again"
            ) from None


def open_folder(uri: str, endpoint: str | None = None) -> Folder:
    """A folder by its URI; nothing is contacted."""
    return Folder(open_store(uri, endpoint), endpoint)


def listed(uri: str, endpoint: str | None, parts: int = 1) -> frozenset[str]:
    """The images that a list names, one a line, by the end of their path without the suffix.

    Such lists carry the folders of the machine on which they were made.

    Parameters
    ----------
    uri, endpoint
        Of a text file.
    parts
        How much of a path counts: 1, its name; 2, its folder as well.

    Raises
    ------
    UserError
        It cannot be read, or is empty.
    """
    store, name = open_parent(uri, endpoint)
    try:
        lines = Folder(store, endpoint).lines(name)
    except UserError as error:
        raise UserError(str(error).replace("--truth", "--list", 1)) from None
    return frozenset(tail(line, parts) for line in lines)


def tail(key: str, parts: int) -> str:
    """The last parts of a path without its suffix.

    Examples
    --------
    >>> tail("/home/user/AnnTrue/0043f083b5/00005.png", 2)
    '0043f083b5/00005'
    """
    return str(PurePosixPath(*PurePosixPath(stem(key)).parts[-parts:]))
