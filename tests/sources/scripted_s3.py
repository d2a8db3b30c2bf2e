"""An HTTP server that answers like an S3 in trouble."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread


@dataclass(frozen=True)
class Answer:
    """One HTTP answer; `sent` bytes of the body go out before the line is cut."""

    status: int
    body: bytes = b""
    sent: int | None = None


def failure(status: int, code: str) -> Answer:
    return Answer(status, f"<Error><Code>{code}</Code><Message>secret</Message></Error>".encode())


@contextmanager
def scripted_s3(script: Callable[[int, str], Answer]) -> Iterator[str]:
    """Serve on this machine; `script` maps the number of the request and its path to the answer."""
    count = 0

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            nonlocal count
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            answer = script(count, self.path)
            count += 1
            self.send_response(answer.status)
            self.send_header("Content-Length", str(len(answer.body)))
            self.send_header("ETag", '"etag"')
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(answer.body[: answer.sent])
            if answer.sent is not None:
                self.close_connection = True

        do_PUT = do_HEAD = do_GET

        def log_message(self, *_: object) -> None:
            """Stay silent."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()
