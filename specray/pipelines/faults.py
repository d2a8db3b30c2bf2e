"""What a person can mend, out of what Ray has wrapped around it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from ray.data.exceptions import ExecutionTimeoutError
from ray.exceptions import RayError

from specray.errors import UserError


@contextmanager
def faults_as_user_errors() -> Iterator[None]:
    """Raise the `UserError` of a worker, and one for a cluster in which nothing moves."""
    try:
        yield
    except ExecutionTimeoutError as error:
        raise UserError(
            f"nothing has moved for a long time ({str(error).splitlines()[0]}): look at the "
            "state of the cluster; what is done stays, the same command continues"
        ) from None
    except RayError as error:
        # Ray hands over the text, not the exception.
        found = re.search(r"specray\.errors\.UserError: (.+)", str(error))
        raise (UserError(found[1]) if found else error) from None
