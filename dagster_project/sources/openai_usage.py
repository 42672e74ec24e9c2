"""OpenAI's usage reports, `GET /v1/organization/usage/{endpoint}`: one record per result of a bucket.

The endpoint is read from the result's own `object`. Counts land as they are reported: `input_tokens` includes what was
read from and written to caches, audio and images; reasoning is part of `output_tokens`. A dimension by which the report
is not grouped is null.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa

from dagster_project.sources._connector import Connector, Entity, InputPull, PullContext
from dagster_project.sources._reports import (
    BUCKET_COLUMNS,
    DIMENSION_COLUMNS,
    ReportFormat,
    ReportOptions,
    ResultError,
    count,
    others_json,
    report_inputs,
)
from dagster_project.sources._reports import text as text_of

COUNTS = (
    "input_tokens", "input_cached_tokens", "input_cache_write_tokens", "input_cache_write_30m_tokens",
    "input_cache_write_12h_tokens", "input_audio_tokens", "input_cached_audio_tokens", "input_image_tokens",
    "input_cached_image_tokens", "output_tokens", "output_audio_tokens", "output_image_tokens", "images", "characters",
    "seconds", "usage_bytes", "num_sessions", "num_requests", "num_model_requests",
)  # fmt: skip

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
)

_OBJECT = re.compile(r"organization\.usage\.([a-z_]+)\.result")
# Parts of counts that are landed; they stand beside the others for reading only.
_PARTS = ("input_uncached_tokens", "input_text_tokens", "input_cached_text_tokens", "output_text_tokens")
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


FORMAT = ReportFormat(BUCKETS, "start_time", "end_time", frozenset({*COUNTS, *_PARTS}), _columns)


def _read(options: ReportOptions, context: PullContext) -> Iterator[InputPull]:
    return report_inputs(options, context, FORMAT)


connector = Connector(kind="openai_usage", feed="reports", entities=(BUCKETS,), options=ReportOptions, read=_read)
