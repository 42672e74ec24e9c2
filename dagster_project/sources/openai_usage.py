"""OpenAI's usage reports, `GET /v1/organization/usage/{endpoint}`: one record per result of a bucket.

The endpoint is read from the result's own `object`. Counts land as they are reported: `input_tokens` includes what was
read from and written to caches, audio and images; reasoning is part of `output_tokens`. A dimension by which the report
is not grouped is null.
"""

import re
from collections.abc import Mapping
from typing import Any, Literal

import pyarrow as pa
from pydantic import Field

from dagster_project.sources._api import Api, bearer, query
from dagster_project.sources._connector import Connector, Entity
from dagster_project.sources._reports import (
    BUCKET_COLUMNS,
    DIMENSION_COLUMNS,
    Report,
    ReportApi,
    ReportEndpoint,
    ReportFormat,
    ReportOptions,
    ResultError,
    count,
    others_json,
)
from dagster_project.sources._reports import text as text_of

COUNTS = (
    "input_tokens", "input_cached_tokens", "input_cache_write_tokens", "input_cache_write_30m_tokens",
    "input_cache_write_12h_tokens", "input_audio_tokens", "input_cached_audio_tokens", "input_image_tokens",
    "input_cached_image_tokens", "output_tokens", "output_audio_tokens", "output_image_tokens", "images", "characters",
    "seconds", "usage_bytes", "num_sessions", "num_requests", "num_model_requests",
)  # fmt: skip

# Parts of counts that are landed; they stand beside the others for reading only.
_PARTS = ("input_uncached_tokens", "input_text_tokens", "input_cached_text_tokens", "output_text_tokens")

BUCKETS = Entity(
    name="buckets",
    schema=pa.schema(
        [
            *BUCKET_COLUMNS,
            ("endpoint_type", pa.string()),
            *DIMENSION_COLUMNS,
            ("is_batch", pa.bool_()),
            ("has_api_keys", pa.bool_()),
            *((name, pa.int64()) for name in COUNTS),
            ("attributes_json", pa.string()),
        ]
    ),
    day_column="bucket_start_at",
    token_columns=("input_tokens", "output_tokens"),
    user_columns=("user_id",),
    known_attributes=frozenset({*_PARTS, "api_source", "context_level", "size", "source", "vector_store_id"}),
)

_OBJECT = re.compile(r"organization\.usage\.([a-z_]+)\.result")
_MEMBERS = ("object", "model", "service_tier", "batch", "project_id", "user_id", "api_key_id", *COUNTS)


def _columns(result: Mapping[str, Any]) -> dict[str, Any]:
    found = _OBJECT.fullmatch(str(result.get("object")))
    if found is None:
        code = "result_unknown"
        raise ResultError(code, f"object {result.get('object')!r} is no result of a usage report")
    is_batch = result.get("batch")
    return {
        "endpoint_type": found[1],
        "model_name": text_of(result.get("model")),
        "service_tier": text_of(result.get("service_tier")),
        "is_batch": is_batch if isinstance(is_batch, bool) else None,
        "project_id": text_of(result.get("project_id")),
        "user_id": text_of(result.get("user_id")),
        "api_key_id": text_of(result.get("api_key_id")),
        **{name: count(result, name) for name in COUNTS},
        "attributes_json": others_json(result, _MEMBERS),
    }


# What each endpoint can be grouped by; asked for another dimension it refuses.
_KEYED = ("project_id", "user_id", "api_key_id")
_DIMENSIONS = {
    "completions": (*_KEYED, "model", "batch", "service_tier", "api_source"),
    "embeddings": (*_KEYED, "model"),
    "moderations": (*_KEYED, "model"),
    "images": (*_KEYED, "model", "size", "source"),
    "audio_speeches": (*_KEYED, "model"),
    "audio_transcriptions": (*_KEYED, "model"),
    "vector_stores": ("project_id",),
    "code_interpreter_sessions": ("project_id",),
    "file_search_calls": (*_KEYED, "vector_store_id"),
    "web_search_calls": (*_KEYED, "model", "context_level", "api_source"),
    "decisions": (*_KEYED, "model", "batch", "service_tier", "api_source"),
}
# Buckets in a day.
_BUCKET_COUNTS = {"1d": 1, "1h": 24}


class OpenaiUsageApi(ReportApi):
    """How the usage is asked for.

    Attributes:
        bucket_width: Length of a bucket.
        endpoints: Kinds of usage that are asked for; each is grouped by what it knows of `group_by`.
    """

    url: str = Field(default="https://api.openai.com", exclude=True)
    group_by: tuple[
        Literal[
            "project_id", "user_id", "api_key_id", "model", "batch", "service_tier", "api_source", "size", "source",
            "vector_store_id", "context_level",
        ],
        ...,
    ] = ("project_id", "api_key_id", "model", "batch", "service_tier")  # fmt: skip
    bucket_width: Literal["1d", "1h"] = "1d"
    endpoints: tuple[
        Literal[
            "completions", "embeddings", "moderations", "images", "audio_speeches", "audio_transcriptions",
            "vector_stores", "code_interpreter_sessions", "file_search_calls", "web_search_calls", "decisions",
        ],
        ...,
    ] = Field(
        default=(
            "completions", "embeddings", "moderations", "images", "audio_speeches", "audio_transcriptions",
            "vector_stores", "code_interpreter_sessions", "file_search_calls", "web_search_calls",
        ),
        exclude=True,
    )  # fmt: skip


class OpenaiUsageOptions(ReportOptions):
    """Options of a source of OpenAI's usage."""

    api: OpenaiUsageApi | None = None


def _endpoint(api: OpenaiUsageApi, name: str) -> ReportEndpoint:
    return ReportEndpoint(
        f"v1/organization/usage/{name}",
        lambda window: query(
            start_time=int(window.start_at.timestamp()),
            end_time=int(window.end_at.timestamp()),
            bucket_width=api.bucket_width,
            group_by=[dimension for dimension in api.group_by if dimension in _DIMENSIONS[name]],
            limit=_BUCKET_COUNTS[api.bucket_width],
        ),
    )


FORMAT = ReportFormat(BUCKETS, "start_time", "end_time", frozenset({*COUNTS, *_PARTS}), _columns)
_REPORT = Report(
    FORMAT,
    lambda api: Api(api, {"Authorization": bearer(api.key)}),
    lambda api: [_endpoint(api, name) for name in api.endpoints],
)

connector = Connector(
    kind="openai_usage",
    feed="reports",
    entities=(BUCKETS,),
    options=OpenaiUsageOptions,
    read=_REPORT.inputs,
    check=_REPORT.check,
)
