"""A real HTTP server on the loopback interface that gives the answers a test prepares, in order."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread

_POLL_SECONDS = 0.02


@dataclass
class Answer:
    """One prepared answer.

    Attributes:
        status: Status code.
        body: Content.
        headers: Headers besides the length.
        announced_bytes: Length that is announced; None for the body's own.
        is_silent: Whether nothing is ever sent, until the server stops.
        byte_seconds: Pause before each byte of the content.
    """

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    announced_bytes: int | None = None
    is_silent: bool = False
    byte_seconds: float = 0


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
            send(self, answer, stopped)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with listening(Handler, stopped) as url:
        web.url = f"{url}/prices.json"
        yield web


def send(handler: BaseHTTPRequestHandler, answer: Answer, stopped: Event) -> None:
    """Send an answer; a silent one keeps the connection open until the server stops."""
    if answer.is_silent:
        stopped.wait(30)
        return
    handler.send_response(answer.status)
    for name, value in answer.headers.items():
        handler.send_header(name, value)
    length = len(answer.body) if answer.announced_bytes is None else answer.announced_bytes
    handler.send_header("Content-Length", str(length))
    handler.end_headers()
    if not answer.byte_seconds:
        handler.wfile.write(answer.body)
        return
    for byte in answer.body:
        if stopped.wait(answer.byte_seconds):
            return
        handler.wfile.write(bytes([byte]))


@contextmanager
def listening(handler: type[BaseHTTPRequestHandler], stopped: Event) -> Iterator[str]:
    """Run a server on a free port of the loopback interface and give its address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = Thread(target=server.serve_forever, args=(_POLL_SECONDS,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        stopped.set()
        server.shutdown()
        server.server_close()
        thread.join()
