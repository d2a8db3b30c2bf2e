"""Ray's workers at a fraction of their price: forks of a process that has imported libraries.

Ray starts a new Python for every worker and every actor, and most of what a job of a few images
takes is the import of torch and the like, again and again. So the Ray of the tests starts, in place
of Python, a command that asks one process for a fork of itself. Ray itself is imported after the
fork, for its settings are read then. Other Rays that tests start, such as those of commands and of
the job server, are as users have them.
"""

from __future__ import annotations

import atexit
import functools
import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

LIBRARIES = (
    *("boto3", "google.protobuf.json_format", "numba", "pandas", "pyarrow.dataset", "pydantic"),
    *("scipy.sparse.linalg", "timm", "torch"),
)
"""Imported by Ray and by us."""

ROOMS = ("backbones", "masks", "semantics", "sources", "spectral", "tables")
"""Of specray: those that know no Ray."""

_ASK = """\
import json, os, socket, sys
words, variables = sys.argv[1:], {{}}
if words[0].endswith("/setup_worker.py"):  # sets variables, and starts what follows
    _, *inner, _language, context = words
    context = json.loads(context.partition("=")[2])
    if not context["command_prefix"] and "PYTHONPATH" not in context["env_vars"]:
        words, variables = inner, context["env_vars"]
if not words[0].endswith("/default_worker.py"):
    os.execv({python!r}, [{python!r}, *words])
request = json.dumps([words, {{**os.environ, **variables}}, os.getcwd()]).encode()
with socket.socket(socket.AF_UNIX) as parent:
    parent.connect({address!r})
    socket.send_fds(parent, [len(request).to_bytes(8, "big")], [0, 1, 2])
    parent.sendall(request)
    parent.recv(1)  # until the fork has it
"""


@contextmanager
def forking() -> Iterator[None]:
    """While Ray is started in the block, it is told this command instead of Python."""
    with patch.object(sys, "executable", _python()):
        yield


@functools.cache
def _python() -> str:
    """The command; what it asks for forks ends with this process."""
    holder = tempfile.TemporaryDirectory(prefix="forking-")
    atexit.register(holder.cleanup)
    folder = Path(holder.name)
    address, ask, python = folder / "parent", folder / "ask.py", folder / "python"
    ask.write_text(_ASK.format(python=sys.executable, address=str(address)))
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" -IS "{ask}" "$@"\n')
    python.chmod(stat.S_IRWXU)
    words = [sys.executable, "-m", "tests.forking", str(address)]
    pipe = subprocess.PIPE
    parent = subprocess.Popen(words, cwd=Path(__file__).parents[1], stdin=pipe, stdout=pipe)
    atexit.register(parent.communicate)  # ends its input, and waits
    assert parent.stdout is not None and parent.stdout.readline() == b"ready\n"
    return str(python)


def _serve(address: str) -> None:
    """Fork on request until the standard input ends, with the process that holds its other end."""
    _import_all()
    gc.freeze()  # a collection would copy what the forks share
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the forks
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(address)
        server.listen()
        print("ready", flush=True)
        while server in select.select([server, sys.stdin], [], [])[0]:
            connection, _ = server.accept()
            size, handles, *_ = socket.recv_fds(connection, 8, 3)
            if os.fork() == 0:
                server.close()
                with connection, connection.makefile("rb") as file:
                    request = json.loads(file.read(int.from_bytes(size, "big")))
                _become(handles, *request)
                return
            connection.close()
            for handle in handles:
                os.close(handle)


def _import_all() -> None:
    # What has one CPU finds this set by Ray, and as many threads decide the last bit of results.
    os.environ["OMP_NUM_THREADS"] = "1"
    for name in (*LIBRARIES, *(f"specray.{room}" for room in ROOMS)):
        importlib.import_module(name)
    assert "ray" not in sys.modules


def _become(handles: list[int], words: list[str], environment: dict[str, str], folder: str) -> None:
    """Go on as ``python WORDS`` with these streams, variables and working directory."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for place, handle in enumerate(handles):
        os.dup2(handle, place)
        os.close(handle)
    os.environ.clear()
    os.environ |= environment
    os.chdir(folder)
    sys.argv = words
    sys.path[0] = str(Path(words[0]).parent)  # as for any script; Ray takes it away
    runpy.run_path(words[0], run_name="__main__")


if __name__ == "__main__":
    _serve(sys.argv[1])
