"""Spans in OTLP/JSON files: JSON Lines of trace exports, plain, .gz or .zst, one row per span.

The files are a Collector's, or those that `tokenledger receive` writes for a source with `receiver`. Every span lands,
parents, agents and tools too; staging keeps the leaves. Known attributes, OpenTelemetry's and OpenInference's, become
columns (span first, then resource), the rest goes into attributes_json, prompts and completions nowhere: they are
never stored, and they are taken out of rejected spans as well; since emitters have names of their own for them, no
attribute of an unknown name is stored that is longer than 1,024 characters. Events and links are not read. Of a line
that is no trace export only its length and hash are kept.
"""

import gc
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Self

import httpx2
import orjson
import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field, model_validator

from dagster_project.errors import PermanentSourceError, TransientSourceError
from dagster_project.sources._connector import (
    UTC_TIMESTAMP,
    Batch,
    Connector,
    Entity,
    FilePattern,
    FileSourceOptions,
    InputPull,
    PullContext,
    Reject,
    Secret,
)
from dagster_project.sources._files import file_inputs, text_lines
from dagster_project.sources._json import readable
from dagster_project.sources._otlp import (
    USER_ATTRIBUTES,
    USER_PSEUDONYM_ATTRIBUTE,
    is_content,
    is_user,
    is_user_id,
    user_of,
)
from dagster_project.sources._tabular import json_object

_TEXT = [
    "gen_ai.operation.name",
    "gen_ai.provider.name",
    "gen_ai.system",
    "gen_ai.request.model",
    "gen_ai.response.model",
    "gen_ai.response.id",
    "gen_ai.conversation.id",
    "gen_ai.agent.id",
    "gen_ai.agent.name",
    "gen_ai.workflow.name",
    "deployment.environment.name",
    "deployment.environment",
    "openinference.span.kind",
    "llm.response.model_name",
    "llm.request.model_name",
    "llm.model_name",
    "llm.provider",
    "llm.system",
    "embedding.model_name",
    "decision.response.model_name",
    "decision.request.model_name",
    "decision.model_name",
    "decision.provider",
    "decision.system",
    "session.id",
    "agent.name",
    USER_PSEUDONYM_ATTRIBUTE,
]
_COUNTS = {
    "gen_ai.usage.input_tokens": "gen_ai_usage_input_tokens",
    "gen_ai.usage.output_tokens": "gen_ai_usage_output_tokens",
    "gen_ai.usage.cache_read.input_tokens": "gen_ai_usage_cache_read_input_tokens",
    "gen_ai.usage.cache_creation.input_tokens": "gen_ai_usage_cache_creation_input_tokens",
    "gen_ai.usage.reasoning.output_tokens": "gen_ai_usage_reasoning_output_tokens",
    "gen_ai.usage.audio.input_tokens": "gen_ai_usage_audio_input_tokens",
    "gen_ai.usage.audio.output_tokens": "gen_ai_usage_audio_output_tokens",
    "gen_ai.usage.image.input_tokens": "gen_ai_usage_image_input_tokens",
    "gen_ai.usage.video.input_tokens": "gen_ai_usage_video_input_tokens",
    "gen_ai.usage.prompt_tokens": "gen_ai_usage_prompt_tokens",
    "gen_ai.usage.completion_tokens": "gen_ai_usage_completion_tokens",
    "gen_ai.usage.cache_read_input_tokens": "gen_ai_usage_cache_read_input_tokens_deprecated",
    "gen_ai.usage.cache_creation_input_tokens": "gen_ai_usage_cache_creation_input_tokens_deprecated",
    "gen_ai.usage.cache_read_tokens": "gen_ai_usage_cache_read_tokens",
    "gen_ai.usage.cache_write_tokens": "gen_ai_usage_cache_write_tokens",
    "llm.token_count.prompt": "llm_token_count_prompt_tokens",
    "llm.token_count.completion": "llm_token_count_completion_tokens",
    "llm.token_count.total": "llm_token_count_total_tokens",
    "llm.token_count.prompt_details.cache_read": "llm_token_count_prompt_details_cache_read_tokens",
    "llm.token_count.prompt_details.cache_write": "llm_token_count_prompt_details_cache_write_tokens",
    "llm.token_count.prompt_details.cache_input": "llm_token_count_prompt_details_cache_input_tokens",
    "llm.token_count.prompt_details.audio": "llm_token_count_prompt_details_audio_tokens",
    "llm.token_count.completion_details.reasoning": "llm_token_count_completion_details_reasoning_tokens",
    "llm.token_count.completion_details.audio": "llm_token_count_completion_details_audio_tokens",
    "decision.token_count.input": "decision_token_count_input_tokens",
    "decision.token_count.output": "decision_token_count_output_tokens",
}
# Stands for every attribute that identifies a user by its last part, `app.user_id`.
_OTHER_USER = "*.user_id"
# Columns that the first of several attributes fills.
_RANKED = {
    "service_tier": (
        "openai.response.service_tier",
        "gen_ai.openai.response.service_tier",
        "openai.request.service_tier",
        "gen_ai.openai.request.service_tier",
    ),
    "user_id": (*USER_ATTRIBUTES, _OTHER_USER),
}
_TOKENLEDGER_TEXT = {
    "tokenledger.use_case.id": "tokenledger_use_case_id",
    "tokenledger.use_case.version": "tokenledger_use_case_version",
    "tokenledger.use_case.instance_id": "tokenledger_use_case_instance_id",
    "tokenledger.step.name": "tokenledger_step_name",
    "tokenledger.team.name": "tokenledger_team_name",
    "tokenledger.customer.id": "tokenledger_customer_id",
    "tokenledger.billing_account.id": "tokenledger_billing_account_id",
}
_TOKENLEDGER_INDEX = {
    "tokenledger.attempt.index": "tokenledger_attempt_index",
    "tokenledger.turn.index": "tokenledger_turn_index",
}
# Azure's response header, as HTTP instrumentation records it: a list of values.
_SPILLOVER_HEADER = "http.response.header.x-ms-spillover-from-deployment"
_SPILLOVER_HEADER_COLUMN = "http_response_header_x_ms_spillover_from_deployment"
_TOKENLEDGER_PLACE = {
    "tokenledger.deployment.id": "tokenledger_deployment_id",
    "tokenledger.spillover_from.deployment.id": "tokenledger_spillover_from_deployment_id",
    "tokenledger.region.id": "tokenledger_region_id",
}

