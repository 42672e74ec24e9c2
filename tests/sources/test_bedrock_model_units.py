"""AWS Bedrock's provisioned throughput: recorded answers, and a server that speaks CloudWatch's and Bedrock's APIs."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from dagster_project.warehouse.landing import Landing, SourceFailure
from tests.sources.api_server import Call, api_server, reply
from tests.sources.pulling import FIXTURES, Pulled, pull
from tests.sources.web import Answer

ARN = "arn:aws:bedrock:us-east-1:111122223333:provisioned-model/abc123def456"
FORMER_ARN = "arn:aws:bedrock:us-east-1:111122223333:provisioned-model/zzz123def456"
DELETED_ARN = "arn:aws:bedrock:us-east-1:111122223333:provisioned-model/ddd123def456"
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


def _metric_names(call: Call) -> Answer:
    """Two pages: a model that is deleted, and one that is paid by the token."""
    body = call.json()
    assert (body["Namespace"], body["Dimensions"]) == ("AWS/Bedrock", [{"Name": "ModelId"}])
    model, more = (DELETED_ARN, {"NextToken": "n1"}) if not body.get("NextToken") else ("amazon.nova-pro-v1:0", {})
    return reply({"Metrics": [{"Dimensions": [{"Name": "ModelId", "Value": model}]}], **more})


def _metrics(call: Call) -> Answer:
    body = call.json()
    if call.headers["x-amz-target"] == "GraniteServiceVersion20100801.ListMetrics":
        return _metric_names(call)
    assert call.headers["x-amz-target"] == "GraniteServiceVersion20100801.GetMetricData"
    labels = [query["Label"] for query in body["MetricDataQueries"]]
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
        "http": {"timeout_seconds": 2, "pause_seconds": 0, "attempt_count": 3},
    }  # fmt: skip


def test_bedrock_model_units_ask_for_the_models_that_are_listed_and_for_former_ones(tmp_path: Path):
    throttled = reply({"__type": "com.amazonaws.cloudwatch#ThrottlingException", "message": "Rate exceeded"}, 400)
    with api_server({"/provisioned-model-throughputs": _throughputs, "/": _metrics}) as server:
        # The two pages of each of the lists, then counts that are throttled once.
        server.faults = [None, None, None, None, throttled]
        pulled = pull(tmp_path, "bedrock_model_units", now=NOW, api=_api(server.url), model_arns=[FORMER_ARN])
        asked = [call.json() for call in server.calls if "MetricDataQueries" in call.body.decode()]
        signed = {call.headers["authorization"].partition("/us-east-1/")[2].split("/")[0] for call in server.calls}
    assert {query["Label"].partition("|")[0] for query in asked[0]["MetricDataQueries"]} == {
        ARN,
        FORMER_ARN,
        DELETED_ARN,
    }
    assert signed == {"monitoring", "bedrock"}
    landed = [item for item in pulled.results if isinstance(item, Landing) and item.rows_landed]
    assert [(item.input_uri.rpartition("/")[2], item.entity, item.rows_landed) for item in landed] == [
        ("#2026-07-01", "measurements", 2), ("provisioned-model-throughputs#2026-07-01", "deployments", 1),
    ]  # fmt: skip
    assert SECRET not in repr(pulled.results)
    assert "session-secret" not in repr(pulled.results)


def _counting(models: list[str], values: dict[str, float], status: str = "Complete", **page: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
    """Speak both services: models that are listed, and counts of all that CloudWatch still knows of."""

    def counts(call: Call) -> Answer:
        body = call.json()
        if "MetricDataQueries" not in body:
            return reply({"Metrics": []})
        results = []
        for query in body["MetricDataQueries"]:
            value = values.get(query["Label"].removesuffix("|InputTokenCount"))
            times = [body["StartTime"]] if value else []
            found = {"Timestamps": times, "Values": [value] if value else []}
            results.append({"Id": query["Id"], "Label": query["Label"], "StatusCode": status, **found})
        return reply({"MetricDataResults": results, **page})

    listed = [
        {"provisionedModelArn": arn, "modelUnits": 1, "foundationModelArn": "arn:aws:bedrock::foundation-model/claude"}
        for arn in models
    ]
    lists = {"/provisioned-model-throughputs": lambda _: reply({"provisionedModelSummaries": listed})}
    return {**lists, "/": counts}


def _tokens(pulled: Pulled) -> dict[str, int]:
    return {row["deployment_id"]: row["input_tokens"] for row in pulled.rows("measurements")}


def test_bedrock_model_units_keep_asking_about_a_model_that_is_deleted_meanwhile(tmp_path: Path):
    values = {ARN: 600.0, FORMER_ARN: 50.0}
    with api_server(_counting([ARN, FORMER_ARN], values)) as server:
        pull(tmp_path, "bedrock_model_units", now=NOW, api=_api(server.url))
        server.routes = _counting([ARN], {**values, ARN: 700.0})
        later = pull(tmp_path, "bedrock_model_units", now=NOW.replace(day=2), api=_api(server.url))
    [first_day] = [
        item
        for item in later.results
        if isinstance(item, Landing) and item.entity == "measurements" and item.input_uri.endswith("/#2026-07-01")
    ]
    assert first_day.rows_landed == 2
    assert _tokens(Pulled(later.zone, [first_day])) == {ARN: 700, FORMER_ARN: 50}


@pytest.mark.parametrize(
    ("routes", "words", "is_transient"),
    [
        (_counting([ARN], {}, "InternalError"), "says InternalError of", True),
        (_counting([ARN], {}, "PartialData", Messages=[{"Value": "too much"}]), "says PartialData of", True),
        (_counting([ARN], {}, "Forbidden"), "says Forbidden of", False),
        ({**_counting([ARN], {}), "/provisioned-model-throughputs": lambda _: reply({"message": "no"})}, "(no)", True),
        ({**_counting([ARN], {}), "/": lambda _: reply({"message": "no"})}, "(no)", True),
    ],
)
def test_bedrock_model_units_land_nothing_of_an_answer_that_is_not_whole(
    tmp_path: Path,
    routes: dict[str, Any],
    words: str,
    is_transient: bool,
):
    with api_server(routes) as server:
        pulled = pull(tmp_path, "bedrock_model_units", now=NOW, api=_api(server.url))
    failures = [item for item in pulled.results if isinstance(item, SourceFailure)]
    assert words in failures[0].message
    assert {item.is_transient for item in failures} == {is_transient}


def test_bedrock_model_units_take_data_that_go_on_as_such(tmp_path: Path):
    pages = [_counting([ARN], {ARN: 600.0}, "PartialData", NextToken="n1")["/"], _counting([ARN], {})["/"]]
    routes = _counting([ARN], {})

    def route(call: Call) -> Answer:
        return pages[1 if call.json().get("NextToken") else 0](call)

    with api_server({**routes, "/": route}) as server:
        pulled = pull(tmp_path, "bedrock_model_units", now=NOW, api=_api(server.url))
    landed = [item for item in pulled.results if isinstance(item, Landing) and item.input_uri.endswith("/#2026-07-01")]
    assert [item.rows_landed for item in landed if item.entity == "measurements"] == [1]


def test_bedrock_model_units_fail_with_the_words_of_aws_and_without_the_key(tmp_path: Path):
    refused = reply({"message": f"The security token {SECRET} is invalid"}, 403)
    with api_server({"/provisioned-model-throughputs": lambda _: refused}) as server:
        pulled = pull(tmp_path, "bedrock_model_units", now=NOW, api=_api(server.url))
    failures = [item for item in pulled.results if isinstance(item, SourceFailure)]
    assert failures
    assert all("The security token *** is invalid" in item.message for item in failures)
