"""Model invocation logs of Amazon Bedrock, as the service writes them to S3: JSON Lines, mostly `.json.gz`.

One record per invocation. Counts land as reported; of the bodies only what they say of usage, model and latency is
read: prompts and answers are never stored, and neither are the objects below `data/` that hold the longer ones.
Request metadata names the use case and the like where the configuration says under which keys.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import orjson
import pyarrow as pa
from pydantic import AfterValidator, Field, model_validator

from dagster_project.sources._columns import TimestampOptions, from_python, text_of
from dagster_project.sources._connector import (
    UTC_TIMESTAMP,
    Batch,
    Connector,
    Entity,
    FileSourceOptions,
    InputPull,
    PullContext,
    Reject,
)
from dagster_project.sources._files import file_inputs, text_lines
from dagster_project.sources._otlp import is_user
from dagster_project.sources._tabular import (
    ColumnMapping,
    ConstantValue,
    RawBatch,
    constant_of,
    json_object,
    known_column,
    typed_batch,
)

_CONTEXT = (
    "use_case_id",
    "use_case_version",
    "use_case_instance_id",
    "conversation_id",
    "agent_id",
    "step_name",
    "team_name",
    "environment_name",
    "customer_id",
    "billing_account_id",
)

INVOCATIONS = Entity(
    name="invocations",
    schema=pa.schema(
        [
            ("event_at", UTC_TIMESTAMP),
            ("request_id", pa.string()),
            ("account_id", pa.string()),
            ("region_id", pa.string()),
            ("inference_region_id", pa.string()),
            ("operation_type", pa.string()),
            ("model_id", pa.string()),
            ("response_model_name", pa.string()),
            ("service_tier", pa.string()),
            ("user_id", pa.string()),
            ("error_code", pa.string()),
            *((name, pa.string()) for name in _CONTEXT),
            ("turn_index", pa.int32()),
            ("attempt_index", pa.int32()),
            ("input_tokens", pa.int64()),
            ("cache_read_input_tokens", pa.int64()),
            ("cache_write_input_tokens", pa.int64()),
            ("cache_write_1h_input_tokens", pa.int64()),
            ("output_tokens", pa.int64()),
            ("reasoning_output_tokens", pa.int64()),
            ("web_search_count", pa.int64()),
            ("latency_ms", pa.float64()),
            ("time_to_first_token_ms", pa.float64()),
            ("request_metadata_json", pa.string()),
            ("schema_version", pa.string()),
            ("attributes_json", pa.string()),
        ]
    ),
    day_column="event_at",
    token_columns=("input_tokens", "output_tokens"),
    user_columns=("user_id",),
    known_attributes=frozenset(),
)

_MAPPABLE = (*_CONTEXT, "turn_index", "attempt_index", "user_id")
_REQUIRED = ("event_at", "request_id", "model_id")

# Members of a record that have a column; bodies are among them because nothing else of them is kept.
_MEMBERS = {
    "event_at": "timestamp",
    "request_id": "requestId",
    "account_id": "accountId",
    "region_id": "region",
    "inference_region_id": "inferenceRegion",
    "operation_type": "operation",
    "model_id": "modelId",
    "error_code": "errorCode",
    "schema_version": "schemaVersion",
}
_KNOWN = {*_MEMBERS.values(), "schemaType", "identity", "requestMetadata", "input", "output"}
_KNOWN_OF_SIDES = {
    "input": {
        "inputContentType", "inputBodyJson", "inputBodyS3Path", "inputTokenCount", "cacheReadInputTokenCount",
        "cacheWriteInputTokenCount",
    },
    "output": {"outputContentType", "outputBodyJson", "outputBodyS3Path", "outputTokenCount"},
}  # fmt: skip
# Request metadata that names the user, where the configuration does not say which does.
_USER_KEYS = ("user_id", "userId", "user", "end_user", "user.id")
_USAGE_PLACES = (("usage",), ("message", "usage"), ("metadata", "usage"))
_METRICS = "amazon-bedrock-invocationMetrics"

# The bodies that are too long for a record, and the object by which Bedrock tries its permission.
_NOT_LOGS = re.compile(r"(^|/)data/[^/]+_(input|output)(\.[^/]*)?$|(^|/)amazon-bedrock-logs-permission-check$")
_LINE_LIMIT_BYTES = 64 * 1024 * 1024
_BATCH_ROWS = 16_384
_BATCH_BYTES = 16 * 1024 * 1024

_Column = Annotated[str, AfterValidator(known_column(INVOCATIONS))]


class BedrockLogsOptions(FileSourceOptions):
    """Options of Bedrock's invocation logs.

    Attributes:
        request_metadata: Column to the key of the request metadata that fills it, `use_case_id: app`.
        constants: Column to a value that every record has, `billing_account_id` for instance: the account that pays
            is not the one that the log names.
    """

    request_metadata: dict[_Column, str] = Field(default_factory=dict)
    constants: dict[_Column, ConstantValue] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _columns_can_be_given(self) -> "BedrockLogsOptions":
        wrong = [name for name in (*self.request_metadata, *self.constants) if name not in _MAPPABLE]
        if wrong:
            msg = f"{', '.join(wrong)}: read from the log itself; these can be given: {', '.join(_MAPPABLE)}"
            raise ValueError(msg)
        for name, value in self.constants.items():
            constant_of(INVOCATIONS, name, value)
        return self


# ---- bodies


def usage_of(body: object) -> dict[str, Any]:
    """Read what a response's body, or a stream's list of events, says of its usage; the last value of a count wins.

    Returns:
        Columns of the entity; without those of which the body says nothing.
    """
    found: dict[str, Any] = {}
    for event in body if isinstance(body, list) else [body]:
        if not isinstance(event, dict):
            continue
        for place in _USAGE_PLACES:
            found |= _counts(_at(event, *place))
        metrics = event.get(_METRICS)
        texts = {
            "response_model_name": _at(event, "model") or _at(event, "message", "model"),
            "service_tier": _at(event, "serviceTier", "type") or _at(event, "usage", "service_tier"),
            "latency_ms": _at(event, "metrics", "latencyMs") or _at(metrics, "invocationLatency"),
            "time_to_first_token_ms": _at(metrics, "firstByteLatency"),
        }
        found |= {name: value for name, value in texts.items() if value is not None}
    return found


def _counts(block: object) -> dict[str, Any]:
    if not isinstance(block, dict):
        return {}
    details = block.get("cacheDetails")
    by_hour = [
        item.get("inputTokens")
        for item in (details if isinstance(details, list) else [])
        if isinstance(item, dict) and item.get("ttl") == "1h"
    ]
    counts = {
        "cache_write_1h_input_tokens": next(iter(by_hour), _at(block, "cache_creation", "ephemeral_1h_input_tokens")),
        "reasoning_output_tokens": _at(block, "output_tokens_details", "thinking_tokens"),
        "web_search_count": _at(block, "server_tool_use", "web_search_requests"),
    }
    return {name: count for name, count in counts.items() if count is not None}


def _at(value: object, *names: str) -> Any:  # noqa: ANN401 - JSON
    for name in names:
        value = value.get(name) if isinstance(value, dict) else None
    return value


# ---- records


def _columns_of(record: Mapping[str, Any], options: BedrockLogsOptions) -> dict[str, Any]:
    """Give the entity's columns of one record, untyped."""
    metadata = record.get("requestMetadata")
    metadata = metadata if isinstance(metadata, dict) else {}
    user = next((metadata[key] for key in _USER_KEYS if metadata.get(key)), None)
    kept = _without_users(metadata, options)
    columns = {
        **usage_of(_at(record, "output", "outputBodyJson")),
        **{column: record.get(member) for column, member in _MEMBERS.items()},
        "user_id": user or _at(record, "identity", "arn"),
        "input_tokens": _at(record, "input", "inputTokenCount"),
        "cache_read_input_tokens": _at(record, "input", "cacheReadInputTokenCount"),
        "cache_write_input_tokens": _at(record, "input", "cacheWriteInputTokenCount"),
        "output_tokens": _at(record, "output", "outputTokenCount"),
        "request_metadata_json": text_of(kept) if kept else None,
        "attributes_json": _others(record),
    }
    return columns | {column: metadata.get(key) for column, key in options.request_metadata.items()}