_SPAN_COLUMNS: list[tuple[str, pa.DataType]] = [
    ("trace_id", pa.string()),
    ("span_id", pa.string()),
    ("parent_span_id", pa.string()),
    ("span_name", pa.string()),
    ("span_kind", pa.int32()),
    ("start_at", UTC_TIMESTAMP),
    ("end_at", UTC_TIMESTAMP),
    ("status_code", pa.int32()),
    ("service_name", pa.string()),
    ("scope_name", pa.string()),
]

SPANS = Entity(
    name="spans",
    schema=pa.schema(
        [
            *_SPAN_COLUMNS,
            *((name.replace(".", "_"), pa.string()) for name in _TEXT),
            *((name, pa.int64()) for name in _COUNTS.values()),
            ("gen_ai_response_time_to_first_chunk_s", pa.float64()),
            *((name, pa.string()) for name in _RANKED),
            ("server_address", pa.string()),
            ("error_type", pa.string()),
            *((name, pa.string()) for name in _TOKENLEDGER_TEXT.values()),
            *((name, pa.int32()) for name in _TOKENLEDGER_INDEX.values()),
            *((name, pa.string()) for name in _TOKENLEDGER_PLACE.values()),
            ("tokenledger_is_spillover", pa.bool_()),
            (_SPILLOVER_HEADER_COLUMN, pa.string()),
            ("attributes_json", pa.string()),
        ]
    ),
    day_column="start_at",
    token_columns=("gen_ai_usage_input_tokens", "gen_ai_usage_output_tokens"),
    user_columns=("user_id",),
)

