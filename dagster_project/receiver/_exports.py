"""From the body of an OTLP/HTTP trace export to lines of OTLP/JSON without prompts, answers and users.

Both encodings of the protocol give the same lines. Only what must hold for a line to be read is checked here: what is
wrong with a span is judged, and kept with its reason, where the line is pulled.
"""

import base64
import math
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import orjson

from dagster_project.sources._otlp import is_content, with_pseudonym
from dagster_project.sources.otlp_files import LINE_LIMIT_BYTES

PROTOBUF = "application/x-protobuf"
JSON = "application/json"

_LINE_SPANS = 512


class RefusedExportError(Exception):
    """An export that is not taken in, and is not to be sent again.

    Attributes:
        status: HTTP status of the answer.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def lines_of(
    body: bytes, *, content_type: str, encoding: str, limit_bytes: int, hash_key: bytes | None, keep_user_ids: bool
) -> bytes:
    """Turn the body of an export into lines, each of some spans of one resource and scope.

    Args:
        body: What was sent.
        content_type: `application/x-protobuf` or `application/json`.
        encoding: `gzip`, or `identity`.
        limit_bytes: Size that the body may have when it is decompressed.
        hash_key: Key of the pseudonyms of users; without one users are left out.
        keep_user_ids: Whether users stay as they are.

    Returns:
        The lines, with their ends; nothing for an export without spans.

    Raises:
        RefusedExportError: it is not an export, or too large a one.
    """
    content = _decompressed(body, encoding, limit_bytes)
    export = _of_protobuf(content) if content_type == PROTOBUF else _of_json(content)

    def kept(attributes: list[dict[str, Any]] | None) -> list[dict[str, Any]]:
        left = [item for item in attributes or [] if not is_content(item["key"])]
        return left if keep_user_ids else with_pseudonym(left, hash_key)

    try:
        lines = [
            orjson.dumps({"resourceSpans": [item]}, option=orjson.OPT_APPEND_NEWLINE)
            for resource_spans in export["resourceSpans"]
            for item in _parts(resource_spans, kept)
        ]
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise RefusedExportError(400, f"the body is not shaped as an OTLP trace export: {error!r}") from error
    longest_bytes = max(map(len, lines), default=0)
    if longest_bytes > LINE_LIMIT_BYTES:
        message = f"{_LINE_SPANS} spans are {longest_bytes:,} bytes of JSON, expected {LINE_LIMIT_BYTES:,} at most"
        raise RefusedExportError(413, message)
    return b"".join(lines)


def _parts(resource_spans: dict[str, Any], kept: Callable[[Any], list[dict[str, Any]]]) -> Iterator[dict[str, Any]]:
    """Give the spans of a resource in parts that fit into a line, without what is not stored."""
    resource = {"attributes": kept((resource_spans.get("resource") or {}).get("attributes"))}
    for scope_spans in resource_spans.get("scopeSpans") or []:
        given = scope_spans.get("scope") or {}
        scope = {name: given.get(name) for name in ("name", "version")}
        spans = scope_spans.get("spans") or []
        for first in range(0, len(spans), _LINE_SPANS):
            part = [
                {
                    **{name: value for name, value in span.items() if name not in {"events", "links"}},
                    "attributes": kept(span.get("attributes")),
                }
                for span in spans[first : first + _LINE_SPANS]
            ]
            yield {"resource": resource, "scopeSpans": [{"scope": scope, "spans": part}]}


def _decompressed(body: bytes, encoding: str, limit_bytes: int) -> bytes:
    if encoding == "identity":
        return body
    decompressor = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
    try:
        content = decompressor.decompress(body, limit_bytes + 1)
    except zlib.error as error:
        raise RefusedExportError(400, f"the body is not gzip: {error}") from error
    if len(content) > limit_bytes:
        raise RefusedExportError(
            413, f"the body is more than {limit_bytes:,} bytes when decompressed; send less at once"
        )
    if not decompressor.eof or decompressor.unused_data:
        raise RefusedExportError(400, "the body is not one whole gzip stream")
    return content


def _of_json(content: bytes) -> dict[str, Any]:
    try:
        export = orjson.loads(content)
    except orjson.JSONDecodeError as error:
        raise RefusedExportError(400, f"the body is not JSON: {error}") from error
    if not isinstance(export, dict) or not isinstance(export.get("resourceSpans", []), list):
        raise RefusedExportError(400, "the body is not an object with a list of resourceSpans")
    return {"resourceSpans": export.get("resourceSpans", [])}


# ---- protobuf


def _of_protobuf(content: bytes) -> dict[str, Any]:
    from google.protobuf.message import DecodeError  # noqa: PLC0415 - the receiver's alone
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest  # noqa: PLC0415

    try:
        request = ExportTraceServiceRequest.FromString(content)
    except DecodeError as error:
        raise RefusedExportError(400, f"the body is not a protobuf trace export: {error}") from error
    return {
        "resourceSpans": [
            {
                "resource": {"attributes": _attributes(item.resource.attributes)},
                "scopeSpans": [
                    {
                        "scope": {"name": scope_spans.scope.name, "version": scope_spans.scope.version},
                        "spans": [_span(span) for span in scope_spans.spans],
                    }
                    for scope_spans in item.scope_spans
                ],
            }
            for item in request.resource_spans
        ]
    }


def _span(span: Any) -> dict[str, Any]:  # noqa: ANN401 - generated class
    """Write a span as OTLP/JSON does: ids in hexadecimal, 64-bit numbers as text."""
    return {
        "traceId": span.trace_id.hex(),
        "spanId": span.span_id.hex(),
        "parentSpanId": span.parent_span_id.hex(),
        "name": span.name,
        "kind": span.kind,
        "startTimeUnixNano": str(span.start_time_unix_nano),
        "endTimeUnixNano": str(span.end_time_unix_nano),
        "attributes": _attributes(span.attributes),
        "status": {"code": span.status.code, "message": span.status.message},
    }


def _attributes(attributes: Any) -> list[dict[str, Any]]:  # noqa: ANN401 - generated class
    return [{"key": item.key, "value": {} if is_content(item.key) else _value(item.value)} for item in attributes]


def _value(value: Any) -> dict[str, Any]:  # noqa: ANN401 - generated class
    kind = value.WhichOneof("value")
    if kind is None:
        return {}
    name, written = _VALUES.get(kind, (kind, str))
    return {name: written(getattr(value, kind))}


def _same(value: Any) -> Any:  # noqa: ANN401 - text, or true or false
    return value


def _number(value: float) -> float | str:
    """Give what JSON has no number for as the text that protobuf's JSON has for it."""
    return value if math.isfinite(value) else str(value)


# Kind of a protobuf value -> (its name in OTLP/JSON, what writes it).
_VALUES: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "string_value": ("stringValue", _same),
    "bool_value": ("boolValue", _same),
    "int_value": ("intValue", str),
    "double_value": ("doubleValue", _number),
    "bytes_value": ("bytesValue", lambda value: base64.b64encode(value).decode()),
    "array_value": ("arrayValue", lambda value: {"values": [_value(item) for item in value.values]}),
    "kvlist_value": ("kvlistValue", lambda value: {"values": _attributes(value.values)}),
}
