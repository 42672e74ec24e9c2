"""Bedrock's invocation logs: counts as they are reported, the body's share of them, and no word of the conversation."""

import gzip
import hashlib
from pathlib import Path
from typing import Any

import orjson
import pytest
from pydantic import ValidationError

from dagster_project.sources import discover
from dagster_project.sources.bedrock_logs import BedrockLogsOptions, usage_of
from tests.sources.pulling import FIXTURES, Pulled, pull

LOG = FIXTURES / "bedrock_logs" / "20260701T003802000Z_a1b2.json"
METADATA = {"use_case_id": "app", "team_name": "team", "use_case_instance_id": "run"}


@pytest.fixture
def log(tmp_path: Path) -> Pulled:
    """Seven lines: three invocations, and four records that cannot be landed."""
    path = tmp_path / "AWSLogs" / "log.json.gz"
    path.parent.mkdir()
    path.write_bytes(gzip.compress(LOG.read_bytes()))
    return pull(
        tmp_path,
        "bedrock_logs",
        path=str(path),
        request_metadata=METADATA,
        constants={"billing_account_id": "111111111111"},
    )


def test_bedrock_logs_land_or_reject_every_record(log: Pulled):
    assert (log.landing.rows_read, log.landing.rows_landed, log.landing.rows_rejected) == (7, 3, 4)
    assert [(row["record_index"], row["request_id"]) for row in log.rows()] == [(0, "r-1"), (1, "r-2"), (4, "r-5")]
    assert log.reasons() == {2: "json_broken", 3: "value_unparsable", 5: "record_unknown", 6: "value_missing"}
    # 4 + 10 in, 38 + 50 out; the third invocation failed and says nothing.
    assert (log.landing.tokens_in, log.landing.tokens_out) == (14, 88)


def test_bedrock_logs_read_converse_with_its_body(log: Pulled):
    converse = log.rows()[0]
    assert {name: converse[name] for name in converse if name.endswith(("_tokens", "_ms", "_count"))} == {
        "input_tokens": 4,
        "cache_read_input_tokens": 100,
        "cache_write_input_tokens": 50,
        "cache_write_1h_input_tokens": 20,
        "output_tokens": 38,
        "reasoning_output_tokens": None,
        "web_search_count": None,
        "latency_ms": 302.0,
        "time_to_first_token_ms": None,
    }
    assert (converse["model_id"], converse["region_id"], converse["inference_region_id"]) == (
        "us.amazon.nova-lite-v1:0",
        "us-east-1",
        "us-west-2",
    )


def test_bedrock_logs_read_a_stream_whose_input_is_elsewhere(log: Pulled):
    stream = log.rows()[1]
    assert (stream["cache_write_input_tokens"], stream["cache_write_1h_input_tokens"]) == (90, 30)
    assert (stream["reasoning_output_tokens"], stream["web_search_count"]) == (20, 2)
    assert (stream["latency_ms"], stream["time_to_first_token_ms"]) == (1200.0, 310.0)
    assert stream["response_model_name"] == "claude-sonnet-4-5-20250929"


def test_bedrock_logs_an_unknown_count_is_not_zero(log: Pulled):
    failed = log.rows()[2]
    assert (failed["error_code"], failed["input_tokens"], failed["output_tokens"]) == (
        "ThrottlingException",
        None,
        None,
    )


def test_bedrock_logs_fill_columns_from_request_metadata(log: Pulled):
    first, second, _ = log.rows()
    assert (first["use_case_id"], first["team_name"], first["use_case_instance_id"]) == ("support_chat", "care", "c-9")
    assert (second["use_case_id"], second["request_metadata_json"]) == (None, None)
    assert {row["billing_account_id"] for row in log.rows()} == {"111111111111"}


def test_bedrock_logs_never_store_conversations_or_persons(log: Pulled):
    everything = str(log.rows()) + str(log.rejects())
    for word in ("SECRET", "alice", "bob", "carol"):
        assert word not in everything
    assert orjson.loads(log.rows()[0]["request_metadata_json"]) == {"app": "support_chat", "team": "care", "run": "c-9"}


def test_bedrock_logs_name_persons_where_they_are_to_be_kept(tmp_path: Path):
    rows = pull(tmp_path, "bedrock_logs", path=str(LOG), keep_user_ids=True).rows()
    # Request metadata says more than the role by which the gateway calls.
    assert [row["user_id"] for row in rows] == [
        "bob",
        "arn:aws:sts::222222222222:assumed-role/app/alice",
        "arn:aws:iam::222222222222:user/carol",
    ]


def test_bedrock_logs_keep_new_fields(log: Pulled):
    assert [row["attributes_json"] for row in log.rows()] == [None, None, '{"guardrailTrace":{"id":"g-1"}}']


def test_bedrock_logs_show_a_rejected_record_without_its_bodies(log: Pulled):
    broken, four, unknown, _ = (row["raw_text"] for row in log.rejects())
    line = LOG.read_bytes().splitlines()[2]
    assert orjson.loads(broken) == {"read_bytes": len(line), "sha256": hashlib.sha256(line).hexdigest()}
    assert orjson.loads(four)["input"] == {
        "inputContentType": "application/json",
        "inputTokenCount": "four",
        "cacheReadInputTokenCount": 100,
        "cacheWriteInputTokenCount": 50,
    }
    assert orjson.loads(unknown)["members"] == ["schemaType", "note"]


