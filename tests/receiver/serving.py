"""A receiver on a loopback port in this process, and exports to send to it."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import uvicorn
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from dagster_project.receiver._spool import Spool
from dagster_project.receiver.server import Receiver, server_of
from dagster_project.sources.otlp_files import ReceiverOptions
from tests.sources.pulling import Pulled, pull


@dataclass
class Live:
    """A receiver that is serving: its address and its spool."""

    url: str
    folder: Path
    spool: Spool

    def post(self, body: bytes, **headers: str) -> httpx2.Response:
        """Send a body."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return httpx2.post(self.url, content=body, headers={"content-type": "application/json", **named}, timeout=30)

    def pulled(self, state: Path, **options: Any) -> Pulled:  # noqa: ANN401 - any option
        """Pull what is published."""
        path = str(self.folder / "*.jsonl.zst")
        return pull(state, "otlp_files", path=path, receiver={}, **options)


@contextmanager
def receiving(folder: Path, *, hash_key: bytes | None = None, **options: Any) -> Iterator[Live]:  # noqa: ANN401
    """Serve until the context is left; what was taken in is published then."""
    checked = ReceiverOptions(port=0, **{"min_free_bytes": 0, **options})
    spool = Spool(
        folder,
        file_bytes=checked.file_bytes,
        file_seconds=checked.file_seconds,
        min_free_bytes=checked.min_free_bytes,
    )
    ready = threading.Event()
    servers: list[uvicorn.Server] = []

    async def serve() -> None:
        async with Receiver(spool, checked, hash_key=hash_key) as receiver:
            server = server_of(receiver, checked)
            servers.append(server)
            serving = asyncio.create_task(server.serve())
            while not server.started:
                await asyncio.sleep(0.005)
            ready.set()
            await serving

    thread = threading.Thread(target=lambda: asyncio.run(serve()), daemon=True)
    thread.start()
    assert ready.wait(30)
    port = servers[0].servers[0].sockets[0].getsockname()[1]
    try:
        yield Live(f"http://127.0.0.1:{port}/v1/traces", folder, spool)
    finally:
        servers[0].should_exit = True
        thread.join(30)


def spans_of_the_sdk(
    count: int, attributes: dict[str, Any] | None = None, *, failed_with: str | None = None
) -> tuple[ReadableSpan, ...]:
    """Make inference spans with the OpenTelemetry SDK, of 100, 101, ... input tokens."""
    memory = InMemorySpanExporter()
    provider = TracerProvider(resource=Resource.create({"service.name": "chat-backend"}))
    provider.add_span_processor(SimpleSpanProcessor(memory))
    tracer = provider.get_tracer("app", "1.0")
    for index in range(count):
        with tracer.start_as_current_span("chat gpt-4o") as span:
            span.set_attribute("gen_ai.operation.name", "chat")
            span.set_attribute("gen_ai.response.model", "gpt-4o")
            span.set_attribute("gen_ai.usage.input_tokens", 100 + index)
            span.set_attribute("gen_ai.usage.output_tokens", 7)
            for name, value in (attributes or {}).items():
                span.set_attribute(name, value)
            if failed_with:
                span.set_status(StatusCode.ERROR, failed_with)
    return memory.get_finished_spans()


def exporter_to(url: str, compression: Compression = Compression.Gzip, timeout: float = 10) -> OTLPSpanExporter:
    """Give the SDK's exporter."""
    return OTLPSpanExporter(endpoint=url, compression=compression, timeout=timeout)
