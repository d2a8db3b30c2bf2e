"""Objects of an output that may or may not be there."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from specray.errors import ErrorCode, ImageError, UserError
from specray.sources import Store

T = TypeVar("T")


def if_there(store: Store, key: str, read: Callable[[], T]) -> T | None:
    """What `read` gives of an object, None if there is no such object.

    Raises
    ------
    UserError
        The store does not deliver it.
    """
    try:
        return read()
    except ImageError as error:
        if error.code is ErrorCode.MISSING:
            return None
        raise UserError(f"cannot read {key} in {store.uri}: {error.message}") from None
