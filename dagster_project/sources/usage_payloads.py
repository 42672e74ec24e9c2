"""Recorded provider calls: JSON Lines, plain, .gz or .zst, one call per line, whose usage block lands as it came.

A record holds the usage block, the whole response, or is the response itself; a stream holds a list of events.
Of a response only usage, model, tier and identifier are read: prompts and answers are never stored. A stream's
blocks are merged member by member, the last value wins, because a later event corrects an earlier one; the blocks
land beside the result; a rejected record keeps its mapped members, users left out, and its blocks, a line that is not
JSON only its length. What the counts mean is staging's business: here a block only gets the name of its dialect,
by the host and path of the request or by the configuration. Work of another model within a call (an advisor) is a
row of its own.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, NamedTuple, Self
from urllib.parse import unquote

import numpy as np
import orjson
import pyarrow as pa
from pydantic import AfterValidator, Field, model_validator

from dagster_project.sources._connector import (
    UTC_TIMESTAMP,
    Batch,
    Connector,
    Entity,
    InputPull,
    PullContext,
    Reject,
    SourceOptions,
    unsaid,
)
from dagster_project.sources._files import content_name, file_inputs
from dagster_project.sources._json import readable
from dagster_project.sources._tabular import (
    ConstantColumn,
    ConstantValue,
    MappedOptions,
    MappedTableOptions,
    RawBatch,
    Unreadable,
    known_column,
    raw_records,
    read_json_lines,
    typed_batch,
)

CALLS = Entity(
    name="calls",
    schema=pa.schema(
        [
            ("event_at", UTC_TIMESTAMP),
            ("call_id", pa.string()),
            ("dialect_type", pa.string()),
            ("host_name", pa.string()),
            ("request_path", pa.string()),
            ("provider_name", pa.string()),
            ("model_name", pa.string()),
            ("requested_model_name", pa.string()),
            ("operation_name", pa.string()),
            ("deployment_id", pa.string()),
            ("region_id", pa.string()),
            ("service_tier", pa.string()),
            ("use_case_id", pa.string()),
            ("use_case_version", pa.string()),
            ("use_case_instance_id", pa.string()),
            ("conversation_id", pa.string()),
            ("turn_index", pa.int32()),
            ("agent_id", pa.string()),
            ("step_name", pa.string()),
            ("attempt_index", pa.int32()),
            ("team_name", pa.string()),
            ("environment_name", pa.string()),
            ("customer_id", pa.string()),
            ("billing_account_id", pa.string()),
            ("user_id", pa.string()),
            ("is_success", pa.bool_()),
            ("error_type", pa.string()),
            ("spillover_from_deployment_id", pa.string()),
            ("is_spillover", pa.bool_()),
            ("is_usage_record", pa.bool_()),
            ("latency_ms", pa.float64()),
            ("time_to_first_token_ms", pa.float64()),
            ("usage_json", pa.string()),
            ("usage_events_json", pa.string()),
            ("attributes_json", pa.string()),
        ]
    ),
    day_column="event_at",
    user_columns=("user_id",),
)

Dialect = Literal[
    "openai_chat",
    "openai_responses",
    "openai_embeddings",
    "anthropic_messages",
    "bedrock_converse",
    "bedrock_invoke",
    "bedrock_invocation_log",
    "gemini",
    "openrouter",
    "openrouter_responses",
    "xai",
    "mistral",
    "groq",
    "deepseek",
    "cohere",
    "cohere_embed",
    "cohere_rerank",
    "voyage",
    "ollama",
    "otel",
    "openinference",
    "litellm",
    "langfuse",
]


class _Route(NamedTuple):
    """What a request's host and path say: the first route that matches counts; `model` is a group of the path."""

    host: str
    path: str
    dialect: Dialect | None
    operation: str = "chat"


