"""A reverse proxy that makes a healthy S3 fail, seeded, on loopback.

It forwards each request as it is, so the client signs for the proxy's address and the store has
to accept that: moto does, and so does any store that checks the signature against the ``Host``
header it receives. The store is reached over plain HTTP.

    with faulty_s3("http://127.0.0.1:9000", seed=0, rate=0.2) as proxy:
        run(endpoint=proxy.url)
        print(proxy.requests, proxy.injected)
"""

from __future__ import annotations

import math
import random
import socket
import struct
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException, responses
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Lock, Thread
from typing import Any, Final, Literal
from urllib.parse import unquote, urlsplit

Kind = Literal[
    "slow_down",  # 503 SlowDown, the store hears nothing
    "internal_error",  # 500 InternalError, the store hears nothing
    "reset_before",  # reset before the store hears anything, an upload in its middle
    "reset_after",  # reset once the store has answered: an upload is stored, the client errs
    "reset_in_body",  # reset in the middle of the body of an answer
    "truncate",  # the connection ends in order, but before the promised end of the body
    "stall",  # the answer comes `stall` seconds late
]
KINDS: Final[tuple[Kind, ...]] = (
    "slow_down",
    "internal_error",
    "reset_before",
    "reset_after",
    "reset_in_body",
    "truncate",
    "stall",
)
_STATUS: Final = {"slow_down": (503, "SlowDown"), "internal_error": (500, "InternalError")}
_HOP_BY_HOP: Final = {"connection", "keep-alive", "transfer-encoding", "expect"}
_UPSTREAM_TIMEOUT: Final = 60


@dataclass
class Proxy:
    """A running proxy and what it has done; what is not a count may change meanwhile.

    Parameters
    ----------
    url
        Where it listens: the endpoint for the client.
    upstream
        URL of the healthy store.
    seed
        The n-th request of a method for a path meets the same fate in every run with this seed,
        whatever order threads come in.
    rate
        Probability of a fault, per request; 1 is an outage.
    kinds
        The faults, equally likely; one that does not fit a request, as a broken body that has
        none, becomes ``reset_after``.
    stall
        Seconds by which a stalled answer is late; infinite for never.
    only
        Start of the unquoted paths (``bucket/key``) that may fail; empty for all.
    limit
        How many faults there are in all, after which the store is healthy.
    requests, injected, gets
        Requests seen, faults by kind, GETs answered in full by unquoted path.
    """

    url: str
    upstream: str
    seed: int
    rate: float
    kinds: tuple[Kind, ...]
    stall: float
    only: str = ""
    limit: float = math.inf
    requests: int = 0
    injected: Counter[str] = field(default_factory=Counter)
    gets: Counter[str] = field(default_factory=Counter)
    closing: Event = field(default_factory=Event)
    healed: Event = field(default_factory=Event)
    _seen: Counter[str] = field(default_factory=Counter)
    _lock: Lock = field(default_factory=Lock)

    def fate(self, method: str, path: str) -> tuple[Kind | None, float]:
        """Count a request; return its fault, if any, and where in a body that would happen."""
        request = f"{method} {path}"
        with self._lock:
            self.requests += 1
            self._seen[request] += 1
            chance = random.Random(f"{self.seed} {request} {self._seen[request]}")
            healthy = chance.random() >= self.rate or not _name(path).startswith(self.only)
            if healthy or self.limit <= 0:
                return None, 0.0
            self.limit -= 1
        return chance.choice(self.kinds), chance.random()

    def heal(self) -> None:
        """End the faults; what is stalled is answered now."""
        self.rate = 0
        self.healed.set()

    def count_fault(self, kind: Kind) -> None:
        with self._lock:
            self.injected[kind] += 1

    def count_get(self, path: str) -> None:
        with self._lock:
            self.gets[_name(path)] += 1