LINE_LIMIT_BYTES = 64 * 1024 * 1024
_UNKNOWN_LIMIT = 1_024
_DEEPEST = 32
SPOOL_PATTERN = "*.jsonl.zst"
TRACES_PATH = "/v1/traces"
# Small batches keep few Python objects alive: the garbage collector's walks over them cost more than the
# parsing.
_BATCH_SPANS = 4_096
_COLLECTED_OBJECTS = 50_000
_INT64_LIMIT = 2**63
_INT32_LIMIT = 2**31
_INT32_DIGITS = 10
_EARLIEST_NS = 86_400 * 10**9
_LATEST_NS = 7_258_118_400 * 10**9

_KIND_NAMES = {
    "SPAN_KIND_UNSPECIFIED": 0,
    "SPAN_KIND_INTERNAL": 1,
    "SPAN_KIND_SERVER": 2,
    "SPAN_KIND_CLIENT": 3,
    "SPAN_KIND_PRODUCER": 4,
    "SPAN_KIND_CONSUMER": 5,
}
_STATUS_NAMES = {"STATUS_CODE_UNSET": 0, "STATUS_CODE_OK": 1, "STATUS_CODE_ERROR": 2}


class ReceiverOptions(BaseModel):
    """What `tokenledger receive` serves for a source.

    Attributes:
        host: Address to listen on; one that other machines reach needs a token.
        port: Port to listen on.
        token: What exporters send as `Authorization: Bearer <token>`; None lets everybody in who reaches the address.
        max_request_bytes: Size of a body as it is sent.
        max_decompressed_bytes: Size of a body when it is decompressed.
        max_pending_bytes: Size of all bodies and frames that are held at once; beyond it exports are sent away.
        max_connections: Connections at once; further ones are sent away.
        body_seconds: How long a body may take to arrive.
        file_bytes: Size from which a file is given to the source.
        file_seconds: Age from which a file is given to the source.
        min_free_bytes: What the receiver leaves free on the disk.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    host: str = "127.0.0.1"
    port: int = Field(default=4318, ge=0, le=65535)
    token: Secret | None = None
    max_request_bytes: int = Field(default=32 * 1024 * 1024, gt=0)
    max_decompressed_bytes: int = Field(default=64 * 1024 * 1024, gt=0)
    max_pending_bytes: int = Field(default=128 * 1024 * 1024, gt=0)
    max_connections: int = Field(default=512, gt=0)
    body_seconds: float = Field(default=30, gt=0)
    file_bytes: int = Field(default=64 * 1024 * 1024, gt=0)
    file_seconds: float = Field(default=600, gt=0)
    min_free_bytes: int = Field(default=1024 * 1024 * 1024, ge=0)

    def url(self, port: int | None = None) -> str:
        """Give the address of traces; `port` is the one that the system chose."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port if port is None else port}{TRACES_PATH}"

    @model_validator(mode="after")
    def _holds_together(self) -> Self:
        if self.max_pending_bytes < self.max_request_bytes:
            msg = "max_pending_bytes is below max_request_bytes, expected room for one request at least"
            raise ValueError(msg)
        if self.token is None and not _is_loopback(self.host):
            msg = f"other machines reach {self.host}, expected a `token`"
            raise ValueError(msg)
        return self


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


class OtlpFilesOptions(FileSourceOptions):
    """Options of OTLP/JSON trace files: where they are, and what `tokenledger receive` serves that writes them."""

    receiver: ReceiverOptions | None = Field(default=None, exclude=True)

    @property
    def spool_dir(self) -> Path:
        """The folder to which the receiver writes."""
        if not isinstance(self.path, FilePattern):
            msg = "only a source with `receiver` has a spool"
            raise TypeError(msg)
        return (self.path.base / self.path.pattern).parent

    @model_validator(mode="after")
    def _receives_into_a_folder(self) -> Self:
        if self.receiver is not None:
            folder, _, name = self.path.pattern.rpartition("/") if isinstance(self.path, FilePattern) else ("*", "", "")
            if name != SPOOL_PATTERN or not folder or "*" in folder or "?" in folder or "[" in folder:
                msg = f"with `receiver`, expected `path` to be a folder of this machine followed by /{SPOOL_PATTERN}"
                raise ValueError(msg)
        return self


