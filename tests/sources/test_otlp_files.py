"""OTLP/JSON traces: columns by attribute, resource after span, no content stored, no span lost."""

import gc
import gzip
from datetime import UTC, date, datetime
from pathlib import Path

import orjson
import pyarrow.parquet as pq
import pytest
import zstandard
from pydantic import ValidationError

from dagster_project.sources.otlp_files import OtlpFilesOptions
from tests.sources.pulling import FIXTURES, Pulled, pull

TRACES = FIXTURES / "otlp" / "traces.jsonl"


@pytest.fixture
def traces(tmp_path: Path) -> Pulled:
    return pull(tmp_path, "otlp_files", path=str(TRACES))


def test_otlp_files_counts_spans_and_broken_lines(traces: Pulled):
    landing = traces.landing
    assert (landing.rows_read, landing.rows_landed, landing.rows_rejected) == (8, 3, 5)
    assert traces.reasons() == {
        3: "json_broken",
        4: "value_unparsable",
        5: "value_unparsable",
        6: "value_missing",
        7: "shape_wrong",
    }
    assert [row["record_index"] for row in traces.rows()] == [0, 1, 2]


def test_otlp_files_lands_every_span_parents_too(traces: Pulled):
    agent, leaf, _ = traces.rows()
    assert (agent["gen_ai_operation_name"], agent["gen_ai_agent_name"]) == ("invoke_agent", "planner")
    assert (leaf["parent_span_id"], agent["parent_span_id"]) == ("0000000000000001", None)
    assert (traces.landing.tokens_in, traces.landing.tokens_out) == (1800 + 1000, 300 + 100)


def test_otlp_files_reads_known_attributes_into_columns(traces: Pulled):
    leaf = traces.rows()[1]
    expected = {
        "gen_ai_usage_input_tokens": 1000,
        "gen_ai_usage_cache_read_input_tokens": 800,
        "gen_ai_response_time_to_first_chunk_s": 0.25,
        "server_address": "api.openai.com",
        "tokenledger_use_case_id": "research",
        "tokenledger_use_case_version": "2",
        "tokenledger_turn_index": 3,
        "tokenledger_is_spillover": True,
        "span_kind": 3,
        "scope_name": "second",
    }
    assert {name: leaf[name] for name in expected} == expected


