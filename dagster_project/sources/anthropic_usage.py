"""Anthropic's usage report, `GET /v1/organizations/usage_report/messages`: one record per result of a bucket.

Counts do not overlap: `uncached_input_tokens` leaves out what was read from and written to caches. The report counts no
requests. A dimension by which the report is not grouped is null.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa

from dagster_project.sources._connector import Connector, Entity, InputPull, PullContext
from dagster_project.sources._reports import (
    BUCKET_COLUMNS,
    DIMENSION_COLUMNS,
    ReportFormat,
    ReportOptions,
    count,
    others_json,
    report_inputs,
)
from dagster_project.sources._reports import text as text_of

_TOKENS = ("uncached_input_tokens", "cache_read_input_tokens", "output_tokens")
_CACHE_WRITES = ("ephemeral_5m_input_tokens", "ephemeral_1h_input_tokens")

BUCKETS = Entity(
    name="buckets",
    schema=pa.schema(
        [
            *BUCKET_COLUMNS,
            *DIMENSION_COLUMNS,
            ("speed", pa.string()),
            ("has_api_keys", pa.bool_()),
            *((name, pa.int64()) for name in (*_TOKENS, *_CACHE_WRITES, "web_search_requests")),
            ("attributes_json", pa.string()),
        ]
    ),
    day_column="bucket_start_at",
    token_columns=("uncached_input_tokens", "output_tokens"),
)

_MEMBERS = (
    "model", "service_tier", "inference_geo", "context_window", "speed", "workspace_id", "api_key_id", "account_id",
    "cache_creation", "server_tool_use", *_TOKENS,
)  # fmt: skip


def _members(result: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = result.get(name)
    return value if isinstance(value, dict) else {}


def _columns(result: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "model_name": text_of(result.get("model")),
        "service_tier": text_of(result.get("service_tier")),
        "region_id": text_of(result.get("inference_geo")),
        "context_window": text_of(result.get("context_window")),
        "speed": text_of(result.get("speed")),
        "project_id": text_of(result.get("workspace_id")),
        "api_key_id": text_of(result.get("api_key_id")),
        "user_id": text_of(result.get("account_id")),
        **{name: count(result, name) for name in _TOKENS},
        **{name: count(_members(result, "cache_creation"), name) for name in _CACHE_WRITES},
        "web_search_requests": count(_members(result, "server_tool_use"), "web_search_requests"),
        "attributes_json": others_json(result, _MEMBERS),
    }


FORMAT = ReportFormat(
    BUCKETS, "starting_at", "ending_at", frozenset({*_TOKENS, "cache_creation", "server_tool_use"}), _columns
)


def _read(options: ReportOptions, context: PullContext) -> Iterator[InputPull]:
    return report_inputs(options, context, FORMAT)


connector = Connector(kind="anthropic_usage", feed="reports", entities=(BUCKETS,), options=ReportOptions, read=_read)