# ---- attribute values


def _whole(value: Any, limit: int = _INT64_LIMIT) -> int:  # noqa: ANN401 - JSON
    if isinstance(value, str):
        if value.isdecimal() and len(value) < _INT32_DIGITS:
            return int(value)
        if not value.strip().lstrip("+-").isdecimal():
            msg = "is text, expected a whole number"
            raise ValueError(msg)
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value // 1:
        msg = "is not a whole number"
        raise ValueError(msg)
    if not -limit <= value < limit:
        msg = "is too large a number"
        raise ValueError(msg)
    return int(value)


def _index(value: Any) -> int:  # noqa: ANN401 - JSON
    return _whole(value, _INT32_LIMIT)


def _text(value: Any) -> str:  # noqa: ANN401 - JSON
    return value if isinstance(value, str) else readable(value).decode()


def _number(value: Any) -> float:  # noqa: ANN401 - JSON
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        msg = "is not a number"
        raise ValueError(msg)
    return float(value)


def _header(value: Any) -> str | None:  # noqa: ANN401 - JSON
    """Give the first value of a header: a text, or a list of them; None when it is empty."""
    if isinstance(value, dict):
        value = next((_plain(item) for item in value.get("values") or []), None)
    return _text(value) if value else None


def _flag(value: Any) -> bool:  # noqa: ANN401 - JSON
    if isinstance(value, bool):
        return value
    if value in ("true", "false"):
        return bool(value == "true")
    msg = "is not true or false"
    raise ValueError(msg)


def _plain(value: Any) -> Any:  # noqa: ANN401 - JSON
    """Turn OTLP's AnyValue into a JSON value."""
    if not isinstance(value, dict) or not value:
        return None
    kind, content = next(iter(value.items()))
    if kind == "intValue" and isinstance(content, str):
        return int(content)
    if kind == "arrayValue":
        return [_plain(item) for item in (content or {}).get("values") or []]
    if kind == "kvlistValue":
        values = (content or {}).get("values") or []
        return {item.get("key"): _plain(item.get("value")) for item in values if not _is_left_out(item)}
    return content


_PLACE = {name: position for position, name in enumerate(SPANS.schema.names)}
_SCHEMA_WIDTH = len(SPANS.schema.names)
_RANKED_PLACE = {
    name: _SCHEMA_WIDTH + rank for rank, name in enumerate(name for names in _RANKED.values() for name in names)
}
# (position of the column, first and last position of what may fill it)
_CHOICES = [(_PLACE[column], _RANKED_PLACE[names[0]], _RANKED_PLACE[names[-1]]) for column, names in _RANKED.items()]

_Reader = Callable[[Any], Any]
# Attribute name -> (position in the row, reader); what is ranked stands behind the row until one is chosen.
_ATTRIBUTES: dict[str, tuple[int, _Reader]] = {
    **{name: (_PLACE[name.replace(".", "_")], _text) for name in _TEXT},
    **{name: (_PLACE[column], _whole) for name, column in _COUNTS.items()},
    **{name: (_PLACE[column], _text) for name, column in (_TOKENLEDGER_TEXT | _TOKENLEDGER_PLACE).items()},
    **{name: (_PLACE[column], _index) for name, column in _TOKENLEDGER_INDEX.items()},
    **{name: (place, _text) for name, place in _RANKED_PLACE.items()},
    "gen_ai.response.time_to_first_chunk": (_PLACE["gen_ai_response_time_to_first_chunk_s"], _number),
    "server.address": (_PLACE["server_address"], _text),
    "error.type": (_PLACE["error_type"], _text),
    "service.name": (_PLACE["service_name"], _text),
    "tokenledger.is_spillover": (_PLACE["tokenledger_is_spillover"], _flag),
    _SPILLOVER_HEADER: (_PLACE[_SPILLOVER_HEADER_COLUMN], _header),
}
# Most attributes are texts: these are read without more ado.
_TEXT_PLACES = {name: place for name, (place, read) in _ATTRIBUTES.items() if read is _text}
_ROW_WIDTH = _SCHEMA_WIDTH + len(_RANKED_PLACE)
_ATTRIBUTES_JSON = _PLACE["attributes_json"]
_SCOPE_NAME = _PLACE["scope_name"]
_OTHER_USER_PLACE = _RANKED_PLACE[_OTHER_USER]


