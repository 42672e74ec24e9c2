"""LiteLLM's proxy: the calls in its table of spend logs, read from its PostgreSQL by UTC day of their start.

A row is written when the proxy gets round to it, seconds to hours after its call began, and may commit after rows that
began later: no column grows in the order in which rows appear. So a day is not read onwards from a mark. PostgreSQL
itself says what a day holds, by number of rows and the sum of their hashes, and a day is read anew, in the same
snapshot, whenever that is not what has landed. A day is looked at until its lookback has passed.

Prompts, answers and the requests that led to them are not read. Of the metadata those members are taken that tell
usage, outcome and to whom the call belongs. What the proxy answered from its own cache used nothing of a provider.
"""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import replace
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import orjson
from pydantic import Field
from sqlalchemy import Connection

from dagster_project.errors import PermanentSourceError
from dagster_project.sources._connector import Batch, Connector, InputPull, PullContext
from dagster_project.sources._database import Database, DatabaseOptions, rows
from dagster_project.sources._windows import Window, WindowedSource, day_of, days, window_inputs
from dagster_project.sources.usage_payloads import CALLS, Dialect, KnownCallsOptions, payload_batches

# Of these the names and meanings have held since the table exists.
_REQUIRED = (
    "request_id", "call_type", "api_key", "spend", "total_tokens", "prompt_tokens", "completion_tokens", "startTime",
    "endTime", "model", "user", "metadata", "cache_hit", "request_tags", "team_id", "end_user",
)  # fmt: skip
_OPTIONAL = (
    "request_duration_ms", "completionStartTime", "model_id", "model_group", "custom_llm_provider", "api_base",
    "organization_id", "session_id", "status", "mcp_namespaced_tool_name", "billing_agent_id", "agent_id",
    "litellm_call_id",
)  # fmt: skip
# What was said, by whom from where, and when the row itself was written.
_NOT_READ = (
    "messages", "response", "proxy_server_request", "requester_ip_address", "cache_key", "created_at", "updated_at",
)  # fmt: skip
_PLAIN_TYPES = frozenset(
    {"text", "character varying", "integer", "bigint", "smallint", "double precision", "real", "numeric", "boolean",
     "timestamp without time zone", "timestamp with time zone", "date", "uuid"}
)  # fmt: skip
_METADATA = (
    "user_api_key_alias", "user_api_key_team_alias", "user_api_key_project_id", "user_api_key_project_alias",
    "user_api_key_org_id", "spend_logs_metadata", "status", "azure_spillover", "attempted_retries",
    "attempted_fallbacks", "original_model_group",
)  # fmt: skip
_ATTRIBUTES = (
    "call_type", "api_key", "api_base", "model_id", "model_group", "organization_id", "litellm_call_id", "request_tags",
    "spend_usd", "cache_hit",
)  # fmt: skip
# What the proxy calls an operation, without its `a` for asynchronous calls; all else is a chat.
_OPERATIONS = {
    "embedding": "embeddings",
    "text_completion": "text_completion",
    "image_generation": "image_generation",
    "image_edit": "image_generation",
    "transcription": "transcription",
    "speech": "speech",
    "rerank": "rerank",
    "moderation": "moderation",
    "call_mcp_tool": "execute_tool",
    "list_mcp_tools": "execute_tool",
}
# The providers' names that differ from OpenTelemetry's.
_PROVIDERS = {
    "azure": "azure.ai.openai",
    "azure_text": "azure.ai.openai",
    "azure_ai": "azure.ai.inference",
    "bedrock": "aws.bedrock",
    "bedrock_converse": "aws.bedrock",
    "vertex_ai": "gcp.vertex_ai",
    "vertex_ai_beta": "gcp.vertex_ai",
    "gemini": "gcp.gemini",
    "mistral": "mistral_ai",
    "moonshot": "moonshot_ai",
    "xai": "x_ai",
    "together_ai": "together",
    "cohere_chat": "cohere",
    "text-completion-openai": "openai",
}
_Json = TypeVar("_Json", dict[str, Any], list[Any])