_CHAT = r"/(chat/)?completions$|/threads/[^/]+/runs(/[^/]+)?$"
_ROUTES = (
    _Route(r"", r"/model/(?P<model>[^/]+)/converse(-stream)?$", "bedrock_converse"),
    _Route(r"", r"/model/(?P<model>[^/]*embed[^/]*)/invoke$", "bedrock_invoke", "embeddings"),
    _Route(r"", r"/model/(?P<model>[^/]+)/invoke(-with-response-stream)?$", "bedrock_invoke"),
    _Route(r"", r"/models/(?P<model>[^/:]+):(batchEmbedContents|embedContent)$", "gemini", "embeddings"),
    _Route(r"", r"/models/(?P<model>[^/:]+):(generateContent|streamGenerateContent)$", "gemini"),
    _Route(r"(^|\.)cohere\.(com|ai)$", r"/rerank$", "cohere_rerank", "rerank"),
    _Route(r"(^|\.)cohere\.(com|ai)$", r"/embed$", "cohere_embed", "embeddings"),
    _Route(r"(^|\.)cohere\.(com|ai)$", r"/(chat|generate)$", "cohere"),
    _Route(r"(^|\.)voyageai\.com$", r"/rerank$", "voyage", "rerank"),
    _Route(r"(^|\.)voyageai\.com$", r"/(multimodal)?embeddings$", "voyage", "embeddings"),
    _Route(r"(^|\.)mistral\.ai$", r"/embeddings$", "mistral", "embeddings"),
    _Route(r"(^|\.)mistral\.ai$", r"", "mistral"),
    _Route(r"(^|\.)openrouter\.ai$", r"/responses$", "openrouter_responses"),
    _Route(r"(^|\.)openrouter\.ai$", _CHAT, "openrouter"),
    _Route(r"(^|\.)x\.ai$", _CHAT, "xai"),
    _Route(r"(^|\.)groq\.com$", _CHAT, "groq"),
    _Route(r"(^|\.)deepseek\.com$", _CHAT, "deepseek"),
    _Route(r"(^|\.)writer\.com$", r"/chat$", "openai_chat"),
    _Route(r"", r"/v1/messages$", "anthropic_messages"),
    _Route(r"", r"/responses(/[^/]+)?$", "openai_responses"),
    _Route(r"", r"/embeddings$", "openai_embeddings", "embeddings"),
    _Route(r"", _CHAT, "openai_chat"),
    _Route(r"", r"/api/(chat|generate)$", "ollama"),
    _Route(r"", r"/api/embed(dings)?$", "ollama", "embeddings"),
)
_PROVIDERS = (
    (r"(^|\.)openai\.com$", "openai"),
    (r"(^|\.)openai\.azure\.com$|\.cognitiveservices\.azure\.com$|\.services\.ai\.azure\.com$", "azure.ai.openai"),
    (r"(^|\.)anthropic\.com$", "anthropic"),
    (r"^bedrock-runtime\.(?P<region>[a-z0-9-]+)\.amazonaws\.com$", "aws.bedrock"),
    (r"^bedrock-mantle\.(?P<region>[a-z0-9-]+)\.api\.aws$", "aws.bedrock"),
    (r"^generativelanguage\.googleapis\.com$", "gcp.gemini"),
    (r"^((?P<region>[a-z0-9-]+)-)?aiplatform\.googleapis\.com$", "gcp.vertex_ai"),
    (r"(^|\.)groq\.com$", "groq"),
    (r"(^|\.)mistral\.ai$", "mistral_ai"),
    (r"(^|\.)openrouter\.ai$", "openrouter"),
    (r"(^|\.)cohere\.(com|ai)$", "cohere"),
    (r"(^|\.)deepseek\.com$", "deepseek"),
    (r"(^|\.)x\.ai$", "x_ai"),
    (r"(^|\.)voyageai\.com$", "voyageai"),
    (r"(^|\.)together\.(xyz|ai)$", "together"),
    (r"(^|\.)cerebras\.ai$", "cerebras"),
    (r"(^|\.)writer\.com$", "writer"),
    (r"(^|\.)z\.ai$", "z_ai"),
    (r"^router\.huggingface\.co$", "huggingface"),
    (r"(^|\.)snowflakecomputing\.com$", "snowflake"),
)
_OPERATIONS: dict[str, str] = {
    "openai_embeddings": "embeddings",
    "cohere_embed": "embeddings",
    "cohere_rerank": "rerank",
}

# Where usage blocks are in a response or an event of a stream.
_PLACES = ("usage", "usageMetadata", "message.usage", "response.usage", "delta.usage", "metadata.usage", "x_groq.usage")
# Counts that stand in the response itself.
_ROOT_COUNTS = (
    "prompt_eval_count",
    "eval_count",
    "inputTextTokenCount",
    "prompt_token_count",
    "generation_token_count",
    "amazon-bedrock-invocationMetrics",
)
_RESPONSE_TEXTS = {
    "call_id": ("id", "responseId", "message.id", "response.id"),
    "model_name": ("model", "modelVersion", "message.model", "response.model"),
    "service_tier": ("service_tier", "response.service_tier"),
}
# Which quota served a call of Vertex AI; on demand is the usual tier.
_PROVISIONED_TRAFFIC = "PROVISIONED_THROUGHPUT"
_TRAFFIC_TIERS = {"ON_DEMAND_PRIORITY": "priority", "ON_DEMAND_FLEX": "flex"}
_COUNT_NAME = re.compile(r"(?:tokens|count|units|requests)$", re.IGNORECASE)
_INT64_LIMIT = 2**63