@contextmanager
def faulty_s3(
    upstream: str, seed: int, rate: float, kinds: tuple[Kind, ...] = KINDS, stall: float = 0.2
) -> Iterator[Proxy]:
    """Serve `upstream` with faults on a free port of loopback; see `Proxy` for the parameters."""
    server = _Server(("127.0.0.1", 0), _Handler)
    url = f"http://127.0.0.1:{server.server_port}"
    server.proxy = Proxy(url, upstream, seed, rate, kinds, stall)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield server.proxy
    finally:
        server.proxy.closing.set()
        server.proxy.heal()
        server.shutdown()
        server.server_close()
        server.disconnect_all()
        thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128
    proxy: Proxy

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.connections: set[socket.socket] = set()

    def process_request(self, request: Any, client_address: Any) -> None:
        self.connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Close without the orderly end that the base class puts before a reset."""
        self.connections.discard(request)
        self.close_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Be silent about connections that end, which is what this server is for."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)

    def disconnect_all(self) -> None:
        """End the connections that clients keep open."""
        for connection in list(self.connections):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue


@dataclass(frozen=True)
class _Answer:
    status: int
    headers: list[tuple[str, str]]
    body: bytes


class _Handler(BaseHTTPRequestHandler):
    """One connection of a client, with its own connection to the store."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server
    upstream: HTTPConnection

    def setup(self) -> None:
        super().setup()
        parts = urlsplit(self.server.proxy.upstream)
        self.upstream = HTTPConnection(parts.netloc, timeout=_UPSTREAM_TIMEOUT)

    def finish(self) -> None:
        self.upstream.close()
        super().finish()

    def do_GET(self) -> None:
        proxy = self.server.proxy
        path = self.requestline.split(" ")[1]  # `self.path` merges slashes at the start
        kind, where = proxy.fate(self.command, path)
        length = int(self.headers.get("Content-Length", 0))
        if kind == "reset_before":
            proxy.count_fault(kind)
            self.rfile.read(int(length * where))
            return self._reset()
        body = self.rfile.read(length)
        if kind in _STATUS:
            proxy.count_fault(kind)
            return self._send(_failure(*_STATUS[kind]))
        try:
            answer = self._forward(path, body)
        except (OSError, HTTPException):  # the store is in trouble by itself
            return self._reset()
        if kind is None:
            if self.command == "GET" and answer.status < 300:
                proxy.count_get(path)  # first: a client that has its answer may ask at once
            self._send(answer)
            return None
        return self._spoil(answer, kind, where)

    do_PUT = do_HEAD = do_POST = do_DELETE = do_GET

    def _forward(self, path: str, body: bytes) -> _Answer:
        """Ask the store; once more if the connection went stale between two requests."""
        fresh = self.upstream.sock is None
        try:
            return self._ask(path, body)
        except (OSError, HTTPException):
            self.upstream.close()
            if fresh:
                raise
        return self._ask(path, body)

    def _ask(self, path: str, body: bytes) -> _Answer:
        self.upstream.putrequest(self.command, path, skip_host=True, skip_accept_encoding=True)
        for name, value in self.headers.items():
            if name.lower() not in _HOP_BY_HOP:
                self.upstream.putheader(name, value)
        self.upstream.endheaders(body or None)
        response = self.upstream.getresponse()
        return _Answer(response.status, response.getheaders(), response.read())

    def _spoil(self, answer: _Answer, kind: Kind, where: float) -> None:
        proxy = self.server.proxy
        has_body = bool(answer.body) and self.command != "HEAD"
        if kind in {"reset_in_body", "truncate"} and not has_body:
            kind = "reset_after"
        proxy.count_fault(kind)
        if kind == "stall":
            proxy.healed.wait(None if math.isinf(proxy.stall) else proxy.stall)
            if not proxy.closing.is_set():
                self._send(answer)
        elif kind == "reset_after":
            self._reset()
        else:
            self._send(answer, sent=int(len(answer.body) * where))
            if kind == "reset_in_body":
                self._reset()
            self.close_connection = True

    def _send(self, answer: _Answer, sent: int | None = None) -> None:
        """Answer with a body of which only `sent` bytes go out, None for all."""
        headers = [(key, value) for key, value in answer.headers if key.lower() not in _HOP_BY_HOP]
        names = {name.lower() for name, _ in headers}
        if "content-length" not in names and answer.status not in {204, 304}:
            headers.append(("Content-Length", str(len(answer.body))))
        lines = [f"HTTP/1.1 {answer.status} {responses.get(answer.status, 'Unknown')}"]
        lines += [f"{name}: {value}" for name, value in headers]
        head = "\r\n".join([*lines, "", ""]).encode("latin-1")
        # in one piece: two would wait for each other
        self.wfile.write(head + (b"" if self.command == "HEAD" else answer.body[:sent]))

    def _reset(self) -> None:
        """Have the socket closed with RST instead of FIN."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        """Stay silent."""


def _name(path: str) -> str:
    """Return bucket and key of the target of a request."""
    return unquote(path.partition("?")[0]).removeprefix("/")


def _failure(status: int, code: str) -> _Answer:
    body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>injected</Message></Error>"
    return _Answer(status, [("Content-Type", "application/xml")], body.encode())