_NOTHING_USED = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}


class LitellmSpendLogsOptions(KnownCallsOptions):
    """Options of LiteLLM's spend logs.

    Attributes:
        database: The proxy's PostgreSQL.
        schema_name: Schema of its tables.
        start_date: First UTC day; the first of the table when it is left out.
        lookback_days: For how many days after its end a day may still get rows.
        retention_days: After how many days the proxy deletes rows; days that may be cut are left as they landed.
    """

    dialect_type: ClassVar[Dialect] = "litellm"
    known_columns: ClassVar[Mapping[str, str]] = {
        "event_at": "startTime",
        "call_id": "request_id",
        "provider_name": "provider_name",
        "model_name": "model_name",
        "requested_model_name": "model_group",
        "operation_name": "operation_name",
        "conversation_id": "session_id",
        "agent_id": "agent_id",
        "team_name": "team_name",
        "user_id": "user_id",
        "is_success": "is_success",
        "error_type": "error_type",
        "is_spillover": "is_spillover",
        "spillover_from_deployment_id": "metadata.azure_spillover.from_deployment",
        "is_usage_record": "is_usage_record",
        "latency_ms": "latency_ms",
        "time_to_first_token_ms": "time_to_first_token_ms",
        "attributes_json": "attributes",
    }

    database: DatabaseOptions = Field(exclude=True)
    schema_name: str = Field(default="public", pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", exclude=True)
    start_date: date | None = Field(default=None, exclude=True)
    lookback_days: int = Field(default=7, ge=0, exclude=True)
    retention_days: int | None = Field(default=None, ge=1, exclude=True)


# ---- the table


class _Table:
    """The table of spend logs: what of it is read, and how PostgreSQL is asked."""

    def __init__(self, connection: Connection, database: Database, options: LitellmSpendLogsOptions) -> None:
        statement = """
            select column_name, data_type from information_schema.columns
            where table_schema = :schema_name and table_name = 'LiteLLM_SpendLogs' order by column_name
        """
        found = rows(connection, statement, {"schema_name": options.schema_name})
        types = {str(row["column_name"]): str(row["data_type"]) for row in found}
        if missing := [name for name in _REQUIRED if name not in types]:
            msg = (
                f"Read {database.address}: LiteLLM_SpendLogs in schema {options.schema_name} has no column "
                f"{', '.join(missing)}, expected the table of a LiteLLM proxy. Correct the URL or `schema_name`."
            )
            raise PermanentSourceError(msg)
        known = {*_REQUIRED, *_OPTIONAL, *_NOT_READ}
        # A column that holds JSON may hold prompts; of those that are not known only the plain ones are read.
        self._new = tuple(name for name, kind in types.items() if name not in known and kind in _PLAIN_TYPES)
        self._columns = (*_REQUIRED, *(name for name in _OPTIONAL if name in types), *self._new)
        self._relation = f'"{options.schema_name}"."LiteLLM_SpendLogs"'

    def _window_sql(self, what: str) -> str:
        # The table's instants are UTC without a zone.
        return f"""
            select {what} from {self._relation}
            where "startTime" >= cast(:start_at as timestamp) and "startTime" < cast(:end_at as timestamp)
        """

    @property
    def _selected(self) -> str:
        return ", ".join('"' + name.replace('"', '""') + '"' for name in self._columns)

    def first_date(self, connection: Connection) -> date | None:
        """Give the UTC day of the first row; None without one."""
        [row] = rows(connection, f'select min("startTime") as first_at from {self._relation}')
        return datetime.fromisoformat(row["first_at"]).date() if row["first_at"] else None

    def content(self, connection: Connection, window: Window) -> dict[str, Any]:
        """Say what a window holds: the number of rows and the sum of their hashes, the same for the same rows."""
        hashes = f"count(*) as row_count, coalesce(sum(hashtextextended(cast(row({self._selected}) as text), 0)), 0)"
        [row] = rows(connection, self._window_sql(f"{hashes} as hash_sum"), _bounds(window))
        return {"row_count": row["row_count"], "hash_sum": str(row["hash_sum"]), "columns": list(self._columns)}

    def records(self, connection: Connection, window: Window) -> Iterator[dict[str, Any]]:
        """Give a window's rows as records, in the order of their start."""
        statement = self._window_sql(self._selected) + ' order by "startTime", request_id'
        for row in rows(connection, statement, _bounds(window)):
            yield _record(row, self._new)


def _bounds(window: Window) -> dict[str, datetime]:
    return {"start_at": window.start_at.replace(tzinfo=None), "end_at": window.end_at.replace(tzinfo=None)}


# ---- records


def _record(row: Mapping[str, Any], new_columns: tuple[str, ...] = ()) -> dict[str, Any]:
    """Bring a row to the names that the mapping knows; members of the metadata that are not listed are left out."""
    metadata = _json(row["metadata"], dict)
    is_cached = str(row["cache_hit"]).lower() == "true"
    is_success = (row.get("status") or metadata.get("status") or "success") != "failure"
    operation = _OPERATIONS.get(_call_type(row["call_type"]), "chat")
    provider = row.get("custom_llm_provider") or ""
    spillover = metadata.get("azure_spillover")
    error = metadata.get("error_information")
    latency_ms = row.get("request_duration_ms")
    attributes = {
        **{name: row.get(name) for name in _ATTRIBUTES if row.get(name) not in (None, "", [])},
        "spend_usd": row["spend"],
        **{name: row[name] for name in new_columns if row[name] is not None},
    }
    return {
        **{name: row.get(name) for name in (*_REQUIRED, *_OPTIONAL) if name not in {"metadata", "user", "end_user"}},
        "metadata": {name: metadata[name] for name in _METADATA if metadata.get(name) is not None},
        "tags": _tags(_json(row["request_tags"], list)),
        "provider_name": _PROVIDERS.get(provider, provider),
        "model_name": str(row["model"]).removeprefix(f"{provider}/") if provider else row["model"],
        "operation_name": operation,
        "team_name": metadata.get("user_api_key_team_alias") or row["team_id"],
        "user_id": row["end_user"] or row["user"],
        "is_success": is_success,
        "error_type": None if is_success else _error_type(error),
        "is_spillover": True if isinstance(spillover, dict) else None,
        "is_usage_record": operation != "execute_tool" and bool(row["model"]),
        "latency_ms": latency_ms if latency_ms is not None else _milliseconds(row["startTime"], row["endTime"]),
        "time_to_first_token_ms": _first_token_ms(row),
        "usage": _NOTHING_USED if is_cached else _usage(row, metadata),
        "attributes": attributes,
    }


def _json(value: Any, kind: type[_Json]) -> _Json:  # noqa: ANN401 - JSON
    """Give a JSON value of a kind, be it a text of one; an empty one when it is something else."""
    if isinstance(value, str):
        try:
            value = orjson.loads(value)
        except orjson.JSONDecodeError:
            return kind()
    return value if isinstance(value, kind) else kind()


def _usage(row: Mapping[str, Any], metadata: Mapping[str, Any]) -> dict[str, Any] | None:
    """Give the usage block: the metadata's, else the columns'; None when nothing says what was used.

    The columns say 0 for what nobody counted: no call that was answered used no token at all.
    """
    block = metadata.get("usage_object")
    if not (isinstance(block, dict) and block.get("prompt_tokens") is not None):
        extra = metadata.get("additional_usage_values")
        block = {
            **(extra if isinstance(extra, dict) else {}),
            **{name: row[name] for name in _NOTHING_USED},
        }
    return block if any(block.get(name) for name in _NOTHING_USED) else None


def _call_type(call_type: str) -> str:
    """Give a call's type without the mark of asynchronous calls."""
    if call_type in _OPERATIONS:
        return call_type
    return call_type.removeprefix("a")


def _tags(tags: list[Any]) -> dict[str, str]:
    """Read tags of the form `name:value` as members."""
    parted = [str(tag).partition(":") for tag in tags]
    return {name.strip(): value.strip() for name, mark, value in parted if mark}


def _error_type(error: Any) -> str:  # noqa: ANN401 - JSON
    """Give the class of an error, or its code."""
    if isinstance(error, dict):
        return str(error.get("error_class") or error.get("error_code") or "failure")
    return "failure"


def _milliseconds(start: str | None, end: str | None) -> float | None:
    if not start or not end:
        return None
    return (datetime.fromisoformat(end) - datetime.fromisoformat(start)) / timedelta(milliseconds=1)


def _first_token_ms(row: Mapping[str, Any]) -> float | None:
    """Give the time to the first token; the proxy writes the end of the call where nothing was streamed."""
    first = row.get("completionStartTime")
    return _milliseconds(row["startTime"], first) if first and first != row["endTime"] else None


# ---- the source


class _Days:
    """The days of the table: what a day holds and its rows are read in one snapshot."""

    def __init__(self, options: LitellmSpendLogsOptions) -> None:
        self._options = options
        self._database = Database(options.database)
        self._open = ExitStack()
        self._asked: tuple[_Table, Connection, Window] | None = None

    def address(self) -> str:
        return f"{self._database.address}/{self._options.schema_name}.LiteLLM_SpendLogs"

    def first_date(self) -> date | None:
        with self._database.snapshot() as connection:
            first_date = _Table(connection, self._database, self._options).first_date(connection)
        if first_date is None or self._options.start_date is None:
            return first_date
        return max(first_date, self._options.start_date)

    def content(self, window: Window) -> Iterator[dict[str, Any]]:
        self.close()
        connection = self._open.enter_context(self._database.snapshot())
        with self._database.explained():
            table = _Table(connection, self._database, self._options)
            self._asked = (table, connection, window)
            yield table.content(connection, window)

    def batches(self, _: Path, input_uri: str) -> Iterator[Batch]:
        if self._asked is None:
            msg = f"Read {input_uri} before it was asked for; ask for its content first."
            raise PermanentSourceError(msg)
        table, connection, window = self._asked
        with self._database.explained():
            yield from payload_batches(table.records(connection, window), input_uri, self._options.payload_options())

    def close(self) -> None:
        self._asked = None
        self._open.close()


def _read(options: LitellmSpendLogsOptions, context: PullContext) -> Iterator[InputPull]:
    table_days = _Days(options)
    try:
        first_date = table_days.first_date()
        if first_date is None:
            return
        source = WindowedSource(
            name=options.name,
            address=table_days.address(),
            lookback=timedelta(days=options.lookback_days),
            retention=timedelta(days=options.retention_days) if options.retention_days else None,
        )
        windows = days(first_date, context.now)
        yield from window_inputs(source, context, windows, table_days.content, table_days.batches)
    finally:
        table_days.close()


def _check(options: LitellmSpendLogsOptions, context: PullContext) -> str:
    database = Database(options.database)
    with database.snapshot() as connection:
        table = _Table(connection, database, options)
        first_date = table.first_date(connection)
        if first_date is None:
            return f"{database.address}: no spend logs yet"
        count = table.content(connection, day_of(context.now))["row_count"]
    return f"{database.address}: spend logs since {first_date}, {count:,} today"


connector = Connector(
    kind="litellm_spend_logs",
    feed="usage",
    entities=(replace(CALLS, known_attributes=frozenset(_ATTRIBUTES)),),
    options=LitellmSpendLogsOptions,
    read=_read,
    check=_check,
    staged_with="usage_payloads",
)