@pytest.mark.parametrize(
    ("header", "origin"),
    [
        ({"arrayValue": {"values": [{"stringValue": "ptu-1"}]}}, "ptu-1"),
        ({"stringValue": "ptu-1"}, "ptu-1"),
        ({"arrayValue": {"values": []}}, None),
        ({"stringValue": ""}, None),
    ],
)
def test_otlp_files_reads_the_origin_of_spillover_from_the_response_header(
    tmp_path: Path, header: dict[str, object], origin: str | None
):
    span = {
        "traceId": "0" * 31 + "1",
        "spanId": "0" * 15 + "1",
        "startTimeUnixNano": "1782864000000000000",
        "attributes": [{"key": "http.response.header.x-ms-spillover-from-deployment", "value": header}],
    }
    export = {"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]}
    (tmp_path / "a.jsonl").write_bytes(orjson.dumps(export) + b"\n")
    [row] = pull(tmp_path, "otlp_files", path=str(tmp_path / "a.jsonl")).rows()
    assert row["http_response_header_x_ms_spillover_from_deployment"] == origin


def test_otlp_files_keeps_deprecated_spellings_apart(traces: Pulled):
    old = traces.rows()[2]
    expected = {
        "gen_ai_system": "anthropic",
        "gen_ai_provider_name": None,
        "gen_ai_usage_input_tokens": None,
        "gen_ai_usage_prompt_tokens": 700,
        "gen_ai_usage_completion_tokens": 50,
        "gen_ai_usage_cache_read_input_tokens_deprecated": 10,
        "gen_ai_usage_cache_creation_input_tokens_deprecated": 20,
        "gen_ai_usage_cache_read_tokens": 30,
        "gen_ai_usage_cache_write_tokens": 40,
        "error_type": "timeout",
        "status_code": 2,
        "status_message": "timed out",
        "span_kind": 3,
    }
    assert {name: old[name] for name in expected} == expected


def test_otlp_files_looks_at_the_resource_after_the_span(traces: Pulled):
    agent, leaf, _ = traces.rows()
    assert agent["tokenledger_team_name"] == "from the resource"
    assert leaf["tokenledger_team_name"] == "from the span"
    assert leaf["service_name"] == "agents"
    dimensions = ("deployment_environment", "deployment_environment_name", "tokenledger_billing_account_id")
    assert [leaf[name] for name in dimensions] == ["production", None, "acme"]
    assert (agent["tokenledger_customer_id"], leaf["tokenledger_customer_id"]) == (None, "tenant-1")


def test_otlp_files_prefers_the_tier_of_the_response(traces: Pulled):
    agent, leaf, _ = traces.rows()
    assert (leaf["service_tier"], agent["service_tier"]) == ("default", None)


def test_otlp_files_truncates_nanoseconds_and_splits_by_utc_day(traces: Pulled):
    assert traces.rows()[1]["start_at"] == datetime(2026, 7, 1, 0, 0, 1, 1, tzinfo=UTC)
    assert [file.event_date for file in traces.landing.files] == [date(2026, 7, 1), date(2026, 7, 2)]


def test_otlp_files_keeps_other_attributes_as_json(traces: Pulled):
    assert orjson.loads(traces.rows()[1]["attributes_json"]) == {
        "gen_ai.request.temperature": 0.2,
        "tags": ["a", 7],
        "resource": {"host.name": "gateway-1"},
    }


def test_otlp_files_never_stores_prompts_or_answers(traces: Pulled):
    landing = traces.landing
    assert landing.rejects_file is not None
    paths = [*(file.path for file in landing.files), landing.rejects_file.path]
    stored = "".join(str(pq.read_table(path, partitioning=None).to_pylist()) for path in paths)
    assert "SECRET" in TRACES.read_text(encoding="utf-8")
    assert "SECRET" not in stored


def test_otlp_files_reads_compressed_files_alike(tmp_path: Path, traces: Pulled):
    content = TRACES.read_bytes()
    half = len(content) // 2
    # Two gzip members in one file, as appending compressed logs makes them.
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(content[:half]) + gzip.compress(content[half:]))
    (tmp_path / "b.jsonl.zst").write_bytes(zstandard.compress(content))
    pulled = pull(tmp_path / "x", "otlp_files", path=str(tmp_path / "*.jsonl*"))
    for landing in pulled.results:
        single = Pulled(pulled.zone, [landing])
        assert single.landing.rows_landed == 3
        assert single.reasons() == traces.reasons()
        assert [row["span_id"] for row in single.rows()] == [row["span_id"] for row in traces.rows()]


def test_otlp_files_reads_a_line_that_spans_many_blocks(tmp_path: Path):
    export = orjson.loads(TRACES.read_bytes().splitlines()[0])
    padding = [{"key": "padding", "value": {"stringValue": "x" * 3_000_000}}]
    export["resourceSpans"][0]["scopeSpans"][0]["spans"][0]["attributes"] += padding
    (tmp_path / "a.jsonl").write_bytes(orjson.dumps(export) + b"\r\n" + TRACES.read_bytes())
    assert pull(tmp_path, "otlp_files", path=str(tmp_path / "a.jsonl")).landing.rows_landed == 2 + 3


# ---- OpenInference

OPENINFERENCE = FIXTURES / "otlp" / "openinference.jsonl"


def test_otlp_files_reads_openinference_into_columns(tmp_path: Path):
    llm, embedding, _, decision, _ = pull(tmp_path, "otlp_files", path=str(OPENINFERENCE)).rows()
    expected = {
        "openinference_span_kind": "LLM",
        "llm_system": "openai",
        "llm_provider": "azure",
        "llm_request_model_name": "gpt-4o",
        "llm_response_model_name": "gpt-4o-2024-08-06",
        "llm_token_count_prompt_tokens": 229,
        "llm_token_count_completion_tokens": 21,
        "llm_token_count_total_tokens": 250,
        "llm_token_count_prompt_details_cache_read_tokens": 128,
        "llm_token_count_completion_details_reasoning_tokens": 8,
        "session_id": "chat-1",
        "gen_ai_usage_input_tokens": None,
    }
    assert {name: llm[name] for name in expected} == expected
    assert (embedding["embedding_model_name"], embedding["llm_token_count_prompt_tokens"]) == (
        "text-embedding-3-small",
        2,
    )
    assert (decision["decision_response_model_name"], decision["decision_token_count_input_tokens"]) == (
        "jev-1.13.0",
        412,
    )


