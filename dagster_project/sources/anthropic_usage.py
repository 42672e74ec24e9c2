"""Anthropic's usage report, `GET /v1/organizations/usage_report/messages`: one record per result of a bucket.

Counts do not overlap: `uncached_input_tokens` leaves out what was read from and written to caches. The report counts no
requests. A dimension by which the report is not grouped is null.
"""

from collections.abc import Mapping
from typing import Any, Literal

import pyarrow as pa

from dagster_project.sources._anthropic import AnthropicApi, bounds, opened
from dagster_project.sources._api import Api, query
from dagster_project.sources._connector import Connector, Entity
from dagster_project.sources._reports import (
    BUCKET_COLUMNS,
    DIMENSION_COLUMNS,
    Report,
    ReportEndpoint,
    ReportFormat,
    ReportOptions,
    count,
    others_json,
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
    user_columns=("user_id",),
    known_attributes=frozenset({"service_account_id"}),
)

_MEMBERS = (
    "model", "service_tier", "inference_geo", "context_window", "speed", "workspace_id", "api_key_id", "account_id",
    *(f"cache_creation.{name}" for name in _CACHE_WRITES), "server_tool_use.web_search_requests", *_TOKENS,
)  # fmt: skip
# Fast mode is told apart in a beta only.
_SPEED_BETA = "fast-mode-2026-02-01"
# Buckets in a day.
_BUCKET_COUNTS = {"1d": 1, "1h": 24}


class AnthropicUsageApi(AnthropicApi):
    """How the usage is asked for.

    Attributes:
        bucket_width: Length of a bucket.
    """

    group_by: tuple[
        Literal[
            "account_id", "api_key_id", "context_window", "inference_geo", "model", "service_account_id",
            "service_tier", "speed", "workspace_id",
        ],
        ...,
    ] = ("api_key_id", "context_window", "inference_geo", "model", "service_tier", "workspace_id")  # fmt: skip
    bucket_width: Literal["1d", "1h"] = "1d"


class AnthropicUsageOptions(ReportOptions):
    """Options of a source of Anthropic's usage."""

    api: AnthropicUsageApi | None = None


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


def _opened(api: AnthropicUsageApi) -> Api:
    return opened(api, *([_SPEED_BETA] if "speed" in api.group_by else []))


def _endpoints(api: AnthropicUsageApi) -> list[ReportEndpoint]:
    return [
        ReportEndpoint(
            "v1/organizations/usage_report/messages",
            lambda window: query(
                **bounds(window),
                bucket_width=api.bucket_width,
                limit=_BUCKET_COUNTS[api.bucket_width],
                **{"group_by[]": api.group_by},
            ),
        )
    ]


FORMAT = ReportFormat(
    BUCKETS, "starting_at", "ending_at", frozenset({*_TOKENS, "cache_creation", "server_tool_use"}), _columns
)
_REPORT = Report(FORMAT, _opened, _endpoints)

connector = Connector(
    kind="anthropic_usage",
    feed="reports",
    entities=(BUCKETS,),
    options=AnthropicUsageOptions,
    read=_REPORT.inputs,
    check=_REPORT.check,
)
