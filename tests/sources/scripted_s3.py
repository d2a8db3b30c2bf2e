"""An HTTP server that answers like an S3 in trouble."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Final

PIECE: Final = 2**20


@dataclass(frozen=True)
class Answer:
    """One HTTP answer; `sent` bytes of the body go out before the line is cut."""

    status: int
    body: bytes = b""
    sent: int | None = None


@dataclass(frozen=True)
class Request:
    """What the client sent."""

    method: str
    path: str
    headers: Message
    body: bytes


class Endpoint(str):
    """The URL of a running server, with the requests it has had."""

    requests: list[Request]


def failure(status: int, code: str) -> Answer:
    return Answer(status, f"<Error><Code>{code}</Code><Message>secret</Message></Error>".encode())


@contextmanager
def scripted_s3(
    script: Callable[[int, str], Answer], bytes_per_second: float = 0
) -> Iterator[Endpoint]:
    """Serve on this machine; `script` maps the number of the request and its path to the answer.

    `bytes_per_second` is how fast the server takes uploads, 0 for as fast as it can.
    """
    requests: list[Request] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            body = b"".join(self.pieces(int(self.headers.get("Content-Length", 0))))
            answer = script(len(requests), self.path)
            requests.append(Request(self.command, self.path, self.headers, body))
            self.send_response(answer.status)
            self.send_header("Content-Length", str(len(answer.body)))
            self.send_header("ETag", '"etag"')
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(answer.body[: answer.sent])
            if answer.sent is not None:
                self.close_connection = True

        do_PUT = do_HEAD = do_GET

        def pieces(self, length: int) -> Iterator[bytes]:
            """Take the body at the given speed."""
            while length > 0:
                piece = self.rfile.read(min(PIECE, length))
                if not piece:
                    raise ConnectionError("the client has gone")
                length -= len(piece)
                if bytes_per_second:
                    time.sleep(len(piece) / bytes_per_second)
                yield piece

        def log_message(self, *_: object) -> None:
            """Stay silent."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    endpoint = Endpoint(f"http://127.0.0.1:{server.server_port}")
    endpoint.requests = requests
    yield endpoint
    server.shutdown()
    server.server_close()
    thread.join()