_Column = Annotated[str, AfterValidator(known_column(CALLS))]


class PayloadOptions(MappedOptions):
    """How the records of a source tell calls, and where in them the usage block is.

    Attributes:
        dialect: Whose counts the blocks hold; `auto` decides record by record, by `host_name` and `request_path`.
        usage: The record's member that is the usage block or the list of a stream's blocks.
        usage_member: Where in an item of that list the block is; None when the item is the block.
        response: The record's member that is the response or the list of a stream's events. Without `usage` and
            `response` the record itself is the response.
        provisioned_deployments: Deployment by model name, for the calls of which the usage block says that provisioned
            throughput served them (Gemini's `trafficType`).
    """

    entity: ClassVar[Entity] = CALLS

    columns: dict[_Column, str | ConstantColumn] = Field(min_length=1)
    constants: dict[_Column, ConstantValue] = Field(default_factory=dict)
    dialect: Literal["auto"] | Dialect = "auto"
    usage: str | None = None
    usage_member: str | None = None
    response: str | None = None
    provisioned_deployments: dict[str, str] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _usage_has_one_origin(self) -> "PayloadOptions":
        if self.usage and self.response:
            msg = "'usage' and 'response' are both given: say where the usage block is, or where the response is"
            raise ValueError(msg)
        if self.usage_member and not self.usage:
            msg = "'usage_member' looks into the blocks of 'usage', which is not given"
            raise ValueError(msg)
        if self.keep_unmapped:
            msg = "'keep_unmapped' would store prompts and answers; map attributes_json to what is to be kept"
            raise ValueError(msg)
        if self.dialect == "auto" and not {"host_name", "request_path"} <= {*self.columns, *self.constants}:
            msg = "'dialect: auto' needs host_name and request_path; map them or name the dialect"
            raise ValueError(msg)
        return self


class UsagePayloadsOptions(PayloadOptions, MappedTableOptions):
    """Options of recorded calls in files."""

    format: Literal["jsonl"] = "jsonl"


class KnownCallsOptions(SourceOptions):
    """Options of a kind whose records have names that are known: `columns` and `constants` only add to its own mapping.

    Attributes:
        columns: Canonical name to the record's own name, or to `{constant: value}`; `a.b` looks into `a`.
        constants: Canonical name to a value that every record has.
    """

    dialect_type: ClassVar[Dialect]
    known_columns: ClassVar[Mapping[str, str]]

    columns: dict[_Column, str | ConstantColumn] = Field(default_factory=dict)
    constants: dict[_Column, ConstantValue] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _mapping_holds(self) -> Self:
        self.payload_options()
        return self

    def payload_options(self) -> PayloadOptions:
        """Give the mapping as that of recorded calls whose usage block is the member `usage`."""
        known = {name: column for name, column in self.known_columns.items() if name not in self.constants}
        return PayloadOptions(
            name=self.name,
            kind=self.kind,
            dialect=self.dialect_type,
            usage="usage",
            columns={**known, **self.columns},
            constants=self.constants,
        )

    def metadata_names(self) -> frozenset[str]:
        """Give the members of the records' metadata that the mapping names; the others are left where they are."""
        mapped = [column for column in self.payload_options().columns.values() if isinstance(column, str)]
        return frozenset(column.split(".")[1] for column in mapped if column.startswith("metadata."))


# ---- usage blocks


def _member(value: object, path: str) -> Any:  # noqa: ANN401 - JSON
    for name in path.split("."):
        value = value.get(name) if isinstance(value, dict) else None
    return value


