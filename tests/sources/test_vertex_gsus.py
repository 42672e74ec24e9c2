"""Vertex AI's provisioned throughput: recorded time series, and a server that speaks Cloud Monitoring."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from dagster_project.sources._connector import EnvironmentText
from dagster_project.sources.vertex_gsus import CONSUMED, GSU_LIMIT, VertexGsusOptions
from tests.sources.api_server import Call, api_server, keyed, reply
from tests.sources.pulling import FIXTURES, pull
from tests.sources.web import Answer

NOW = datetime(2026, 7, 1, 2, tzinfo=UTC)
LABELS = {"resource_container": "prod", "location": "europe-west4", "publisher": "google", "model_user_id": "gemini"}


def test_vertex_gsus_read_work_and_units(tmp_path: Path):
    pulled = pull(
        tmp_path, "vertex_gsus", path=str(FIXTURES / "vertex_gsus" / "time_series.json"), commitment_id="gsus",
        deployments={"europe-west4/gemini-2.5-pro": "gsu-pool"},
    )  # fmt: skip
    found = [(row["instance_id"], row["work_tokens"], row["measured_at"].minute) for row in pulled.rows("measurements")]
    # 2^53 + 1 is no double. Input and output of a period are two series that add up.
    assert found == [
        ("dedicated/input", 9_007_199_254_740_993, 5), ("dedicated/input", 1620, 0), ("dedicated/output", 800, 0),
    ]  # fmt: skip
    [held] = pulled.rows("deployments")
    assert {name: held[name] for name in ("deployment_id", "commitment_id", "allocated_units", "scope_id")} == {
        "deployment_id": "gsu-pool", "commitment_id": "gsus", "allocated_units": 10, "scope_id": "novaspark-prod",
    }  # fmt: skip
    assert {row["deployment_id"] for row in pulled.rows("measurements")} == {"gsu-pool"}
    # What spilled over did not use what is bought.
    landing = pulled.landings()["measurements"]
    assert (landing.rows_read, landing.rows_rejected) == (4, 1)


def _series(call: Call) -> Answer:
    """Two pages of work, one of units."""
    resource = {"type": "aiplatform.googleapis.com/PublisherModel", "labels": LABELS}
    if GSU_LIMIT in call.param("filter"):
        at = "2026-07-01T01:00:00Z"
        points = [{"interval": {"startTime": at, "endTime": at}, "value": {"int64Value": "10"}}]
        return reply({"timeSeries": [{"metric": {"type": GSU_LIMIT}, "resource": resource, "points": points}]})
    assert 'metric.labels.request_type = "dedicated"' in call.param("filter")
    assert call.param("aggregation.perSeriesAligner") == "ALIGN_SUM"
    minute = 5 if call.param("pageToken") else 0
    interval = {"startTime": f"2026-07-01T00:{minute:02}:00Z", "endTime": f"2026-07-01T00:{minute + 5:02}:00Z"}
    metric = {"type": CONSUMED, "labels": {"request_type": "dedicated"}}
    series = {"metric": metric, "resource": resource, "points": [{"interval": interval, "value": {"int64Value": "3"}}]}
    return reply({"timeSeries": [series], **({} if minute else {"nextPageToken": "p2"})})


def _options(url: str, **api: Any) -> dict[str, Any]:  # noqa: ANN401 - any option
    http = {"timeout_seconds": 2, "pause_seconds": 0, "attempt_count": 2}
    given = {"url": url, "project": "prod", "key": "token", "start_date": "2026-07-01", "requests_per_minute": 1e9}
    return {"api": {**given, "http": http, **api}}


def test_vertex_gsus_ask_for_dedicated_work_and_for_units(tmp_path: Path):
    with api_server({"/v3/projects/prod/timeSeries": keyed("authorization", "Bearer token", _series)}) as server:
        pulled = pull(tmp_path, "vertex_gsus", now=NOW, **_options(server.url))
        starts = {call.param("interval.startTime") for call in server.calls}
    assert [(row["deployment_id"], row["work_tokens"]) for row in pulled.rows("measurements")] == [
        ("europe-west4/gemini", 3), ("europe-west4/gemini", 3),
    ]  # fmt: skip
    assert [row["allocated_units"] for row in pulled.rows("deployments")] == [10]
    assert starts == {"2026-07-01T00:00:00+00:00"}


@pytest.mark.parametrize(
    ("page", "words"),
    [
        ({"timeSeries": [], "executionErrors": [{"code": 4, "message": "Deadline exceeded"}]}, "Deadline exceeded"),
        ({"timeSeries": [], "unreachable": ["projects/other"]}, "by its unreachable (['projects/other'])"),
        ({"error": {"message": "not now"}}, "is no list of time series (not now)"),
        ({"hello": "another service"}, "is no list of time series"),
        ([], "is no list of time series"),
    ],
)
def test_vertex_gsus_land_nothing_of_an_answer_that_is_not_whole(tmp_path: Path, page: object, words: str):
    with api_server({"/v3/projects/prod/timeSeries": lambda _: reply(page)}) as server:
        pulled = pull(tmp_path, "vertex_gsus", now=NOW, **_options(server.url))
    assert words in pulled.failure.message
    assert pulled.failure.is_transient


def test_vertex_gsus_land_a_day_without_a_time_series(tmp_path: Path):
    with api_server({"/v3/projects/prod/timeSeries": lambda _: reply({})}) as server:
        pulled = pull(tmp_path, "vertex_gsus", now=NOW, **_options(server.url))
    assert {name: item.rows_read for name, item in pulled.landings().items()} == {"measurements": 0, "deployments": 0}


def test_vertex_gsus_take_a_key_file_of_many_lines_and_no_such_token():
    def key(text: str) -> VertexGsusOptions:
        api = {"project": "prod", "key": EnvironmentText.of(text, ("GOOGLE_KEY",)), "start_date": "2026-07-01"}
        return VertexGsusOptions.model_validate({"name": "gsus", "kind": "vertex_gsus", "api": api})

    assert key('{\n  "type": "service_account"\n}\n').api is not None
    with pytest.raises(ValidationError, match="GOOGLE_KEY holds a character that no header can have") as raised:
        key("ya29.token\nmore")
    assert "ya29" not in str(raised.value)


def test_vertex_gsus_stop_at_pages_without_an_end(tmp_path: Path):
    page = {"timeSeries": [], "nextPageToken": "same"}
    with api_server({"/v3/projects/prod/timeSeries": lambda _: reply(page)}) as server:
        pulled = pull(tmp_path, "vertex_gsus", now=NOW, **_options(server.url))
    assert "is one that came before" in pulled.failure.message
    assert not pulled.failure.is_transient
