"""Arrays and a JSON document as the bytes of one safetensors file, and back.

The one entry of the metadata is JSON of ``version``, ``document`` (JSON) and ``sha256`` of document
and tensors. Equal contents give equal bytes. Nothing in such a file can run.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from specray.errors import UserError

Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Format:
    """A kind of file."""

    entry: str
    """Name of the entry of the metadata."""
    version: int
    foreign: str
    """What to say of bytes that are damaged or something else."""
    outdated: str
    """What to say of another version, with ``{found}`` and ``{version}``."""

    def pack(self, arrays: Mapping[str, NDArray[Any]], document: Mapping[str, Any]) -> bytes:
        """The bytes of arrays and document."""
        text = json.dumps(document, allow_nan=False, sort_keys=True)
        arrays = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
        header = {"version": self.version, "sha256": digest_of(arrays, text), "document": text}
        # one entry: safetensors writes several in an order that differs from time to time
        data: bytes = save(arrays, {self.entry: json.dumps(header)})
        return data

    def names(self, data: bytes) -> bool:
        """Whether the header of a file says that it is of this kind; the rest may be damaged."""
        try:
            header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
            return self.entry in header["__metadata__"]
        except (ValueError, KeyError, TypeError):
            return False

    def unpack(self, data: bytes) -> tuple[Arrays, dict[str, Any]]:
        """Arrays and document, whole; whether they fit each other is for the caller to say.

        Raises
        ------
        UserError
            The bytes are damaged, something else, or of another version.
        """
        try:
            arrays: Arrays = load(data)
            header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
            entry = json.loads(header["__metadata__"][self.entry])
            version, text = entry["version"], entry["document"]
            whole = entry["sha256"] == digest_of(arrays, text)
            document = json.loads(text)
        except (SafetensorError, ValueError, KeyError, TypeError, AttributeError):
            raise UserError(self.foreign) from None
        if not whole or not isinstance(document, dict):
            raise UserError(self.foreign)
        if version != self.version:
            raise UserError(self.outdated.format(found=version, version=self.version))
        return arrays, document


def digest_of(arrays: Mapping[str, NDArray[Any]], text: str) -> str:
    """Hash, in hexadecimal, of arrays by name and of a text."""
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass"))
    for name in sorted(arrays):
        digest.update(f"\0{name} {arrays[name].dtype} {arrays[name].shape}\0".encode())
        digest.update(arrays[name].tobytes())
    return digest.hexdigest()
