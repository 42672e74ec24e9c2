"""From the body of an OTLP/HTTP trace export to lines of OTLP/JSON without prompts, answers and users.

Both encodings of the protocol give the same lines. Only what must hold for a line to be read is checked here: what is
wrong with a span is judged, and kept with its reason, where the line is pulled.

A few bytes of gzip or of protobuf can stand for millions of objects, so nothing is decoded before its parts are
counted, and protobuf is decoded, written and forgotten line by line.
"""

import base64
import math
import re
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import orjson

from dagster_project.sources._otlp import is_content, with_pseudonym
from dagster_project.sources.otlp_files import LINE_LIMIT_BYTES, is_left_out, stored_value, without_content

PROTOBUF = "application/x-protobuf"
JSON = "application/json"

_LINE_SPANS = 512
# Of protobuf; a longer span is a line alone.
_LINE_BYTES = 1024 * 1024
# Spans, scopes and resources of an export.
_MOST_PARTS = 262_144
# Messages in a span or a resource that is longer than a line, and values in an export of JSON.
_MOST_MESSAGES = 262_144
_MOST_VALUES = 2_000_000
_SPAN_MEMBERS = ("traceId", "spanId", "parentSpanId", "name", "kind", "startTimeUnixNano", "endTimeUnixNano")


