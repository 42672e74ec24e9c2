"""Langfuse: its observations, by the public API or from the files of its export to blob storage.

Generations and embeddings are the calls; spans, tools, agents and the like, which an export has too, land as records
that are no calls. The keys of the usage exclude one another, `total` is their sum. The API is asked by UTC day of an
observation's start and only for calls; an observation that is finished or corrected later is found within the lookback.
Prompts and answers are not asked for, and not kept where an older API or a file has them. Of the metadata only what the
mapping names is kept, and users are pseudonyms already in what the API's answers are spooled to.
"""

import base64
import csv
import io
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import orjson
import pyarrow.parquet as pq
from pydantic import Field, SecretStr, model_validator

from dagster_project.errors import PermanentSourceError
from dagster_project.sources._api import Api, ApiOptions, ApiRequest, Paging, numbered_pages, query, token_pages
from dagster_project.sources._columns import text_of
from dagster_project.sources._connector import (
    Batch,
    Connector,
    EnvironmentSecret,
    FilePatternField,
    HeaderSecret,
    InputPull,
    PullContext,
    StorageOptions,
    hashed_user,
    secret_origin,
    unsaid,
)
from dagster_project.sources._files import UTF8_MARK, content_name, inputs_at, open_bytes
from dagster_project.sources._json import readable
from dagster_project.sources._tabular import Unreadable, json_lines, json_object
from dagster_project.sources._windows import WHOLE, Window, WindowedSource, day_of, days, window_inputs
from dagster_project.sources.usage_payloads import CALLS, Dialect, KnownCallsOptions, payload_batches

_CALLS = {"GENERATION": "chat", "EMBEDDING": "embeddings"}
_CONTENT = frozenset(
    {"input", "output", "tool_calls", "tool_definitions", "tool_call_names", "model_parameters", "status_message"}
)
_ATTRIBUTES = (
    "trace_id", "trace_name", "parent_observation_id", "name", "level", "version", "release", "tags", "prompt_name",
    "prompt_version", "model_id", "total_cost", "usage_pricing_tier_name", "project_id",
)  # fmt: skip
# Members that are of no use here and are no news either.
_KNOWN = frozenset(
    {"id", "type", "start_time", "end_time", "completion_start_time", "environment", "user_id", "session_id",
     "provided_model_name", "model", "internal_model_id", "usage_details", "cost_details", "latency",
     "time_to_first_token", "metadata", "created_at", "updated_at", "prompt_id", "bookmarked", "public",
     "is_root_observation",
     "input_price", "output_price", "total_price", "input_usage", "output_usage", "total_usage", "input_cost",
     "output_cost", "usage_pricing_tier_id", "usage", "unit", "prompt_tokens", "completion_tokens", "total_tokens",
     "calculated_input_cost", "calculated_output_cost", "calculated_total_cost", "is_deleted", "event_ts",
     *_ATTRIBUTES, *_CONTENT}
)  # fmt: skip
_V2_FIELDS = "core,basic,time,metadata,model,usage,prompt,metrics,trace_context"
_QUOTED = re.compile(r"-?[0-9]{1,19}")
_V2_LIMIT = 1000
_V1_LIMIT = 100


class LangfuseApi(ApiOptions):
    """How Langfuse's API is asked.

    Attributes:
        public_key: The project's public key; `key` is the secret one.
        version: v2, or v1 for a server of one's own before Langfuse 4.
        start_date: First UTC day that is asked for.
        lookback_days: For how many days after its end a day may still get or change observations.
        retention_days: After how many days Langfuse deletes observations; days that may be cut are left as they landed.
    """

    key: HeaderSecret = Field(exclude=True)
    public_key: str = Field(min_length=1, exclude=True)
    version: Literal["v1", "v2"] = Field(default="v2", exclude=True)
    start_date: date = Field(exclude=True)
    lookback_days: int = Field(default=3, ge=0, exclude=True)
    retention_days: int | None = Field(default=None, ge=1, exclude=True)


