"""Single files that a person names, such as weights."""

from __future__ import annotations

from specray.errors import ImageError, UserError
from specray.sources import open_parent


def read_given(uri: str, flag: str, endpoint: str | None) -> bytes:
    """The bytes of the file that a flag names.

    Raises
    ------
    UserError
        It cannot be read.
    """
    store, key = open_parent(uri, endpoint)
    try:
        return store.read(key).data
    except ImageError as error:
        raise UserError(f"cannot read {flag} {uri}: {error.message}") from None