class RefusedExportError(Exception):
    """An export that is not taken in, and is not to be sent again.

    Attributes:
        status: HTTP status of the answer.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class _Piece:
    """Some spans of a scope, in OTLP/JSON.

    Attributes:
        resource: JSON of the resource; the same object for all pieces of a resource.
        scope: Name and version.
        spans: As many as fit into a line.
        size_bytes: What they were decoded from.
    """

    resource: orjson.Fragment
    scope: dict[str, Any]
    spans: list[dict[str, Any]]
    size_bytes: int


_Attributes = list[dict[str, Any]]
_Kept = Callable[[Iterable[Any]], _Attributes]


def lines_of(
    body: bytes,
    *,
    content_type: str,
    encoding: str,
    limit_bytes: int,
    hash_key: bytes | None,
    keep_user_ids: bool,
) -> Iterator[bytes]:
    """Turn the body of an export into lines, each of some spans of one resource, one after the other.

    Args:
        body: What was sent.
        content_type: `application/x-protobuf` or `application/json`.
        encoding: `gzip`, or `identity`.
        limit_bytes: Size that the body may have when it is decompressed; the lines may have twice as much.
        hash_key: Key of the pseudonyms of users; without one users are left out.
        keep_user_ids: Whether users stay as they are.

    Yields:
        Lines, with their ends; none for an export without spans.

    Raises:
        RefusedExportError: it is not an export, or too large a one; what was yielded before does not count.
    """
    content = _decompressed(body, encoding, limit_bytes)
    del body

    def kept(attributes: Iterable[Any]) -> _Attributes:
        left = _stored(attributes)
        return left if keep_user_ids else with_pseudonym(left, hash_key)

    written_bytes = 0
    try:
        for line in _lines(_of_protobuf(content, kept) if content_type == PROTOBUF else _of_json(content, kept)):
            written_bytes += len(line)
            if len(line) > LINE_LIMIT_BYTES or written_bytes > 2 * limit_bytes:
                message = (
                    f"the export is more than {2 * limit_bytes:,} bytes of JSON, or {LINE_LIMIT_BYTES:,} in a line"
                )
                raise RefusedExportError(413, f"{message}; send less at once")
            yield line
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise RefusedExportError(400, f"the body is not shaped as an OTLP trace export: {error!r}") from error


def _lines(pieces: Iterator[_Piece]) -> Iterator[bytes]:
    """Write pieces, several of a resource in a line as long as it is not too long."""
    line: list[_Piece] = []
    span_count = size_bytes = 0
    for piece in pieces:
        span_count += len(piece.spans)
        size_bytes += piece.size_bytes
        is_full = span_count > _LINE_SPANS or size_bytes > _LINE_BYTES
        if line and (is_full or piece.resource is not line[0].resource):
            yield _line(line)
            line = []
            span_count, size_bytes = len(piece.spans), piece.size_bytes
        line.append(piece)
    if line:
        yield _line(line)


def _line(pieces: list[_Piece]) -> bytes:
    scopes = [{"scope": piece.scope, "spans": piece.spans} for piece in pieces]
    export = {"resourceSpans": [{"resource": pieces[0].resource, "scopeSpans": scopes}]}
    return orjson.dumps(export, option=orjson.OPT_APPEND_NEWLINE)


def _resource(attributes: _Attributes) -> orjson.Fragment:
    return orjson.Fragment(orjson.dumps({"attributes": attributes}))


def _stored(attributes: Iterable[Any]) -> _Attributes:
    """Leave out what is no attribute, and what is content or long enough to be some."""
    stored: _Attributes = []
    for item in attributes:
        name = item.get("key") if isinstance(item, dict) else None
        if not name or not isinstance(name, str):
            continue
        value = item.get("value")
        if not is_left_out(name, value):
            stored.append({"key": name, "value": stored_value(name, value)})
    return stored


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


# ---- JSON


def _of_json(content: bytes, kept: _Kept) -> Iterator[_Piece]:
    if _value_count(content) > _MOST_VALUES:
        raise RefusedExportError(413, f"the body has more than {_MOST_VALUES:,} values; send less at once")
    try:
        export = orjson.loads(content)
    except orjson.JSONDecodeError as error:
        raise RefusedExportError(400, f"the body is not JSON: {error}") from error
    if not isinstance(export, dict) or not isinstance(export.get("resourceSpans", []), list):
        raise RefusedExportError(400, "the body is not an object with a list of resourceSpans")
    for resource_spans in export.get("resourceSpans", []):
        resource = _resource(kept((resource_spans.get("resource") or {}).get("attributes") or []))
        for scope_spans in resource_spans.get("scopeSpans") or []:
            given = scope_spans.get("scope") or {}
            scope = {name: given.get(name) for name in ("name", "version")}
            spans = scope_spans.get("spans") or []
            for first in range(0, len(spans), _LINE_SPANS):
                part = [
                    {
                        **{name: span[name] for name in _SPAN_MEMBERS if name in span},
                        "status": without_content(span.get("status") or {}),
                        "attributes": kept(span.get("attributes") or []),
                    }
                    for span in spans[first : first + _LINE_SPANS]
                ]
                yield _Piece(resource, scope, part, 0)


def _value_count(content: bytes) -> int:
    """Give about how many values JSON has: what opens one, or separates two, outside of texts."""

    def count(text: bytes) -> int:
        return sum(map(text.count, (b"{", b"[", b",")))

    most = count(content)
    return most if most <= _MOST_VALUES else count(re.sub(rb'"[^"\\]*(?:\\.[^"\\]*)*"', b"", content, flags=re.DOTALL))


# ---- protobuf

_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5
_FIXED_BYTES = {_FIXED64: 8, _FIXED32: 4}
# Message -> its fields that are messages.
_MESSAGES: dict[str, dict[int, str]] = {
    "resource": {1: "attribute"},
    "scope": {3: "attribute"},
    "span": {9: "attribute", 11: "event", 13: "link", 15: "status"},
    "event": {3: "attribute"},
    "link": {4: "attribute"},
    "attribute": {2: "value"},
    "value": {5: "array", 6: "attributes"},
    "array": {1: "value"},
    "attributes": {1: "attribute"},
    "status": {},
}


def _of_protobuf(content: bytes, kept: _Kept) -> Iterator[_Piece]:
    from google.protobuf.message import DecodeError  # noqa: PLC0415 - the receiver's alone
    from opentelemetry.proto.common.v1.common_pb2 import InstrumentationScope  # noqa: PLC0415
    from opentelemetry.proto.resource.v1.resource_pb2 import Resource  # noqa: PLC0415
    from opentelemetry.proto.trace.v1.trace_pb2 import ScopeSpans  # noqa: PLC0415

    part_count = 0
    try:
        for number, _, begin, end in _fields(content, 0, len(content)):
            if number != 1:
                continue
            resource_at, scopes = _places(content, begin, end)
            part_count = _counted(part_count + 1 + len(scopes))
            resource = None
            for scope_begin, scope_end in scopes:
                scope_at, chunks = _chunks(content, scope_begin, scope_end, _MOST_PARTS - part_count)
                part_count += sum(count for _, _, count in chunks)
                if not chunks:
                    continue
                if resource is None:
                    decoded = Resource.FromString(_decodable(content, *resource_at, "resource"))
                    resource = _resource(kept(_attributes(decoded.attributes)))
                given = InstrumentationScope.FromString(_decodable(content, *scope_at, "scope"))
                scope = {"name": given.name, "version": given.version}
                for first, last, count in chunks:
                    if last - first > _LINE_BYTES and count == 1:
                        _decodable(content, *next(_fields(content, first, last))[2:], "span")
                    spans = ScopeSpans.FromString(content[first:last]).spans
                    yield _Piece(resource, scope, [_span(span, kept) for span in spans], last - first)
    except DecodeError as error:
        raise RefusedExportError(400, f"the body is not a protobuf trace export: {error}") from error


def _fields(content: bytes, at: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """Walk over the fields of a message: number, where the field begins, and where its content begins and ends."""
    while at < end:
        field_begin = at
        tag, at = _varint(content, at, end)
        wire_type = tag & 7
        if wire_type == _LENGTH:
            size_bytes, at = _varint(content, at, end)
        elif wire_type == _VARINT:
            _, after = _varint(content, at, end)
            size_bytes = after - at
        elif wire_type in _FIXED_BYTES:
            size_bytes = _FIXED_BYTES[wire_type]
        else:
            raise RefusedExportError(400, f"the body is not a protobuf trace export: wire type {wire_type}")
        if at + size_bytes > end:
            raise RefusedExportError(400, "the body is not a protobuf trace export: it is cut off")
        yield (tag >> 3 if wire_type == _LENGTH else 0), field_begin, at, at + size_bytes
        at += size_bytes


def _varint(content: bytes, at: int, end: int) -> tuple[int, int]:
    value = shift = 0
    while at < end and shift < 70:  # noqa: PLR2004 - ten bytes of seven bits
        byte = content[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:  # noqa: PLR2004 - the last byte
            return value, at
        shift += 7
    raise RefusedExportError(400, "the body is not a protobuf trace export: a number is cut off")


def _counted(part_count: int) -> int:
    if part_count > _MOST_PARTS:
        raise RefusedExportError(413, f"the export has more than {_MOST_PARTS:,} spans; send less at once")
    return part_count


def _places(content: bytes, begin: int, end: int) -> tuple[tuple[int, int], list[tuple[int, int]]]:
    """Give the places of a resource and of its scopes' spans."""
    resource_at = (begin, begin)
    scopes: list[tuple[int, int]] = []
    for number, _, first, last in _fields(content, begin, end):
        if number == 1:
            resource_at = (first, last)
        elif number == 2:  # noqa: PLR2004 - number of the field
            scopes.append((first, last))
            _counted(len(scopes))
    return resource_at, scopes


