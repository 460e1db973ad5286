"""A server on the loopback, for what commands fetch."""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Server(ThreadingHTTPServer):
    """Serves files by their last names, and keeps what it was asked."""

    def __init__(self, files: Mapping[str, bytes]):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files = files
        self.asked: list[tuple[str, str]] = []  # path and range
        self.knows_ranges = True
        self.limit: int | None = None  # of each answer, bytes of the file

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/models"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self):
        given = self.headers["Range"]
        self.server.asked.append((self.path, given))
        try:
            content = self.server.files[self.path.rpartition("/")[2]]
        except KeyError:
            self.send_error(404)
            return
        start = int(given.removeprefix("bytes=").removesuffix("-"))
        start *= self.server.knows_ranges
        if start >= len(content):
            self.send_error(416)
            return
        self.send_response(206 if self.server.knows_ranges else 200)
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        self.wfile.write(content[start : self.server.limit])

    def log_message(self, *_):
        """Prints nothing."""


@contextmanager
def serving(files: Mapping[str, bytes]) -> Iterator[Server]:
    """Serves files while the block runs."""
    with Server(files) as server:
        serve = partial(server.serve_forever, poll_interval=0.01)
        threading.Thread(target=serve, daemon=True).start()
        yield server
        server.shutdown()