class LangfuseObservationsOptions(KnownCallsOptions):
    """Options of Langfuse's observations.

    Attributes:
        path: Files of an export: JSON Lines, JSON, CSV or Parquet by their names.
        storage: How their object store is reached.
        api: The API, instead of files.
    """

    dialect_type: ClassVar[Dialect] = "langfuse"
    known_columns: ClassVar[Mapping[str, str]] = {
        "event_at": "start_time",
        "call_id": "id",
        "model_name": "model_name",
        "operation_name": "operation_name",
        "use_case_instance_id": "trace_id",
        "conversation_id": "session_id",
        "step_name": "name",
        "environment_name": "environment",
        "user_id": "user_id",
        "is_success": "is_success",
        "error_type": "error_type",
        "is_usage_record": "is_usage_record",
        "latency_ms": "latency_ms",
        "time_to_first_token_ms": "time_to_first_token_ms",
        "attributes_json": "attributes",
    }

    path: FilePatternField | None = None
    storage: StorageOptions = Field(default={}, exclude=True)
    api: LangfuseApi | None = None

    @model_validator(mode="after")
    def _has_one_place(self) -> Self:
        if (self.path is None) == (self.api is None):
            msg = "expected either 'path' (files of an export) or 'api', and not both"
            raise ValueError(msg)
        return self


# ---- records


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])([A-Z])", r"_\1", name).lower()


def _record(observation: Mapping[str, Any], metadata_names: frozenset[str]) -> dict[str, Any]:
    """Bring an observation of the API or of an export to the names that the mapping knows, without what was said."""
    given = {_snake(name): value for name, value in observation.items()}
    kind = str(given.get("type") or "").upper()
    is_success = given.get("level") != "ERROR"
    start_at, end_at = given.get("start_time"), given.get("end_time")
    first_at = given.get("completion_start_time")
    metadata = _members(given.get("metadata"))
    new = {
        name: value
        for name, value in given.items()
        if name not in _KNOWN and isinstance(value, bool | int | float) and value is not None
    }
    return {
        **{name: given.get(name) for name in ("id", "trace_id", "trace_name", "start_time", "session_id", "user_id")},
        **{name: given.get(name) for name in ("name", "environment", "version", "release", "prompt_name")},
        "metadata": {name: metadata[name] for name in sorted(metadata_names & metadata.keys())},
        "tags": _tags(given.get("tags")),
        "model_name": given.get("provided_model_name") or given.get("model"),
        "operation_name": _CALLS.get(kind, kind.lower() or None),
        "is_usage_record": kind in _CALLS,
        "is_success": is_success,
        "error_type": None if is_success else "error",
        "latency_ms": _milliseconds(given.get("latency"), start_at, end_at),
        "time_to_first_token_ms": _milliseconds(given.get("time_to_first_token"), start_at, first_at),
        "usage": _counts(given.get("usage_details")) or None,
        "attributes": {
            **{name: given[name] for name in _ATTRIBUTES if given.get(name) not in (None, "", [], {})},
            **new,
        },
    }