def _chunks(content: bytes, begin: int, end: int, most: int) -> tuple[tuple[int, int], list[tuple[int, int, int]]]:
    """Give the place of a scope, and the places and counts of its spans, as many as fit into a line."""
    scope_at = (begin, begin)
    chunks: list[tuple[int, int, int]] = []
    first = begin
    count = total = 0
    for number, field_begin, content_begin, last in _fields(content, begin, end):
        if number == 1:
            scope_at = (content_begin, last)
        elif number != 2:  # noqa: PLR2004 - number of the field
            continue
        is_full = count == _LINE_SPANS or last - first > _LINE_BYTES
        if count and (is_full or number == 1):
            chunks.append((first, field_begin, count))
            count = 0
        if number == 1:
            continue
        if not count:
            first = field_begin
        count += 1
        total += 1
        if total > most:
            _counted(_MOST_PARTS + 1)
    if count:
        chunks.append((first, end, count))
    return scope_at, chunks


def _decodable(content: bytes, begin: int, end: int, message: str) -> bytes:
    """Give the bytes of a message that is to be decoded; a long one is searched for how many others it has."""
    if end - begin > _LINE_BYTES:
        count = 0
        left = [(begin, end, message)]
        while left:
            first, last, name = left.pop()
            for number, _, inner_first, inner_last in _fields(content, first, last):
                inner = _MESSAGES[name].get(number)
                if inner is not None:
                    count += 1
                    left.append((inner_first, inner_last, inner))
                    if count > _MOST_MESSAGES:
                        raise RefusedExportError(
                            413, f"a {message} has more than {_MOST_MESSAGES:,} attributes and values"
                        )
    return content[begin:end]


def _span(span: Any, kept: _Kept) -> dict[str, Any]:  # noqa: ANN401 - generated class
    """Write a span as OTLP/JSON does: ids in hexadecimal, 64-bit numbers as text."""
    return {
        "traceId": span.trace_id.hex(),
        "spanId": span.span_id.hex(),
        "parentSpanId": span.parent_span_id.hex(),
        "name": span.name,
        "kind": span.kind,
        "startTimeUnixNano": str(span.start_time_unix_nano),
        "endTimeUnixNano": str(span.end_time_unix_nano),
        "attributes": kept(_attributes(span.attributes)),
        "status": {"code": span.status.code},
    }


def _attributes(attributes: Any) -> Iterator[dict[str, Any]]:  # noqa: ANN401 - generated class
    return ({"key": name, "value": _value(item.value)} for item in attributes if not is_content(name := item.key))


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
    "kvlist_value": ("kvlistValue", lambda value: {"values": list(_attributes(value.values))}),
}