def test_otlp_files_stores_nothing_that_was_said_and_nobody_who_said_it(tmp_path: Path):
    pulled = pull(tmp_path, "otlp_files", path=str(OPENINFERENCE))
    landing = pulled.landing
    assert landing.rejects_file is not None
    assert pulled.reasons() == {4: "value_unparsable", 6: "shape_wrong"}
    paths = [*(file.path for file in landing.files), landing.rejects_file.path]
    stored = "".join(str(pq.read_table(path, partitioning=None).to_pylist()) for path in paths)
    given = OPENINFERENCE.read_text(encoding="utf-8")
    for text in ("SECRET", "ada@example.org"):
        assert text in given
        assert text not in stored


def test_otlp_files_keeps_what_is_neither_content_nor_known(tmp_path: Path):
    llm = pull(tmp_path, "otlp_files", path=str(OPENINFERENCE)).rows()[0]
    assert orjson.loads(llm["attributes_json"]) == {
        "metadata": '{"tenant": "acme"}',
        "input.mime_type": "application/json",
        "llm.cost.total": "0.0007",
        "llm.prompt_template.version": "v3",
        "resource": {"openinference.project.name": "assistant"},
    }


def test_otlp_files_keeps_users_where_they_are_asked_for(tmp_path: Path):
    llm = pull(tmp_path, "otlp_files", path=str(OPENINFERENCE), keep_user_ids=True).rows()[0]
    assert llm["user_id"] == "ada@example.org"


def test_otlp_files_leaves_the_garbage_collector_as_it_was(tmp_path: Path):
    before = gc.get_threshold()
    pull(tmp_path, "otlp_files", path=str(TRACES))
    assert gc.get_threshold() == before


# ---- the receiver's options


def _options(**options: object) -> OtlpFilesOptions:
    path = {"path": "/spool/*.jsonl.zst"}
    return OtlpFilesOptions.model_validate({"name": "live", "kind": "otlp_files", **path, **options})


@pytest.mark.parametrize(
    "path", ["/spool/*.jsonl", "/spool/a.jsonl.zst", "/spool/*/*.jsonl.zst", "*.jsonl.zst", "s3://b/s/*.jsonl.zst"]
)
def test_a_receiver_needs_one_folder_of_this_machine(path: str):
    with pytest.raises(ValidationError, match="expected `path` to be a folder of this machine"):
        _options(path=path, receiver={})


@pytest.mark.parametrize(
    ("receiver", "said"),
    [
        ({"host": "0.0.0.0"}, "expected a `token`"),  # noqa: S104 - refused
        ({"host": "otel.example.org"}, "expected a `token`"),
        ({"max_pending_bytes": 10, "max_request_bytes": 11}, "max_pending_bytes is below max_request_bytes"),
    ],
)
def test_a_receiver_that_cannot_be_served_is_refused(receiver: dict[str, object], said: str):
    with pytest.raises(ValidationError, match=said):
        _options(receiver=receiver)


def test_a_receiver_writes_where_its_source_reads():
    assert _options(receiver={"host": "::1"}).spool_dir == Path("/spool")


def test_a_spool_without_files_is_no_failure(tmp_path: Path):
    path = str(tmp_path / "spool" / "*.jsonl.zst")
    assert pull(tmp_path, "otlp_files", path=path, receiver={}).results == []
    assert pull(tmp_path, "otlp_files", path=path).failure.input_uri is None


def test_otlp_files_land_a_whole_number_of_any_size_beside_the_others(tmp_path: Path):
    huge = "123456789012345678901234567890"
    span = {
        "traceId": "0" * 31 + "1", "spanId": "0" * 15 + "1", "startTimeUnixNano": "1782864000000000000",
        "attributes": [{"key": "shard.number", "value": {"intValue": huge}}],
    }  # fmt: skip
    export = {"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]}
    (tmp_path / "a.jsonl").write_bytes(orjson.dumps(export) + b"\n")
    [row] = pull(tmp_path, "otlp_files", path=str(tmp_path / "a.jsonl")).rows()
    assert row["attributes_json"] == f'{{"shard.number":{huge}}}'


def test_otlp_files_keep_nothing_of_a_torn_line_but_its_length(tmp_path: Path):
    torn = TRACES.read_bytes().splitlines()[0][:-1]
    (tmp_path / "a.jsonl").write_bytes(torn + b"\n")
    [reject] = pull(tmp_path, "otlp_files", path=str(tmp_path / "a.jsonl")).rejects()
    assert (reject["reason_code"], reject["raw_text"]) == ("json_broken", f"{len(torn):,} bytes")
