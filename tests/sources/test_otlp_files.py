"""OTLP/JSON traces: columns by attribute, resource after span, no content stored, no span lost."""

import gc
import gzip
import hashlib
from datetime import UTC, date, datetime
from pathlib import Path

import orjson
import pyarrow.parquet as pq
import pytest
import zstandard
from pydantic import ValidationError

from dagster_project.sources.otlp_files import OtlpFilesOptions, ReceiverOptions
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
        "span_kind": 3,
    }
    assert {name: old[name] for name in expected} == expected
    assert "timed out" not in str(old)


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


def _lines(folder: Path, *lines: bytes) -> Path:
    path = folder / "a.jsonl"
    path.write_bytes(b"\n".join(lines))
    return path


def _export(*attributes: tuple[str, object], **members: object) -> bytes:
    span = {
        "traceId": f"{1:032x}",
        "spanId": f"{1:016x}",
        "startTimeUnixNano": "1782864000000000000",
        "attributes": [{"key": name, "value": value} for name, value in attributes],
        **members,
    }
    return orjson.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]})


def test_otlp_files_name_what_is_no_trace_export(tmp_path: Path):
    """A last line that is half written, and log records, hold prompts and users that cannot be told apart."""
    half = _export(("gen_ai.input.messages", {"stringValue": "SECRET"}), ("user.id", {"stringValue": "ada"}))[:-8]
    logs = orjson.dumps({"resourceLogs": [{"body": "SECRET of ada"}], "more": 1})
    pulled = pull(tmp_path, "otlp_files", path=str(_lines(tmp_path, logs, half)))
    assert pulled.reasons() == {0: "shape_wrong", 1: "json_broken"}
    assert [orjson.loads(reject["raw_text"]) for reject in pulled.rejects()] == [
        {"read_bytes": len(logs), "sha256": hashlib.sha256(logs).hexdigest(), "members": ["resourceLogs", "more"]},
        {"read_bytes": len(half), "sha256": hashlib.sha256(half).hexdigest()},
    ]


@pytest.mark.parametrize(
    "attributes",
    [
        {"gen_ai.prompt": "SECRET"},
        [{"key": "app", "value": {"kvlistValue": {"values": [{"key": "prompt", "value": {"stringValue": "SECRET"}}]}}}],
        [{"key": "app.transcript", "value": {"stringValue": "SECRET" * 200}}],
        [{"key": "llm.openai.messages", "value": {"stringValue": "SECRET"}}],
        [{"key": "metadata", "value": {"stringValue": '{"plan": "gold", "user_id": "SECRET"}'}}],
        [{"key": "metadata", "value": {"stringValue": '[{"input": "SECRET"}]'}}],
    ],
)
def test_otlp_files_take_content_out_of_rejected_spans(tmp_path: Path, attributes: object):
    line = _export(attributes=attributes, startTimeUnixNano="never")
    pulled = pull(tmp_path, "otlp_files", path=str(_lines(tmp_path, line)))
    assert len(pulled.rejects()) == 1
    assert "SECRET" not in pulled.rejects()[0]["raw_text"]


@pytest.mark.parametrize(
    "value",
    [
        {"stringValue": "x" * 1_025},
        {"arrayValue": {"values": [{"stringValue": "x" * 1_025}]}},
        {"kvlistValue": {"values": [{"key": "messages", "value": {"stringValue": "x"}}]}},
    ],
)
def test_otlp_files_keep_no_unknown_attribute_that_may_be_content(tmp_path: Path, value: object):
    line = _export(("app.note", value), ("app.short", {"stringValue": "y" * 1_024}))
    [row] = pull(tmp_path, "otlp_files", path=str(_lines(tmp_path, line))).rows()
    assert orjson.loads(row["attributes_json"]) in [
        {"app.short": "y" * 1_024},
        {"app.short": "y" * 1_024, "app.note": {}},
    ]


def test_otlp_files_take_a_span_nested_too_deep_for_no_end_of_the_file(tmp_path: Path):
    deep = b'{"resourceSpans":[{"scopeSpans":[{"spans":[' + b'{"a":' * 300 + b"1" + b"}" * 300 + b"]}]}]}"
    pulled = pull(tmp_path, "otlp_files", path=str(_lines(tmp_path, deep, _export())))
    assert (pulled.reasons(), pulled.landing.rows_landed) == ({0: "value_missing"}, 1)


@pytest.mark.parametrize(
    ("names", "user"),
    [
        (("app.user_id", "langfuse.user.id"), "langfuse.user.id"),
        (("llm.user", "user.id"), "user.id"),
        (("app.endUserId", "user.email"), "app.endUserId"),
        (("user.email",), None),
        (("app.user_agent",), None),
    ],
)
def test_otlp_files_know_users_by_the_names_that_emitters_give_them(tmp_path: Path, names: tuple[str, ...], user: str):
    line = _export(*((name, {"stringValue": f"ada by {name}"}) for name in names))
    pulled = pull(tmp_path, "otlp_files", path=str(_lines(tmp_path, line)), keep_user_ids=True)
    [row] = pulled.rows()
    assert row["user_id"] == (user and f"ada by {user}")
    assert row["attributes_json"] == (
        '{"app.user_agent":"ada by app.user_agent"}' if names == ("app.user_agent",) else None
    )


def test_otlp_files_take_an_empty_text_for_none(tmp_path: Path):
    line = _export(("gen_ai.response.model", {"stringValue": ""}), ("gen_ai.request.model", {"stringValue": "gpt-4o"}))
    [row] = pull(tmp_path, "otlp_files", path=str(_lines(tmp_path, line))).rows()
    assert (row["gen_ai_response_model"], row["gen_ai_request_model"]) == (None, "gpt-4o")


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


def test_an_address_of_the_sixth_version_stands_in_brackets():
    hosts = ("::1", "127.0.0.1", "localhost")
    assert [ReceiverOptions(host=host).url() for host in hosts] == [
        "http://[::1]:4318/v1/traces",
        "http://127.0.0.1:4318/v1/traces",
        "http://localhost:4318/v1/traces",
    ]


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
    assert (reject["reason_code"], orjson.loads(reject["raw_text"])["read_bytes"]) == ("json_broken", len(torn))
