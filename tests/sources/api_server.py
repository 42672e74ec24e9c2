"""A real HTTP server on the loopback interface that speaks documented APIs, pages and faults included.

A test registers routes; each gives the answer for a call. Prepared faults are given instead of the next answers, in
order: an error, a throttle, silence, a body that ends early, a page that came before.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from threading import Event
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.sources.web import Answer, listening, send


@dataclass(frozen=True)
class Call:
    """One request as the server saw it.

    Attributes:
        method: GET or POST.
        path: Without query.
        params: The query's values by name.
        headers: By lower-case name.
        body: Content.
    """

    method: str
    path: str
    params: Mapping[str, list[str]]
    headers: Mapping[str, str]
    body: bytes = b""

    def param(self, name: str, default: str = "") -> str:
        """Give the last value of a name in the query."""
        return self.params.get(name, [default])[-1]

    def json(self) -> Any:  # noqa: ANN401 - JSON
        """Give the body as JSON."""
        return json.loads(self.body)


Route = Callable[[Call], Answer]


@dataclass
class ApiServer:
    """The server.

    Attributes:
        url: Its address.
        routes: What it answers, by path.
        faults: Answers that are given first, one per request; None lets the request through.
        calls: What it was asked.
    """

    url: str = ""
    routes: dict[str, Route] = field(default_factory=dict)
    faults: list[Answer | None] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)

    def answer(self, call: Call) -> Answer:
        """Answer a call: the next fault, else what its route says."""
        self.calls.append(call)
        fault = self.faults.pop(0) if self.faults else None
        if fault is not None:
            return fault
        route = self.routes.get(call.path)
        return route(call) if route else reply({"error": {"message": f"no path {call.path}"}}, 404)


@contextmanager
def api_server(routes: Mapping[str, Route]) -> Iterator[ApiServer]:
    """Serve routes until the context is left."""
    stopped = Event()
    server = ApiServer(routes=dict(routes))

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            length = int(self.headers.get("Content-Length") or 0)
            headers = {name.lower(): value for name, value in self.headers.items()}
            params = parse_qs(parts.query, keep_blank_values=True)
            call = Call(self.command, parts.path, params, headers, self.rfile.read(length))
            send(self, server.answer(call), stopped)

        do_POST = do_GET  # noqa: N815 - the name that http.server looks for

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with listening(Handler, stopped) as url:
        server.url = url
        yield server


def reply(content: Any, status: int = 200, **headers: str) -> Answer:  # noqa: ANN401 - JSON
    """Answer with JSON; `Retry_After="1"` is a header."""
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer(status, body, {"Content-Type": "application/json", **names})


def truncated(content: Any) -> Answer:  # noqa: ANN401 - JSON
    """Announce a whole body and send half of it."""
    body = json.dumps(content).encode()
    return Answer(200, body[: len(body) // 2], announced_bytes=len(body))


def keyed(header: str, value: str, route: Route) -> Route:
    """Let through only calls with a header of that value; others get 401 in the words of the vendors."""

    def guarded(call: Call) -> Answer:
        if call.headers.get(header.lower()) != value:
            return reply({"error": {"type": "authentication_error", "message": "invalid key"}}, 401)
        return route(call)

    return guarded


def token_paged(items: Callable[[Call], Sequence[Any]], page_size: int = 2, param: str = "page") -> Route:
    """Speak the pages of OpenAI's and Anthropic's organisation APIs: data, has_more, next_page."""

    def route(call: Call) -> Answer:
        found = list(items(call))
        # `limit` counts buckets and is an upper bound.
        size = min(page_size, int(call.param("limit", str(page_size))))
        start = int(call.param(param, "page_0").removeprefix("page_"))
        end = start + size
        has_more = end < len(found)
        page = {"data": found[start:end], "has_more": has_more, "next_page": f"page_{end}" if has_more else None}
        return reply({"object": "page", **page})

    return route