def test_bedrock_logs_keep_nothing_of_an_envelope(tmp_path: Path):
    """CloudWatch's subscription has the records as text, in which a body stands where it cannot be found."""
    record = LOG.read_text(encoding="utf-8").splitlines()[0]
    assert "SECRET" in record
    envelope = orjson.dumps({"messageType": "DATA_MESSAGE", "logEvents": [{"message": record}]})
    path = tmp_path / "log.json"
    path.write_bytes(envelope + b"\n" + envelope[:-3])
    pulled = pull(tmp_path, "bedrock_logs", path=str(path))
    assert pulled.reasons() == {0: "record_unknown", 1: "json_broken"}
    assert "SECRET" not in str(pulled.rejects())
    assert orjson.loads(pulled.rejects()[0]["raw_text"])["members"] == ["messageType", "logEvents"]


@pytest.mark.parametrize("key", ["employee", "app_user_id"])
def test_bedrock_logs_keep_no_user_under_a_name_of_the_companys(tmp_path: Path, key: str):
    record = orjson.loads(LOG.read_bytes().splitlines()[0])
    record["requestMetadata"] = {key: "ada@example.org", "app": "x"}
    path = tmp_path / "log.json"
    path.write_bytes(orjson.dumps(record) + b"\n" + orjson.dumps({**record, "timestamp": "never"}))
    pulled = pull(tmp_path, "bedrock_logs", path=str(path), request_metadata={"user_id": key})
    assert pulled.reasons() == {1: "value_unparsable"}
    assert "ada@" not in str(pulled.rows()) + str(pulled.rejects())
    assert pulled.rows()[0]["request_metadata_json"] == '{"app":"x"}'
    kept = pull(
        tmp_path / "kept", "bedrock_logs", path=str(path), request_metadata={"user_id": key}, keep_user_ids=True
    )
    assert kept.rows()[0]["user_id"] == "ada@example.org"


@pytest.mark.parametrize(
    "change", [{"timestamp": 1782864000}, {"input": {"inputTokenCount": True}}, {"output": {"outputTokenCount": [1]}}]
)
def test_bedrock_logs_reject_a_retyped_field_with_its_record_alone(tmp_path: Path, change: dict[str, Any]):
    good = {**orjson.loads(LOG.read_bytes().splitlines()[0]), "requestId": "good"}
    path = tmp_path / "log.json"
    for others in ([], [good]):
        path.write_bytes(b"\n".join(orjson.dumps(record) for record in [{**good, **change}, *others]))
        pulled = pull(tmp_path, "bedrock_logs", path=str(path))
        assert (pulled.landing.rows_landed, pulled.reasons()) == (len(others), {0: "value_unparsable"})


def test_bedrock_logs_leave_out_bodies_and_the_permission_check(tmp_path: Path):
    folder = tmp_path / "BedrockModelInvocationLogs" / "us-east-1" / "2026" / "07" / "01" / "00"
    (folder / "data").mkdir(parents=True)
    (folder / "20260701T003802000Z_a1b2.json").write_bytes(LOG.read_bytes())
    (folder / "data" / "r-2_input.json").write_text('{"prompt": "SECRET"}')
    (folder / "data" / "r-2_output.json").write_text('{"answer": "SECRET"}')
    (folder.parents[4] / "amazon-bedrock-logs-permission-check").write_bytes(b"")
    pulled = pull(tmp_path, "bedrock_logs", path=str(tmp_path / "Bedrock*" / "**" / "*"))
    assert pulled.landing.input_uri.endswith("/00/20260701T003802000Z_a1b2.json")


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (None, {}),
        ("text", {}),
        ([1, {"usage": "none"}], {}),
        ({"usage": {"cache_creation": {"ephemeral_1h_input_tokens": 0}}}, {"cache_write_1h_input_tokens": 0}),
        # The later event of a stream corrects the earlier one.
        (
            [
                {"usage": {"output_tokens_details": {"thinking_tokens": 1}}},
                {"usage": {"output_tokens_details": {"thinking_tokens": 9}}},
            ],
            {"reasoning_output_tokens": 9},
        ),
        ({"serviceTier": {"type": "flex"}}, {"service_tier": "flex"}),
    ],
)
def test_bedrock_logs_read_usage_of_bodies(body: object, found: dict[str, Any]):
    assert usage_of(body) == found


@pytest.mark.parametrize(
    "options",
    [
        {"request_metadata": {"input_tokens": "n"}},
        {"request_metadata": {"app": "app"}},
        {"constants": {"turn_index": "x"}},
    ],
)
def test_bedrock_logs_wrong_options_are_refused(options: dict[str, Any]):
    with pytest.raises(ValidationError):
        BedrockLogsOptions.model_validate({"name": "n", "kind": "bedrock_logs", "path": str(LOG), **options})


def test_bedrock_logs_are_a_usage_feed():
    assert discover()["bedrock_logs"].feed == "usage"
