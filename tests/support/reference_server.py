"""A server of documents that behaves as it is told to: slow, failing, redirecting, changing, lying."""

import hashlib
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = Callable[["Handler"], None]


class Handler(BaseHTTPRequestHandler):
    """Answers by the path's first part; `answers` of the server has what a test adds."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        server: Any = self.server
        path = self.path.partition("?")[0]
        with server.lock:
            server.requests[path] += 1
            server.conditions[path] = self.headers.get("If-None-Match")
        kind = path.strip("/").partition("/")[0]
        answer = server.answers.get(path) or server.answers.get(kind) or plain
        try:
            answer(self)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: a test says itself what was asked."""

    def send(
        self, body: bytes, status: int = 200, length: int | None = None, **headers: str
    ) -> None:
        """Answer; `length` is stated in place of the true one."""
        self.send_response(status)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)


class Server(ThreadingHTTPServer):
    """The server, and what it was asked for."""

    daemon_threads = True
    request_queue_size = 200

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.lock = threading.Lock()
        self.answers: dict[str, Answer] = {}
        self.requests: Counter[str] = Counter()
        self.conditions: dict[str, str | None] = {}
        self.texts: dict[str, str] = {}
        self.closing = threading.Event()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Nothing: clients that break off are what is tested."""

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.server_address[1]}"

    def url(self, path: str) -> str:
        return f"http://{self.host}{path}"

    @property
    def asked(self) -> int:
        return sum(self.requests.values())


def text_of(handler: Handler) -> str:
    server: Any = handler.server
    path = handler.path.partition("?")[0]
    return server.texts.get(path, f"The document {path} says that the weir was open.")


def plain(handler: Handler) -> None:
    """A text, with an ETag; 304 where the client has it."""
    body = text_of(handler).encode()
    etag = f'"{hashlib.sha256(body).hexdigest()[:16]}"'
    if handler.headers.get("If-None-Match") == etag:
        handler.send(b"", 304, ETag=etag)
    else:
        handler.send(body, ETag=etag, Content_Type="text/plain; charset=utf-8")


def without_etag(handler: Handler) -> None:
    handler.send(text_of(handler).encode(), Content_Type="text/plain")


def status(code: int, **headers: str) -> Answer:
    return lambda handler: handler.send(b"no", code, **headers)


def redirect(target: str, code: int = 302) -> Answer:
    return lambda handler: handler.send(b"", code, Location=target)


def lies(stated: int, body: bytes) -> Answer:
    """States another size than it sends, and ends there."""

    def answer(handler: Handler) -> None:
        handler.close_connection = True
        handler.send(body, length=stated, Content_Type="text/plain")

    return answer


def endless(handler: Handler) -> None:
    """Sends and sends."""
    handler.close_connection = True
    handler.send_response(200)
    handler.send_header("Content-Type", "text/plain")
    handler.end_headers()
    while True:
        handler.wfile.write(b"and on and on " * 4_000)


def trickling(handler: Handler) -> None:
    """A byte now and then, so that no single read takes long."""
    server: Any = handler.server
    handler.close_connection = True
    handler.send_response(200)
    handler.send_header("Content-Length", "1000000")
    handler.end_headers()
    while not server.closing.wait(0.1):
        handler.wfile.write(b".")
        handler.wfile.flush()


def silent(handler: Handler) -> None:
    """Takes the request and says nothing."""
    server: Any = handler.server
    handler.close_connection = True
    server.closing.wait(60)


def late(seconds: float) -> Answer:
    """The document, after a while."""

    def answer(handler: Handler) -> None:
        server: Any = handler.server
        server.closing.wait(seconds)
        plain(handler)

    return answer


def failing_first(times: int, code: int = 503, **headers: str) -> Answer:
    """Refuses a path some times, and then answers."""
    left: Counter[str] = Counter()

    def answer(handler: Handler) -> None:
        left[handler.path] += 1
        if left[handler.path] <= times:
            handler.send(b"no", code, **headers)
        else:
            plain(handler)

    return answer


@contextmanager
def serving() -> Iterator[Server]:
    """A server on a port of its own."""
    server = Server()
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.closing.set()
        server.shutdown()
        thread.join(5)
        server.server_close()


def seconds_of(work: Callable[[], Any]) -> float:
    started = time.monotonic()
    work()
    return time.monotonic() - started
