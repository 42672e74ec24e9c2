"""AWS Bedrock's provisioned throughput: recorded answers, and a server that speaks CloudWatch's and Bedrock's APIs."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from dagster_project.warehouse.landing import Landing, SourceFailure
from tests.sources.api_server import Call, api_server, reply
from tests.sources.pulling import FIXTURES, pull
from tests.sources.web import Answer

ARN = "arn:aws:bedrock:us-east-1:111122223333:provisioned-model/abc123def456"
FORMER_ARN = "arn:aws:bedrock:us-east-1:111122223333:provisioned-model/zzz123def456"
SECRET = "aws-secret-access-key"  # noqa: S105 - of a server of the test
NOW = datetime(2026, 7, 1, 1, tzinfo=UTC)
FIRST_AT = int(datetime(2026, 7, 1, tzinfo=UTC).timestamp())


def test_bedrock_model_units_read_units_and_counts_of_tokens(tmp_path: Path):
    path = str(FIXTURES / "bedrock_model_units" / "answers.jsonl")
    pulled = pull(
        tmp_path, "bedrock_model_units", path=path, region_id="us-east-1", commitment_id="other",
        commitments={"claims": "claims-units"},
    )  # fmt: skip
    held, failed = pulled.rows("deployments")
    assert (failed["commitment_id"], failed["allocated_units"]) == ("other", 0)
    assert {name: held[name] for name in ("deployment_id", "commitment_id", "model_id", "allocated_units")} == {
        "deployment_id": ARN, "commitment_id": "claims-units", "allocated_units": 2,
        "model_id": "anthropic.claude-3-haiku-20240307-v1:0",
    }  # fmt: skip
    assert held["starts_at"] == datetime(2026, 6, 15, 10, tzinfo=UTC)
    found = [(row["deployment_id"], row["input_tokens"], row["output_tokens"]) for row in pulled.rows("measurements")]
    assert found == [(ARN, 9000, None), (ARN, None, 1500)]
    # Twelve and a half tokens, a metric that counts none, and a page that is an error.
    landing = pulled.landings()["measurements"]
    assert (landing.rows_read, landing.rows_rejected) == (5, 3)


def _throughputs(call: Call) -> Answer:
    """Two pages, the second by the token of the first."""
    held = {"provisionedModelName": "claims", "provisionedModelArn": ARN, "modelUnits": 2,
            "foundationModelArn": "arn:aws:bedrock:us-east-1::foundation-model/claude"}  # fmt: skip
    if call.param("nextToken") == "more":
        return reply({"provisionedModelSummaries": [held]})
    return reply({"provisionedModelSummaries": [], "nextToken": "more"})


def _metrics(call: Call) -> Answer:
    body = call.json()
    labels = [query["Label"] for query in body["MetricDataQueries"]]
    assert call.headers["x-amz-target"] == "GraniteServiceVersion20100801.GetMetricData"
    assert call.headers["content-type"] == "application/x-amz-json-1.0"
    assert (body["StartTime"], body["EndTime"] - body["StartTime"]) == (FIRST_AT, 86400)
    counted = f"{ARN}|InputTokenCount"
    assert counted in labels
    at = FIRST_AT + (300 if body.get("NextToken") else 0)
    results = [
        {"Id": f"m{number}", "Label": label, "StatusCode": "Complete", "Timestamps": [at] if label == counted else [],
         "Values": [600.0] if label == counted else []}
        for number, label in enumerate(labels)
    ]  # fmt: skip
    return reply({"MetricDataResults": results, **({} if body.get("NextToken") else {"NextToken": "n1"})})


def _api(url: str) -> dict[str, Any]:
    return {
        "region": "us-east-1", "access_key_id": "AKIDEXAMPLE", "key": SECRET, "session_token": "session-secret",
        "url": url, "bedrock_url": url, "start_date": "2026-07-01", "requests_per_minute": 1e9,
        "http": {"timeout_seconds": 0.5, "pause_seconds": 0, "attempt_count": 3},
    }  # fmt: skip


def test_bedrock_model_units_ask_for_the_models_that_are_listed_and_for_former_ones(tmp_path: Path):
    throttled = reply({"__type": "com.amazonaws.cloudwatch#ThrottlingException", "message": "Rate exceeded"}, 400)
    with api_server({"/provisioned-model-throughputs": _throughputs, "/": _metrics}) as server:
        # The list's two pages, then counts that are throttled once.
        server.faults = [None, None, throttled]
        pulled = pull(tmp_path, "bedrock_model_units", now=NOW, api=_api(server.url), model_arns=[FORMER_ARN])
        asked = [call.json() for call in server.calls if call.path == "/"]
        signed = {call.headers["authorization"].partition("/us-east-1/")[2].split("/")[0] for call in server.calls}
    assert {query["Label"].partition("|")[0] for query in asked[0]["MetricDataQueries"]} == {ARN, FORMER_ARN}
    assert signed == {"monitoring", "bedrock"}
    landed = [item for item in pulled.results if isinstance(item, Landing) and item.rows_landed]
    assert [(item.input_uri.rpartition("/")[2], item.entity, item.rows_landed) for item in landed] == [
        ("#2026-07-01", "measurements", 2), ("provisioned-model-throughputs#2026-07-01", "deployments", 1),
    ]  # fmt: skip
    assert SECRET not in repr(pulled.results)
    assert "session-secret" not in repr(pulled.results)


def test_bedrock_model_units_fail_with_the_words_of_aws_and_without_the_key(tmp_path: Path):
    refused = reply({"message": f"The security token {SECRET} is invalid"}, 403)
    with api_server({"/provisioned-model-throughputs": lambda _: refused}) as server:
        pulled = pull(tmp_path, "bedrock_model_units", now=NOW, api=_api(server.url))
    failures = [item for item in pulled.results if isinstance(item, SourceFailure)]
    assert failures
    assert all("The security token *** is invalid" in item.message for item in failures)
