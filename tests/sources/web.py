"""A real HTTP server on the loopback interface that gives the answers a test prepares, in order."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread


@dataclass
class Answer:
    """One prepared answer.

    Attributes:
        status: Status code.
        body: Content.
        headers: Headers besides the length.
        announced_bytes: Length that is announced; None for the body's own.
        is_silent: Whether nothing is ever sent, until the server stops.
    """

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    announced_bytes: int | None = None
    is_silent: bool = False


@dataclass
class Web:
    """The server: what it will answer, the last answer again and again, and the headers of each request."""

    url: str
    answers: list[Answer]
    requests: list[dict[str, str]] = field(default_factory=list)


@contextmanager
def serving(*answers: Answer) -> Iterator[Web]:
    """Serve the answers until the context is left."""
    stopped = Event()
    web = Web("", list(answers))

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            web.requests.append({name.lower(): value for name, value in self.headers.items()})
            answer = web.answers.pop(0) if len(web.answers) > 1 else web.answers[0]
            if answer.is_silent:
                stopped.wait(30)
                return
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            length = len(answer.body) if answer.announced_bytes is None else answer.announced_bytes
            self.send_header("Content-Length", str(length))
            self.end_headers()
            self.wfile.write(answer.body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    web.url = f"http://127.0.0.1:{server.server_address[1]}/prices.json"
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield web
    finally:
        stopped.set()
        server.shutdown()
        server.server_close()
        thread.join()