def _others(record: Mapping[str, Any]) -> str | None:
    """Write what has no column, without the bodies; null when nothing is left."""
    others = {name: value for name, value in record.items() if name not in _KNOWN}
    for side, known in _KNOWN_OF_SIDES.items():
        content = record.get(side)
        for name, value in content.items() if isinstance(content, dict) else ():
            if name not in known and not name.endswith("BodyJson"):
                others[f"{side}.{name}"] = value
    others = {name: value for name, value in others.items() if value is not None}
    return text_of(others) if others else None


def _without_users(metadata: Mapping[str, Any], options: BedrockLogsOptions) -> dict[str, Any]:
    configured = options.request_metadata.get("user_id")
    return {key: value for key, value in metadata.items() if key != configured and not is_user(key)}


def _without_bodies(record: Mapping[str, Any], options: BedrockLogsOptions) -> dict[str, Any]:
    """Give a record without what was asked and answered, and by whom."""
    told = {name: value for name, value in record.items() if name not in {"identity", "input", "output"}}
    for side in _KNOWN_OF_SIDES:
        content = record.get(side)
        if isinstance(content, dict):
            told[side] = {name: value for name, value in content.items() if not name.endswith("BodyJson")}
    if isinstance(told.get("requestMetadata"), dict):
        told["requestMetadata"] = _without_users(told["requestMetadata"], options)
    return told


