"""Recorded calls: dialects by host and path, streams merged, blocks as they came, and no word of the conversation."""

import gzip
import hashlib
from pathlib import Path
from typing import Any, get_args

import orjson
import pytest
from pydantic import ValidationError

from dagster_project.sources.usage_payloads import Dialect, UsagePayloadsOptions, merge_blocks
from tests.sources.pulling import FIXTURES, Pulled, pull

CALLS_SHA256 = hashlib.sha256((FIXTURES / "payloads" / "calls.jsonl").read_bytes()).hexdigest()
BEDROCK = "bedrock-runtime.us-east-1.amazonaws.com"
COLUMNS = {
    "event_at": "at",
    "call_id": "id",
    "host_name": "host",
    "request_path": "path",
    "requested_model_name": "asked",
    "use_case_id": "app",
}
OPTIONS: dict[str, Any] = {
    "path": str(FIXTURES / "payloads" / "calls.jsonl"),
    "response": "body",
    "columns": COLUMNS,
    "constants": {"team_name": "gateway"},
}


@pytest.fixture
def calls(tmp_path: Path) -> Pulled:
    return pull(tmp_path, "usage_payloads", **OPTIONS)


def _pull_records(folder: Path, records: list[dict[str, Any]], **options: Any) -> Pulled:  # noqa: ANN401 - any option
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "records.jsonl"
    path.write_bytes(b"".join(orjson.dumps(record) + b"\n" for record in records))
    return pull(folder, "usage_payloads", path=str(path), **options)


def test_usage_payloads_counts_calls_other_models_and_rejects(calls: Pulled):
    # Nine lines: five calls, one of which has the work of another model behind it, and four that cannot be read.
    landing = calls.landing
    assert (landing.rows_read, landing.rows_landed, landing.rows_rejected) == (10, 6, 4)
    assert [(row["record_index"], row["call_id"]) for row in calls.rows()] == [
        (0, "a-1"),
        (1, "a-2"),
        (3, "a-3"),
        (4, "a-3:1"),
        (7, f"{CALLS_SHA256[:16]}:6"),
        (8, "a-7"),
    ]
    assert calls.reasons() == {
        2: "json_broken",
        5: "dialect_unknown",
        6: "value_unparsable",
        9: "value_unparsable",
    }


def test_usage_payloads_says_what_was_wrong(calls: Pulled):
    _, unknown, broken, _ = calls.rejects()
    assert unknown["reason"] == "no dialect is known for api.example.org/v9/think; name it by 'dialect'"
    assert broken["reason"] == "the usage's 'input_tokens' is not a whole number of 64 bits"


def test_usage_payloads_lands_a_block_as_it_came(calls: Pulled):
    first = calls.rows()[0]
    assert orjson.loads(first["usage_json"]) == {"prompt_tokens": 12, "completion_tokens": 3, "total_tokens": 15}
    assert first["usage_events_json"] is None
    assert (first["dialect_type"], first["provider_name"]) == ("openai_chat", "openai")
    assert (first["model_name"], first["requested_model_name"]) == ("gpt-4o-2024-08-06", "gpt-4o")
    assert (first["service_tier"], first["use_case_id"], first["team_name"]) == ("default", "support_chat", "gateway")


def test_usage_payloads_last_value_of_a_stream_wins_and_its_events_are_kept(calls: Pulled):
    stream = calls.rows()[1]
    assert orjson.loads(stream["usage_json"]) == {
        "input_tokens": 1591,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 40,
        "output_tokens": 45,
        "service_tier": "standard",
        "server_tool_use": {"web_search_requests": 1},
    }
    events = orjson.loads(stream["usage_events_json"])
    assert [(event["input_tokens"], event["output_tokens"]) for event in events] == [(702, 2), (1591, 45)]
    assert stream["model_name"] == "claude-sonnet-4-5-20250929"


def test_usage_payloads_work_of_another_model_is_a_row_of_its_own(calls: Pulled):
    _, _, own, advisor, *_ = calls.rows()
    assert (own["model_name"], orjson.loads(own["usage_json"])["input_tokens"]) == ("claude-sonnet-5", 2390)
    assert (advisor["model_name"], orjson.loads(advisor["usage_json"])["input_tokens"]) == ("claude-opus-4-8", 2518)
    assert (advisor["dialect_type"], advisor["use_case_id"]) == ("anthropic_messages", "review")


def test_usage_payloads_reads_region_and_model_from_the_request(calls: Pulled):
    nova = calls.rows()[4]
    assert (nova["provider_name"], nova["region_id"]) == ("aws.bedrock", "eu-central-1")
    assert (nova["model_name"], nova["requested_model_name"]) == (None, "us.amazon.nova-lite-v1:0")
    assert orjson.loads(nova["usage_json"]) == {
        "inputTokens": 30,
        "outputTokens": 55,
        "amazon-bedrock-invocationMetrics": {"inputTokenCount": 30, "outputTokenCount": 55},
    }