def _members(value: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
    """Give an object, be it the text of one (CSV) or pairs (Parquet); an empty one when it is something else."""
    if isinstance(value, str):
        try:
            value = orjson.loads(value)
        except orjson.JSONDecodeError:
            return {}
    if isinstance(value, list) and all(isinstance(item, tuple) for item in value):
        value = dict(value)
    return value if isinstance(value, dict) else {}


def _counts(usage: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
    """Give the counts of a usage; some writers leave a key without a value, some quote whole numbers of 64 bits."""
    return {name: _unquoted(count) for name, count in _members(usage).items() if count is not None}


def _unquoted(count: Any) -> Any:  # noqa: ANN401 - JSON
    return int(count) if isinstance(count, str) and _QUOTED.fullmatch(count) else count


def _judged(record: Mapping[str, Any] | Unreadable) -> Mapping[str, Any] | Unreadable:
    """Give a record, or why it cannot be one: a count that is no whole number of 64 bits."""
    if isinstance(record, Unreadable):
        return record
    for name, count in (record["usage"] or {}).items():
        is_whole = isinstance(count, int | float) and not isinstance(count, bool) and count == count // 1
        if not is_whole or abs(count) >= 2**63:
            reason = f"the usage's {name!r} is not a whole number of 64 bits"
            told = {member: record[member] for member in ("id", "start_time", "model_name", "usage")}
            return Unreadable("value_unparsable", reason, readable(told))
    return record


def _tags(tags: Any) -> dict[str, str]:  # noqa: ANN401 - JSON
    """Read tags of the form `name:value` as members."""
    if isinstance(tags, str):
        try:
            tags = orjson.loads(tags)
        except orjson.JSONDecodeError:
            tags = []
    parted = [str(tag).partition(":") for tag in (tags if isinstance(tags, list) else [])]
    return {name.strip(): value.strip() for name, mark, value in parted if mark}


def _milliseconds(seconds: Any, start: Any, end: Any) -> float | None:  # noqa: ANN401 - JSON
    """Give a duration that is stated in seconds, or lies between two instants."""
    if seconds not in (None, ""):
        try:
            return float(seconds) * 1000
        except (TypeError, ValueError):
            return None
    try:
        return (_instant(end) - _instant(start)) / timedelta(milliseconds=1)
    except (TypeError, ValueError):
        return None


def _instant(value: Any) -> datetime:  # noqa: ANN401 - JSON
    at = value if isinstance(value, datetime) else datetime.fromisoformat(value)
    return at if at.tzinfo else at.replace(tzinfo=UTC)


# ---- files of an export

_Observations = Iterator[Mapping[str, Any] | Unreadable]


def _json_lines(path: Path, input_uri: str) -> _Observations:
    for line, is_whole in json_lines(path, input_uri):
        found = json_object(line, is_whole=is_whole)
        yield Unreadable(*found, unsaid(line)) if isinstance(found, tuple) else found


def _json(path: Path, input_uri: str) -> _Observations:
    with open_bytes(path, input_uri) as stream:
        content = stream.read().removeprefix(UTF8_MARK)
    try:
        found = orjson.loads(content)
    except orjson.JSONDecodeError as error:
        msg = f"Read {input_uri}: not JSON: {error.msg} at character {error.pos}. Expected a list of observations."
        raise PermanentSourceError(msg) from None
    for item in found if isinstance(found, list) else [found]:
        if isinstance(item, dict):
            yield item
        else:
            yield Unreadable("json_not_an_object", "the item is no JSON object", unsaid(readable(item)))


def _csv(path: Path, input_uri: str) -> _Observations:
    csv.field_size_limit(64 * 1024 * 1024)
    with open_bytes(path, input_uri) as stream:
        text = io.TextIOWrapper(io.BufferedReader(stream), encoding="utf-8-sig", newline="")
        for row in csv.DictReader(text):
            yield {name: value for name, value in row.items() if name is not None and value not in (None, "")}


def _parquet(path: Path, _: str) -> _Observations:
    with pq.ParquetFile(path) as file:
        columns = [name for name in file.schema_arrow.names if _snake(name) not in _CONTENT]
        for batch in file.iter_batches(batch_size=10_000, columns=columns):
            yield from batch.to_pylist()


_READERS: dict[str, Callable[[Path, str], _Observations]] = {
    ".jsonl": _json_lines,
    ".json": _json,
    ".csv": _csv,
    ".parquet": _parquet,
}


def _observations(path: Path, input_uri: str) -> _Observations:
    """Read the observations of a file, by the format that its name says."""
    suffixes = [suffix.lower() for suffix in path.suffixes if suffix.lower() not in {".gz", ".zst"}]
    reader = _READERS.get(suffixes[-1] if suffixes else "")
    if reader is None:
        msg = f"Read {input_uri}: its name ends in none of {', '.join(_READERS)}, plain or compressed. Rename it."
        raise PermanentSourceError(msg)
    return reader(path, input_uri)


def _batches(path: Path, input_uri: str, options: LangfuseObservationsOptions) -> Iterator[Batch]:
    names = options.metadata_names()
    observations = _observations(path, input_uri)
    records = (item if isinstance(item, Unreadable) else _record(item, names) for item in observations)
    return payload_batches(map(_judged, records), input_uri, options.payload_options(), content_name(path))


# ---- the API


def _api(options: LangfuseApi) -> Api:
    pair = f"{options.public_key}:{options.key.get_secret_value()}"
    basic = f"Basic {base64.b64encode(pair.encode()).decode()}"
    header: SecretStr = EnvironmentSecret.of(basic, secret_origin(options.key))
    return Api(options, {"Authorization": header})


def _requests(options: LangfuseApi, window: Window) -> Iterator[tuple[ApiRequest, Paging]]:
    """Give the first request for each type of call of a day."""
    bounds = {"fromStartTime": _text(window.start_at), "toStartTime": _text(window.end_at)}
    for kind in _CALLS:
        if options.version == "v2":
            params = query(type=kind, fields=_V2_FIELDS, limit=_V2_LIMIT, **bounds)
            yield ApiRequest(_path(options), params), token_pages("meta.cursor", "cursor")
        else:
            params = query(type=kind, page=1, limit=_V1_LIMIT, **bounds)
            yield ApiRequest(_path(options), params), numbered_pages("page", "meta.totalPages")


def _text(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")


def _asked(
    api: Api, options: LangfuseObservationsOptions, window: Window, hash_key: bytes | None
) -> Iterator[dict[str, Any]]:
    """Give the calls of a day as records: nothing that was said, and no user in clear, reaches the spooled file."""
    assert options.api is not None  # noqa: S101 - whoever asks has one
    names = options.metadata_names()
    user_column = options.payload_options().columns.get("user_id")
    for request, paging in _requests(options.api, window):
        for page in api.pages(request, paging):
            for item in _data(api, request, page):
                record = _record(item, names)
                yield record if options.keep_user_ids else _with_pseudonym(record, user_column, hash_key)


def _question(options: LangfuseObservationsOptions, api: LangfuseApi, hash_key: bytes | None) -> str:
    """Say what decides a spooled file: what is asked for, what is kept of it, and whose pseudonyms it holds."""
    requests = [request for request, _ in _requests(api, WHOLE)]
    key = hashed_user("whose pseudonyms", hash_key) if hash_key else None
    users = (options.payload_options().columns.get("user_id"), options.keep_user_ids, key)
    return repr((requests, sorted(options.metadata_names()), users))


def _with_pseudonym(record: dict[str, Any], column: object, hash_key: bytes | None) -> dict[str, Any]:
    """Put the user's pseudonym where the mapping finds the user; null without a key."""

    def replaced(members: dict[str, Any], path: str) -> dict[str, Any]:
        name, _, rest = path.partition(".")
        if path in members or not rest:
            user = text_of(members.get(path))
            return {**members, path: hashed_user(user, hash_key) if user and hash_key else None}
        inner = members.get(name)
        return {**members, name: replaced(inner, rest)} if isinstance(inner, dict) else members

    if column != "user_id":
        record = {**record, "user_id": None}
    return replaced(record, column) if isinstance(column, str) else record


def _data(api: Api, request: ApiRequest, page: Any) -> list[dict[str, Any]]:  # noqa: ANN401 - JSON
    data = page.get("data") if isinstance(page, dict) else None
    if isinstance(data, list) and all(isinstance(item, dict) for item in data):
        return data
    msg = (
        f"Asked {api.address(request.path)}: the answer has no list `data`, expected a page of observations. "
        "Correct `url`."
    )
    raise PermanentSourceError(msg)


def _path(options: LangfuseApi) -> str:
    return "api/public/v2/observations" if options.version == "v2" else "api/public/observations"


def _read(options: LangfuseObservationsOptions, context: PullContext) -> Iterator[InputPull]:
    if options.path is not None:
        yield from inputs_at(options.path, options.storage, context, lambda file, uri: _batches(file, uri, options))
    elif options.api is not None:
        reached = options.api

        def read(path: Path, input_uri: str) -> Iterator[Batch]:
            records = map(_judged, _json_lines(path, input_uri))
            for batch in payload_batches(records, input_uri, options.payload_options(), content_name(path)):
                yield replace(batch, has_pseudonyms=True)

        with _api(reached) as api:
            lookback = timedelta(days=reached.lookback_days)
            retention = timedelta(days=reached.retention_days) if reached.retention_days else None
            question = _question(options, reached, context.hash_key)
            source = WindowedSource(options.name, api.address(_path(reached)), lookback, retention, question)
            windows = days(reached.start_date, context.now)
            yield from window_inputs(
                source, context, windows, lambda day: _asked(api, options, day, context.hash_key), read
            )


def _check(options: LangfuseObservationsOptions, context: PullContext) -> str | None:
    if options.api is None:
        return None
    with _api(options.api) as api:
        request, _ = next(_requests(options.api, day_of(context.now)))
        found = _data(api, request, api.ask(request.having("limit", 1)).content)
    return f"{options.api.url}: {'a generation' if found else 'no generation yet'} today"


connector = Connector(
    kind="langfuse_observations",
    feed="usage",
    entities=(replace(CALLS, known_attributes=frozenset(_ATTRIBUTES)),),
    options=LangfuseObservationsOptions,
    read=_read,
    check=_check,
    staged_with="usage_payloads",
    version=2,
)