def _typable(value: object, column: str) -> object:
    """Write as text what is of no type that its column could be read from, so that the record alone is rejected."""
    return text_of(value) if isinstance(value, bool) or column == "event_at" else value


class _Rows:
    """Records on their way to a batch, and what is shown of them if they are rejected."""

    def __init__(self) -> None:
        self.columns: list[dict[str, Any]] = []
        self.records: list[dict[str, Any]] = []
        self.positions: list[int] = []
        self.rejects: list[Reject] = []
        self.size_bytes = 0

    def raw(self) -> RawBatch:
        records = self.records

        def raw_text(rows: Sequence[int]) -> list[str]:
            return [orjson.dumps(records[row]).decode() for row in rows]

        names = [name for name in INVOCATIONS.schema.names if any(name in columns for columns in self.columns)]
        return RawBatch(
            {name: from_python([_typable(columns.get(name), name) for columns in self.columns]) for name in names},
            np.array(self.positions, np.int64),
            raw_text,
            self.rejects,
        )


def _batches(path: Path, input_uri: str, options: BedrockLogsOptions) -> Iterator[Batch]:
    constants = {name: constant_of(INVOCATIONS, name, value) for name, value in options.constants.items()}
    rows = _Rows()

    def batch() -> Batch:
        raw = rows.raw()
        mapping = ColumnMapping({name: name for name in raw.columns}, constants, _REQUIRED, ("",))
        return typed_batch(raw, INVOCATIONS, mapping, TimestampOptions(), input_uri)

    for position, (line, is_whole) in enumerate(text_lines(path, input_uri, limit_bytes=_LINE_LIMIT_BYTES)):
        record = json_object(line, is_whole=is_whole)
        if isinstance(record, tuple):
            rows.rejects.append(Reject.of_line(position, *record, line))
        elif record.get("schemaType") != "ModelInvocationLog":
            given = f"{record.get('schemaType')!s:.100}"
            reason = f"schemaType is {given}, expected ModelInvocationLog"
            rows.rejects.append(Reject.of_line(position, "record_unknown", reason, line, record))
        else:
            rows.columns.append(_columns_of(record, options))
            rows.records.append(_without_bodies(record, options))
            rows.positions.append(position)
        rows.size_bytes += len(line)
        if len(rows.records) >= _BATCH_ROWS or rows.size_bytes >= _BATCH_BYTES:
            yield batch()
            rows = _Rows()
    if rows.size_bytes:
        yield batch()


def _read(options: BedrockLogsOptions, context: PullContext) -> Iterator[InputPull]:
    files = file_inputs(options, context, lambda path, input_uri: _batches(path, input_uri, options))
    return (pull for pull in files if not _NOT_LOGS.search(pull.input_uri))


connector = Connector(
    kind="bedrock_logs", feed="usage", entities=(INVOCATIONS,), options=BedrockLogsOptions, read=_read, version=2
)