def _blocks_of(response: Any) -> Iterator[dict[str, Any]]:  # noqa: ANN401 - JSON
    """Give the usage blocks of a response, or of the events of a stream in their order, and nothing else of them."""
    for event in response if isinstance(response, list) else [response]:
        if not isinstance(event, dict):
            continue
        for place in _PLACES:
            block = _member(event, place)
            if isinstance(block, dict):
                yield block
        at_root = {name: event[name] for name in _ROOT_COUNTS if event.get(name) is not None}
        meta = event.get("meta")
        if isinstance(meta, dict):
            at_root |= {name: meta[name] for name in ("billed_units", "tokens") if name in meta}
        results = event.get("results")
        if isinstance(results, list) and isinstance(results[0] if results else None, dict):
            at_root |= {"results": [{"tokenCount": item.get("tokenCount")} for item in results]}
        for side in ("input", "output"):
            if isinstance(event.get(side), dict):
                counts = {name: count for name, count in event[side].items() if name.endswith("TokenCount")}
                at_root |= {side: counts} if counts else {}
                yield from _blocks_of(event[side].get(f"{side}BodyJson"))
        if at_root:
            yield at_root


def merge_blocks(blocks: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """Merge a stream's usage blocks: member by member the last value wins, a null says nothing."""
    merged: dict[str, Any] = {}
    for block in blocks:
        for name, value in block.items():
            if isinstance(value, dict):
                earlier = merged.get(name)
                merged[name] = merge_blocks([earlier if isinstance(earlier, dict) else {}, value])
            elif value is not None:
                merged[name] = value
    return merged


def _bad_count(value: Any, name: str = "") -> str | None:  # noqa: ANN401 - JSON
    """Name the first count in a block that is no whole number."""
    if isinstance(value, dict):
        return next((bad for key, item in value.items() if (bad := _bad_count(item, key))), None)
    if isinstance(value, list):
        return next((bad for item in value if isinstance(item, dict) and (bad := _bad_count(item))), None)
    if value is None or not _COUNT_NAME.search(name):
        return None
    if isinstance(value, str) and re.fullmatch(r"-?[0-9]{1,19}", value):
        value = int(value)
    is_whole = isinstance(value, int | float) and not isinstance(value, bool) and value == value // 1
    return None if is_whole and abs(value) < _INT64_LIMIT else name


@dataclass(frozen=True)
class _Payload:
    """What one record says of its usage.

    Attributes:
        usage: The merged block; None when there is none.
        events: The blocks of a stream as they came; None for a single one.
        texts: Identifier, model and tier that the response names.
        others: Model and block of the work that other models did within the call.
    """

    usage: dict[str, Any] | None
    events: list[dict[str, Any]] | None
    texts: dict[str, str]
    others: list[tuple[str, dict[str, Any]]]


def _payload(content: Any, options: PayloadOptions) -> _Payload:  # noqa: ANN401 - JSON
    texts: dict[str, str] = {}
    if options.usage:
        items = content if isinstance(content, list) else [content]
        if options.usage_member:
            items = [_member(item, options.usage_member) for item in items]
        blocks = [item for item in items if isinstance(item, dict)]
    else:
        blocks = list(_blocks_of(content))
        for event in content if isinstance(content, list) else [content]:
            for column, places in _RESPONSE_TEXTS.items():
                found = next((text for place in places if isinstance(text := _member(event, place), str)), None)
                if found:
                    texts.setdefault(column, found)
    usage = merge_blocks(blocks) or None
    iterations = (usage or {}).get("iterations")
    others = [
        (item["model"], item)
        for item in (iterations if isinstance(iterations, list) else [])
        if isinstance(item, dict) and isinstance(item.get("model"), str)
    ]
    return _Payload(usage, blocks if len(blocks) > 1 else None, texts, others)


# ---- host and path


def _route(host: str | None, path: str | None) -> tuple[_Route, str | None] | None:
    """Find the route of a request, and the model that its path names."""
    bare = (path or "").partition("?")[0].rstrip("/")
    for route in _ROUTES:
        found = re.search(route.path, bare)
        if found and re.search(route.host, host or ""):
            model = found.groupdict().get("model")
            return route, unquote(model) if model else None
    return None


def _provider(host: str | None) -> tuple[str | None, str | None]:
    """Give the provider that a host belongs to, in OpenTelemetry's naming, and the region that it names."""
    for pattern, provider in _PROVIDERS:
        found = re.search(pattern, host or "")
        if found:
            return provider, found.groupdict().get("region")
    return None, None


def _dialect_of(route: _Route, usage: dict[str, Any]) -> Dialect | None:
    """Give the dialect; Bedrock hands on the bodies of Anthropic and of OpenAI-type models as they are."""
    if route.dialect == "bedrock_invoke" and "input_tokens" in usage:
        return "anthropic_messages"
    if route.dialect == "bedrock_invoke" and "prompt_tokens" in usage:
        return "openai_chat"
    return route.dialect


# ---- records

# No column of a file can have these names.
_PRIVATE = "\x00"
# What is read from the block, the response, the host and the path. Of these a mapped column comes first.
_DERIVED = (
    "usage_json", "usage_events_json", "dialect_type", "provider_name", "region_id", "operation_name",
    "requested_model_name", "deployment_id", *_RESPONSE_TEXTS,
)  # fmt: skip


class _BadRecordError(ValueError):
    """A record whose usage cannot be read: reason_code and reason."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.code = code


class _Reader:
    """Reads the records of one input; counts the rows that it put between them."""

    def __init__(self, options: PayloadOptions, input_uri: str, name: Callable[[], str]) -> None:
        self._options = options
        self._input_uri = input_uri
        self._name = name
        self._mapping = options.mapping({}, ("event_at",))
        self._added = 0
        self._others: dict[int, list[tuple[str, dict[str, Any]]]] = {}

    def wanted(self) -> list[str]:
        """Give the members of a record that are read; none is its prompt or its answer."""
        content = self._options.usage or self._options.response
        return [*self._mapping.columns.values(), *([content] if content else [])]

    def batches(self, raws: Iterable[RawBatch]) -> Iterator[Batch]:
        for raw in raws:
            prepared = self._prepared(raw, self._options.usage or self._options.response)
            mapping = replace(
                self._mapping, columns={**self._mapping.columns, **{name: _PRIVATE + name for name in _DERIVED}}
            )
            batch = typed_batch(prepared, CALLS, mapping, self._options.timestamp, self._input_uri)
            yield self._with_other_models(batch)

    def _texts(self, raw: RawBatch, column: str) -> list[str | None]:
        """Give a mapped column as text."""
        if column in self._mapping.columns:
            values = raw.columns[self._mapping.columns[column]]
            return [None if value in (None, "") else str(value) for value in values.to_pylist()]
        constant = self._mapping.constants.get(column)
        return [constant] * raw.rows

    def _prepared(self, raw: RawBatch, content: str | None) -> RawBatch:
        """Read the usage of every record into columns; a record whose usage cannot be read becomes a reject."""
        texts = raw.columns[content].to_pylist() if content else raw.raw_text(range(raw.rows))
        mapped = {name: self._texts(raw, name) for name in (*_DERIVED, "host_name", "request_path")}
        derived: dict[str, list[str | None]] = {name: [] for name in _DERIVED}
        kept: list[int] = []
        payloads: list[_Payload] = []
        rejects = list(raw.rejects)
        mapping = self._mapping.columns
        kept_columns = sorted({name for column, name in mapping.items() if column not in CALLS.user_columns})

        def told(row: int, payload: _Payload) -> str:
            """Write what was mapped of a record and its usage: neither conversation nor user are kept of a reject."""
            columns = {name: raw.columns[name][row].as_py() for name in kept_columns}
            return readable({**columns, "usage": payload.events or payload.usage}).decode()

        for row, text in enumerate(texts):
            given = {name: values[row] for name, values in mapped.items()}
            payload = _payload(_parsed(text), self._options)
            try:
                found = self._derive(payload, given)
            except _BadRecordError as error:
                rejects.append(Reject.of(int(raw.record_index[row]), error.code, str(error), told(row, payload)))
                continue
            kept.append(row)
            payloads.append(payload)
            for name in _DERIVED:
                derived[name].append(given[name] or found.get(name))
        self._others = {
            int(raw.record_index[row]): payload.others
            for row, payload in zip(kept, payloads, strict=True)
            if payload.others
        }
        taken = pa.array(kept, pa.int64())
        columns = {name: values.take(taken) for name, values in raw.columns.items()}
        columns |= {_PRIVATE + name: pa.array(values, pa.string()) for name, values in derived.items()}
        return RawBatch(
            columns,
            raw.record_index[kept],
            lambda rows: [told(kept[row], payloads[row]) for row in rows],
            rejects,
        )

    def _derive(self, payload: _Payload, given: dict[str, str | None]) -> dict[str, str | None]:
        bad = _bad_count(payload.usage)
        if bad:
            code = "value_unparsable"
            raise _BadRecordError(code, f"the usage's {bad!r} is not a whole number of 64 bits")
        is_addressed = bool(given["host_name"] or given["request_path"])
        provider, region = _provider(given["host_name"]) if is_addressed else (None, None)
        route = _route(given["host_name"], given["request_path"]) if is_addressed else None
        dialect: str | None = self._options.dialect
        if dialect == "auto":
            dialect = given["dialect_type"] or (_dialect_of(route[0], payload.usage or {}) if route else None)
        if dialect is None:
            code = "dialect_unknown"
            where = f"{given['host_name']}{given['request_path']}"
            raise _BadRecordError(code, f"no dialect is known for {where}; name it by 'dialect'")
        traffic = (payload.usage or {}).get("trafficType")
        model = given["model_name"] or payload.texts.get("model_name") or (route[1] if route else None)
        is_provisioned = traffic == _PROVISIONED_TRAFFIC
        return {
            "service_tier": _TRAFFIC_TIERS.get(str(traffic)),
            **payload.texts,
            "deployment_id": self._options.provisioned_deployments.get(model or "") if is_provisioned else None,
            "usage_json": _json(payload.usage),
            "usage_events_json": _json(payload.events),
            "dialect_type": dialect,
            "provider_name": provider,
            "region_id": region,
            "operation_name": route[0].operation if route else _OPERATIONS.get(dialect, "chat"),
            "requested_model_name": route[1] if route else None,
        }

    def _with_other_models(self, batch: Batch) -> Batch:
        """Name calls without an identifier, and put the work of other models behind the call that it belongs to."""
        rows: list[dict[str, Any]] = []
        positions: list[int] = []
        landed = batch.record_index.to_pylist()
        others = {position: self._others[position] for position in landed if position in self._others}
        shift = _Shift(others, self._added)
        for record, position in zip(batch.records.to_pylist(), landed, strict=True):
            record["call_id"] = record["call_id"] or f"{self._name()}:{position}"
            rows.append(record)
            positions.append(shift.of(position))
            for number, (model, usage) in enumerate(others.get(position, []), start=1):
                other = {
                    "call_id": f"{record['call_id']}:{number}",
                    "model_name": model,
                    "requested_model_name": None,
                    "usage_json": _json(usage),
                    "usage_events_json": None,
                    "latency_ms": None,
                    "time_to_first_token_ms": None,
                }
                rows.append({**record, **other})
                positions.append(shift.of(position) + number)
        added = sum(map(len, others.values()))
        self._added += added
        return Batch(
            CALLS.name,
            pa.RecordBatch.from_pylist(rows, schema=CALLS.schema),
            pa.array(positions, pa.int64()),
            batch.rows_read + added,
            tuple(replace(reject, record_index=shift.of(reject.record_index)) for reject in batch.rejects),
        )


class _Shift:
    """Moves positions behind the rows that were put between the records."""

    def __init__(self, others: dict[int, list[tuple[str, dict[str, Any]]]], added: int) -> None:
        self._positions = np.array(sorted(others), dtype=np.int64)
        self._totals = np.cumsum([0, *(len(others[position]) for position in sorted(others))]) + added

    def of(self, position: int) -> int:
        return position + int(self._totals[np.searchsorted(self._positions, position)])


def _parsed(text: Any) -> Any:  # noqa: ANN401 - JSON
    """Read a member that is JSON in itself, or a JSON text; anything else holds no usage."""
    if not isinstance(text, str):
        return None
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return None


def _json(value: object) -> str | None:
    return None if value is None else readable(value).decode()


def payload_batches(
    records: Iterable[Mapping[str, Any] | Unreadable],
    input_uri: str,
    options: PayloadOptions,
    name: Callable[[], str] | None = None,
) -> Iterator[Batch]:
    """Read calls from records that are JSON objects already.

    Args:
        records: The records.
        input_uri: Their input.
        options: Their mapping.
        name: Names the content of the input, for calls without an id; None has the input's own name.
    """
    reader = _Reader(options, input_uri, name or (lambda: input_uri))
    return reader.batches(raw_records(records, reader.wanted()))


def _read(options: UsagePayloadsOptions, context: PullContext) -> Iterator[InputPull]:
    def read(path: Path, input_uri: str) -> Iterator[Batch]:
        reader = _Reader(options, input_uri, content_name(path))
        return reader.batches(read_json_lines(path, input_uri, reader.wanted(), shown=unsaid))

    return file_inputs(options, context, read)


connector = Connector(
    kind="usage_payloads", feed="usage", entities=(CALLS,), options=UsagePayloadsOptions, read=_read, version=2
)