def test_usage_payloads_a_response_without_usage_lands_without(calls: Pulled):
    failed = calls.rows()[5]
    assert (failed["usage_json"], failed["dialect_type"]) == (None, "openai_chat")


def test_usage_payloads_never_stores_answers(calls: Pulled):
    assert "SECRET" not in str(calls.rows())
    assert "SECRET" not in str(calls.rejects())
    # Nobody can say of a line that is not JSON where in it the answer ends.
    assert orjson.loads(calls.rejects()[0]["raw_text"])["read_bytes"] == len("{broken SECRET")


def test_usage_payloads_a_reject_keeps_no_user(tmp_path: Path):
    record = {"at": "2026-07-01T00:00:00Z", "u": {"input_tokens": 1.5}, "who": "ada@example.com", "app": "chat"}
    columns = {"event_at": "at", "user_id": "who", "use_case_id": "app"}
    pulled = _pull_records(tmp_path, [record], dialect="openai_responses", usage="u", columns=columns)
    told = orjson.loads(pulled.rejects()[0]["raw_text"])
    assert told == {"at": "2026-07-01T00:00:00Z", "app": "chat", "usage": {"input_tokens": 1.5}}


def test_usage_payloads_a_reject_keeps_what_was_mapped_and_the_blocks(calls: Pulled):
    assert orjson.loads(calls.rejects()[3]["raw_text"])["usage"]["iterations"][0]["input_tokens"] == 1
    assert orjson.loads(calls.rejects()[2]["raw_text"]) == {
        "at": "2026-07-02T03:00:00Z",
        "id": "a-5",
        "host": "api.openai.com",
        "path": "/v1/responses",
        "asked": "m",
        "app": None,
        "usage": {"input_tokens": 1.5, "output_tokens": 1},
    }


def test_usage_payloads_reads_compressed_files_alike(tmp_path: Path, calls: Pulled):
    path = tmp_path / "calls.jsonl.gz"
    path.write_bytes(gzip.compress((FIXTURES / "payloads" / "calls.jsonl").read_bytes()))
    again = pull(tmp_path / "gz", "usage_payloads", **{**OPTIONS, "path": str(path)})
    assert [row["usage_json"] for row in again.rows()] == [row["usage_json"] for row in calls.rows()]
    assert [row["record_index"] for row in again.rows()] == [0, 1, 3, 4, 7, 8]


def test_usage_payloads_takes_extracted_blocks(tmp_path: Path):
    records = [
        {"at": "2026-07-01T00:00:00Z", "u": {"input": 3, "output": 4}},
        {"at": "2026-07-01T00:00:00Z", "u": [{"n": 0, "block": {"input": 3}}, {"n": 1, "block": {"input": 5}}]},
        {"at": "2026-07-01T00:00:00Z"},
    ]
    common = {"dialect": "langfuse", "usage": "u", "columns": {"event_at": "at"}}
    bare = _pull_records(tmp_path / "a", records[:1], **common)
    assert [row["usage_json"] for row in bare.rows()] == ['{"input":3,"output":4}']
    wrapped = _pull_records(tmp_path / "b", records, usage_member="block", **common)
    assert [row["usage_json"] for row in wrapped.rows()] == [None, '{"input":5}', None]
    assert {row["dialect_type"] for row in wrapped.rows()} == {"langfuse"}


def test_usage_payloads_a_record_can_be_the_response(tmp_path: Path):
    record = {
        "timestamp": "2026-07-01T00:00:00Z",
        "requestId": "r",
        "modelId": "m",
        "region": "us-west-2",
        "input": {"inputBodyJson": {"prompt": "SECRET"}, "inputTokenCount": 10, "cacheWriteInputTokenCount": 90},
        "output": {
            "outputBodyJson": [{"message": {"usage": {"cache_creation": {"ephemeral_1h_input_tokens": 30}}}}],
            "outputTokenCount": 50,
        },
    }
    columns = {"event_at": "timestamp", "call_id": "requestId", "model_name": "modelId", "region_id": "region"}
    pulled = _pull_records(tmp_path, [record], dialect="bedrock_invocation_log", columns=columns)
    [row] = pulled.rows()
    assert orjson.loads(row["usage_json"]) == {
        "cache_creation": {"ephemeral_1h_input_tokens": 30},
        "input": {"inputTokenCount": 10, "cacheWriteInputTokenCount": 90},
        "output": {"outputTokenCount": 50},
    }
    assert (row["call_id"], row["model_name"], row["region_id"]) == ("r", "m", "us-west-2")


