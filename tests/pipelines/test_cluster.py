"""Joining a cluster, and starting one."""

from __future__ import annotations

import socket

import pytest

from specray.errors import UserError
from specray.pipelines.cluster import check_reachable


def test_an_address_where_nobody_answers_is_one_clear_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        check_reachable(f"127.0.0.1:{port}")
        check_reachable(f"ray://127.0.0.1:{port}")
    for address in (f"127.0.0.1:{port}", f"ray://127.0.0.1:{port}"):
        with pytest.raises(UserError, match="there is no Ray cluster at") as caught:
            check_reachable(address)
        assert "\n" not in str(caught.value)
    check_reachable("auto")  # Ray looks for it itself
