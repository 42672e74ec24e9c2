"""Telemetry: how fast OTLP files land, plain and compressed, and how fast the receiver takes exports in.

One core's work is what the CPU time says: reading and writing overlap in two threads of one interpreter.
"""

import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from threading import Thread
from typing import Any

import httpx2
import zstandard
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from dagster_project.warehouse.landing import Landing
from tests.benchmarks.measure import peak_memory_bytes
from tests.receiver.serving import receiving
from tests.sources.pulling import pull

SPANS_PER_EXPORT = 512
_START_NS = 1_782_864_000_000_000_000


def write_traces(folder: str, mebibytes: int) -> dict[str, Any]:
    """Write `traces.jsonl` of about that size, and the same content as `.zst`."""
    size_bytes = span_count = 0
    path = Path(folder) / "traces.jsonl"
    with path.open("wb") as plain, zstandard.open(f"{path}.zst", "wb") as compressed:
        while size_bytes < mebibytes << 20:
            line = b"".join(_line(span_count, span_count + 16))
            span_count += 16
            size_bytes += plain.write(line)
            compressed.write(line)
    return {"bytes": size_bytes, "span_count": span_count}


def land_traces(folder: str, name: str) -> dict[str, Any]:
    """Land one of the files, and say how many spans, in how many seconds of CPU time."""
    started = time.process_time()
    landing = pull(Path(folder) / f"state_{name}", "otlp_files", path=str(Path(folder) / name)).landing
    return {"span_count": landing.rows_landed, "cpu_seconds": time.process_time() - started}


def receive_traces(folder: str, export_count: int, sender_count: int) -> dict[str, Any]:
    """Send exports from several threads over HTTP to a receiver in this process, and land what it wrote."""
    bodies = [_export(index).SerializeToString() for index in range(sender_count)]
    headers = {"content-type": "application/x-protobuf"}
    with receiving(Path(folder) / "spool") as live:

        def send(body: bytes) -> None:
            with httpx2.Client(timeout=60) as client:
                for _ in range(export_count // sender_count):
                    client.post(live.url, content=body, headers=headers).raise_for_status()

        started = time.perf_counter()
        threads = [Thread(target=send, args=(body,)) for body in bodies]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        seconds = time.perf_counter() - started
        peak_bytes = peak_memory_bytes()
    landed = [item for item in live.pulled(Path(folder)).results if isinstance(item, Landing)]
    return {
        "span_count": sum(item.rows_landed for item in landed),
        "seconds": seconds,
        "bytes": sum(len(body) for body in bodies) * (export_count // sender_count),
        "receiving_peak_bytes": peak_bytes,
    }


def _texts(number: int) -> Mapping[str, str]:
    return {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-4o",
        "gen_ai.response.model": "gpt-4o-2024-08-06",
        "gen_ai.response.id": f"resp-{number:08x}",
        "gen_ai.conversation.id": f"agent-{number // 16}",
        "gen_ai.agent.id": "contract-review-v5",
        "server.address": "api.openai.com",
        "openai.response.service_tier": "default",
        "tokenledger.use_case.id": "contract_review_agent",
        "tokenledger.use_case.version": "5",
        "tokenledger.use_case.instance_id": f"agent-{number // 16}",
        "tokenledger.step.name": "review",
    }


def _counts(number: int) -> Mapping[str, int]:
    return {
        "gen_ai.usage.input_tokens": 1_000 + number % 1_000,
        "gen_ai.usage.output_tokens": 100 + number % 100,
        "gen_ai.usage.cache_read.input_tokens": number % 500,
        "gen_ai.usage.reasoning.output_tokens": number % 50,
        "tokenledger.attempt.index": 0,
        "tokenledger.turn.index": number % 7,
    }


def _line(first: int, end: int) -> Iterator[bytes]:
    """Write spans as a Collector's file exporter does."""
    yield b'{"resourceSpans":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"agents"}}]},'
    yield b'"scopeSpans":[{"scope":{"name":"agents"},"spans":['
    for number in range(first, end):
        texts = ",".join(
            f'{{"key":"{name}","value":{{"stringValue":"{value}"}}}}' for name, value in _texts(number).items()
        )
        counts = ",".join(
            f'{{"key":"{name}","value":{{"intValue":"{value}"}}}}' for name, value in _counts(number).items()
        )
        start_ns = _START_NS + number * 10_000_000
        yield (
            f'{"," if number > first else ""}{{"traceId":"{number // 16:032x}","spanId":"{number:016x}",'
            f'"parentSpanId":"{number // 16 + (1 << 40):016x}","name":"chat gpt-4o","kind":3,'
            f'"startTimeUnixNano":"{start_ns}","endTimeUnixNano":"{start_ns + 1_234_567_890}",'
            f'"attributes":[{texts},{counts}],"status":{{}}}}'
        ).encode()
    yield b"]}]}]}\n"


def _export(index: int) -> ExportTraceServiceRequest:
    """Make an export as an SDK's batch processor does."""
    request = ExportTraceServiceRequest()
    spans = request.resource_spans.add().scope_spans.add().spans
    for number in range(index * SPANS_PER_EXPORT, (index + 1) * SPANS_PER_EXPORT):
        start_ns = _START_NS + number * 10_000_000
        span = spans.add(
            trace_id=(number // 16 + 1).to_bytes(16),
            span_id=(number + 1).to_bytes(8),
            name="chat gpt-4o",
            kind=3,
            start_time_unix_nano=start_ns,
            end_time_unix_nano=start_ns + 1_234_567_890,
        )
        for name, text in _texts(number).items():
            span.attributes.add(key=name).value.string_value = text
        for name, count in _counts(number).items():
            span.attributes.add(key=name).value.int_value = count
    return request