@pytest.mark.parametrize(
    ("host", "path", "usage", "dialect", "operation"),
    [
        ("api.openai.com", "/v1/embeddings", {}, "openai_embeddings", "embeddings"),
        ("api.openai.com", "/v1/responses/resp_1", {}, "openai_responses", "chat"),
        ("api.openai.com", "/v1/threads/t/runs/r", {}, "openai_chat", "chat"),
        ("eu.openai.azure.com", "/openai/deployments/d/chat/completions", {}, "openai_chat", "chat"),
        ("api.x.ai", "/v1/chat/completions", {}, "xai", "chat"),
        ("openrouter.ai", "/api/v1/chat/completions", {}, "openrouter", "chat"),
        ("openrouter.ai", "/api/v1/responses", {}, "openrouter_responses", "chat"),
        ("api.deepseek.com", "/responses", {}, "openai_responses", "chat"),
        ("api.cohere.com", "/v2/rerank", {}, "cohere_rerank", "rerank"),
        ("api.cohere.com", "/v1/chat", {}, "cohere", "chat"),
        ("api.writer.com", "/v1/chat", {}, "openai_chat", "chat"),
        ("localhost", "/api/chat", {}, "ollama", "chat"),
        ("generativelanguage.googleapis.com", "/v1/models/g:streamGenerateContent?alt=sse", {}, "gemini", "chat"),
        ("generativelanguage.googleapis.com", "/v1/models/g:batchEmbedContents", {}, "gemini", "embeddings"),
        ("generativelanguage.googleapis.com", "/v1beta/openai/chat/completions", {}, "openai_chat", "chat"),
        (BEDROCK, "/model/m/converse-stream", {}, "bedrock_converse", "chat"),
        (BEDROCK, "/model/m/invoke", {"inputTokens": 1}, "bedrock_invoke", "chat"),
        (
            "bedrock-runtime.us-east-1.amazonaws.com",
            "/model/m/invoke",
            {"input_tokens": 1},
            "anthropic_messages",
            "chat",
        ),
        (BEDROCK, "/model/m/invoke", {"prompt_tokens": 1}, "openai_chat", "chat"),
        (BEDROCK, "/model/a.titan-embed/invoke", {}, "bedrock_invoke", "embeddings"),
    ],
)
def test_usage_payloads_dialect_follows_from_host_and_path(  # noqa: PLR0917 - one row of the table above
    tmp_path: Path, host: str, path: str, usage: dict[str, int], dialect: str, operation: str
):
    record = {"at": "2026-07-01T00:00:00Z", "host": host, "path": path, "u": usage}
    columns = {name: COLUMNS[name] for name in ("event_at", "host_name", "request_path")}
    [row] = _pull_records(tmp_path, [record], usage="u", columns=columns).rows()
    assert (row["dialect_type"], row["operation_name"]) == (dialect, operation)


def test_usage_payloads_read_vertex_ai_request_logs(tmp_path: Path):
    pulled = pull(
        tmp_path, "usage_payloads", path=str(FIXTURES / "vertex_request_logs" / "exported.jsonl"), dialect="gemini",
        response="full_response", columns={"event_at": "logging_time", "request_path": "endpoint"},
        constants={"provider_name": "gcp.vertex_ai", "region_id": "europe-west4"},
        provisioned_deployments={"gemini-2.5-pro": "europe-west4/gemini-2.5-pro"},
    )  # fmt: skip
    found = [(row["call_id"], row["deployment_id"], row["service_tier"]) for row in pulled.rows()]
    # Only what provisioned throughput served is of the deployment.
    assert found == [("r-1", "europe-west4/gemini-2.5-pro", None), ("r-2", None, None), ("r-3", None, "priority")]
    first, _, streamed = pulled.rows()
    assert orjson.loads(first["usage_json"]) == {
        "promptTokenCount": 1200, "cachedContentTokenCount": 200, "candidatesTokenCount": 90,
        "thoughtsTokenCount": 300, "totalTokenCount": 1590, "trafficType": "PROVISIONED_THROUGHPUT",
    }  # fmt: skip
    assert orjson.loads(streamed["usage_json"])["candidatesTokenCount"] == 12
    assert (first["model_name"], first["requested_model_name"]) == ("gemini-2.5-pro", "gemini-2.5-pro")
    assert pulled.reasons() == {3: "value_missing"}
    assert "secret" not in str(pulled.rows()) + str(pulled.rejects())


def test_merge_blocks_overwrites_member_by_member():
    blocks = [{"a": 1, "d": {"x": 1, "y": 2}, "l": [1]}, {"a": None, "d": {"y": 3}, "l": [2, 3]}, {"b": 4}]
    assert merge_blocks(blocks) == {"a": 1, "b": 4, "d": {"x": 1, "y": 3}, "l": [2, 3]}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"usage": "u"}, "'usage' and 'response' are both given"),
        ({"usage_member": "u"}, "'usage_member' looks into the blocks of 'usage'"),
        ({"keep_unmapped": True}, "would store prompts and answers"),
        ({"columns": {"event_at": "at"}}, "needs host_name and request_path"),
        ({"dialect": "esperanto"}, "openai_chat"),
    ],
)
def test_usage_payloads_wrong_options_are_refused(options: dict[str, Any], message: str):
    with pytest.raises(ValidationError, match=message):
        UsagePayloadsOptions.model_validate({"name": "n", "kind": "usage_payloads", **OPTIONS, **options})


def test_every_dialect_is_named_once():
    assert len(set(get_args(Dialect))) == len(get_args(Dialect))