def is_left_out(name: str, value: Any) -> bool:  # noqa: ANN401 - JSON
    """Say whether an attribute is not stored: content, or of an unknown name and long enough to be some.

    Args:
        name: The attribute's name.
        value: Its value in OTLP/JSON.
    """
    if name in _ATTRIBUTES:
        return False
    if is_content(name):
        return True
    text = value.get("stringValue") if isinstance(value, dict) else None
    try:
        return len(text if isinstance(text, str) else orjson.dumps(value)) > _UNKNOWN_LIMIT
    except orjson.JSONEncodeError:  # nested too deep
        return True


def stored_value(name: str, value: Any) -> Any:  # noqa: ANN401 - JSON
    """Give what is stored of the value, in OTLP/JSON, of an attribute that is not left out."""
    return value if name in _ATTRIBUTES else without_content(value)


class _BadSpanError(ValueError):
    """A span that cannot be read: reason_code and reason."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.code = code


def _fill(row: list[Any], attributes: list[dict[str, Any]]) -> dict[str, Any]:
    """Put known attributes into the row and give the others, content and users left out."""
    others: dict[str, Any] = {}
    for attribute in attributes:
        name: Any = attribute.get("key")
        value = attribute.get("value")
        text_place = _TEXT_PLACES.get(name)
        if text_place is not None and value and type(text := value.get("stringValue")) is str:
            # What is empty says nothing, and hides nothing of the resource.
            if text:
                row[text_place] = text
            continue
        known = _ATTRIBUTES.get(name)
        if known is None:
            if not name or not isinstance(name, str):
                continue
            if is_user_id(name):
                row[_OTHER_USER_PLACE] = user_of(value) or row[_OTHER_USER_PLACE]
            elif not is_user(name) and not is_left_out(name, value):
                others[name] = _plain(without_content(value))
        elif value:
            place, read = known
            (content,) = value.values()
            try:
                row[place] = read(content)
            except (ValueError, OverflowError) as error:
                code = "value_unparsable"
                raise _BadSpanError(code, f"{name} {error}") from None
    return others


def _instant_us(value: Any, name: str) -> int:  # noqa: ANN401 - JSON
    try:
        instant_ns = int(value)
    except (TypeError, ValueError):
        instant_ns = -1
    if not _EARLIEST_NS <= instant_ns < _LATEST_NS or isinstance(value, float):
        code = "value_missing" if value in (None, "", "0", 0) else "value_unparsable"
        raise _BadSpanError(code, f"{name} is not a whole number of nanoseconds between 1970 and 2200")
    return instant_ns // 1000


def _enum(value: Any, names: dict[str, int], name: str) -> int | None:  # noqa: ANN401 - JSON
    if value is None or isinstance(value, int):
        return value
    if value in names:
        return names[value]
    code = "value_unparsable"
    raise _BadSpanError(code, f"{name} is neither a number nor one of {', '.join(names)}")


def _row(span: dict[str, Any], template: list[Any], resource: dict[str, Any]) -> tuple[Any, ...]:
    """Read one span into a row of the schema (and what is ranked behind it)."""
    row = template.copy()
    others = _fill(row, span.get("attributes") or [])
    if not span.get("traceId") or not span.get("spanId"):
        code = "value_missing"
        raise _BadSpanError(code, "traceId or spanId is missing")
    status = span.get("status") or {}
    row[:8] = (
        span["traceId"],
        span["spanId"],
        span.get("parentSpanId") or None,
        span.get("name"),
        _enum(span.get("kind"), _KIND_NAMES, "kind"),
        _instant_us(span.get("startTimeUnixNano"), "startTimeUnixNano"),
        _instant_us(span["endTimeUnixNano"], "endTimeUnixNano") if span.get("endTimeUnixNano") else None,
        _enum(status.get("code"), _STATUS_NAMES, "status.code"),
    )
    for place, first, last in _CHOICES:
        for value in row[first : last + 1]:
            if value is not None:
                row[place] = value
                break
    if resource:
        others["resource"] = resource
    if others:
        row[_ATTRIBUTES_JSON] = readable(others).decode()
    return tuple(row)


# Members of a span; a status's message is often an answer of the provider, which repeats what was asked.
_FREE_TEXTS = frozenset({"events", "links", "message"})


def without_content(value: Any, depth: int = 0) -> Any:  # noqa: ANN401 - JSON
    """Leave prompts, completions, users, events, long texts and what is nested too deep out of JSON of any shape."""
    if depth > _DEEPEST:
        return None
    if isinstance(value, dict):
        return {
            name: without_content(item, depth + 1)
            for name, item in value.items()
            if name not in _FREE_TEXTS and not _is_private(name)
        }
    if isinstance(value, list):
        return [without_content(item, depth + 1) for item in value if not _is_left_out(item)]
    if isinstance(value, str):
        return f"({len(value):,} characters)" if len(value) > _UNKNOWN_LIMIT else _without_inner_content(value, depth)
    return value


def _without_inner_content(text: str, depth: int) -> str:
    """Leave content and users out of a text that is JSON, as metadata often are."""
    if not text.startswith(("{", "[")):
        return text
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        return text
    kept = without_content(value, depth + 1)
    return text if kept == value else readable(kept).decode()


def _is_private(name: str) -> bool:
    return is_content(name) or is_user(name)


def _is_left_out(item: Any) -> bool:  # noqa: ANN401 - JSON
    name = item.get("key") if isinstance(item, dict) else None
    return isinstance(name, str) and _is_private(name)


@dataclass
class _Collected:
    """Rows and rejects of the batch in hand."""

    position: int = 0
    rows: list[tuple[Any, ...]] = field(default_factory=list)
    indices: list[int] = field(default_factory=list)
    rejects: list[Reject] = field(default_factory=list)

    def reject(self, code: str, reason: str, raw: Any) -> None:  # noqa: ANN401 - JSON
        text = readable(without_content(raw))
        self.rejects.append(Reject.of(self.position, code, reason, text))
        self.position += 1

    def reject_line(self, code: str, reason: str, line: bytes, members: Iterable[str] = ()) -> None:
        self.rejects.append(Reject.of_line(self.position, code, reason, line, members))
        self.position += 1

    def span(self, span: Any, template: list[Any], resource: dict[str, Any]) -> None:  # noqa: ANN401 - JSON
        try:
            row = _row(span, template, resource)
        except _BadSpanError as error:
            self.reject(error.code, str(error), span)
        except (AttributeError, KeyError, RecursionError, TypeError, ValueError) as error:
            reason = f"the span is not shaped as OTLP/JSON: {error!r}"
            self.reject("shape_wrong", reason, span)
        else:
            self.rows.append(row)
            self.indices.append(self.position)
            self.position += 1

    def export(self, record: dict[str, Any], line: bytes) -> None:
        """Take in one export: resource by resource, scope by scope."""
        resources = record.get("resourceSpans")
        if not isinstance(resources, list):
            self.reject_line("shape_wrong", "the line has no list of resourceSpans", line, record)
            return
        for resource_spans in resources:
            try:
                spans = self._spans_of(resource_spans)
            except _BadSpanError as error:
                self.reject(error.code, str(error), resource_spans)
                continue
            except (AttributeError, KeyError, RecursionError, TypeError, ValueError) as error:
                reason = f"the resource is not shaped as OTLP/JSON: {error!r}"
                self.reject("shape_wrong", reason, resource_spans)
                continue
            for span, template, resource in spans:
                self.span(span, template, resource)

    @staticmethod
    def _spans_of(resource_spans: dict[str, Any]) -> list[tuple[Any, list[Any], dict[str, Any]]]:
        base: list[Any] = [None] * _ROW_WIDTH
        resource = _fill(base, (resource_spans.get("resource") or {}).get("attributes") or [])
        found: list[tuple[Any, list[Any], dict[str, Any]]] = []
        for scope_spans in resource_spans["scopeSpans"]:
            template = base.copy()
            template[_SCOPE_NAME] = (scope_spans.get("scope") or {}).get("name")
            found.extend((span, template, resource) for span in scope_spans.get("spans") or [])
        return found

    def batch(self) -> Batch:
        """Give what was collected and begin anew."""
        columns = list(zip(*self.rows, strict=True)) if self.rows else [()] * _ROW_WIDTH
        arrays = [pa.array(columns[place], item.type) for place, item in enumerate(SPANS.schema)]
        records = pa.RecordBatch.from_arrays(arrays, schema=SPANS.schema)
        batch = Batch(
            SPANS.name,
            records,
            pa.array(self.indices, pa.int64()),
            len(self.rows) + len(self.rejects),
            tuple(self.rejects),
        )
        self.rows, self.indices, self.rejects = [], [], []
        return batch


@contextmanager
def _fewer_collections() -> Iterator[None]:
    """Let the garbage collector walk less often: a line makes thousands of objects without cycles, and drops them."""
    before = gc.get_threshold()
    gc.set_threshold(_COLLECTED_OBJECTS, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)


def _read_file(path: Path, input_uri: str) -> Iterator[Batch]:
    collected = _Collected()
    with _fewer_collections():
        for line, is_whole in text_lines(path, input_uri, limit_bytes=LINE_LIMIT_BYTES):
            record = json_object(line, is_whole=is_whole)
            if isinstance(record, tuple):
                collected.reject_line(*record, line)
            else:
                collected.export(record, line)
            if len(collected.rows) + len(collected.rejects) >= _BATCH_SPANS:
                yield collected.batch()
        if collected.rows or collected.rejects:
            yield collected.batch()


def _read(options: OtlpFilesOptions, context: PullContext) -> Iterator[InputPull]:
    if options.receiver is not None and not any(options.spool_dir.glob(SPOOL_PATTERN)):
        return iter(())
    return file_inputs(options, context, _read_file)


def _check(options: OtlpFilesOptions, _: PullContext) -> str | None:
    """Send an empty export to the receiver; None for files that others write."""
    if options.receiver is None:
        return None
    url = options.receiver.url()
    token = options.receiver.token
    try:
        answer = httpx2.post(
            url,
            content=b"{}",
            headers={
                "Content-Type": "application/json",
                **({"Authorization": f"Bearer {token.get_secret_value()}"} if token else {}),
            },
        )
    except httpx2.TransportError as error:
        msg = (
            f"Asked the receiver on {url}: {str(error) or type(error).__name__}, expected an answer. "
            f"Start `tokenledger receive {options.name}`."
        )
        raise TransientSourceError(msg) from error
    if answer.status_code != httpx2.codes.OK:
        msg = (
            f"Asked the receiver on {url}: status {answer.status_code}, expected 200. "
            f"Start `tokenledger receive {options.name}` again with this configuration."
        )
        raise PermanentSourceError(msg)
    count = sum(1 for _ in options.spool_dir.glob(SPOOL_PATTERN))
    return f"the receiver on {url} answers; {count} files to read in {options.spool_dir}"


connector = Connector(
    kind="otlp_files", feed="usage", entities=(SPANS,), options=OtlpFilesOptions, read=_read, version=5, check=_check
)
