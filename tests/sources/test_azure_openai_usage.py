"""What Azure's metrics say of use: a recorded answer, and a server that speaks Azure Resource Manager."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from dagster_project.sources import discover
from dagster_project.sources._connector import EnvironmentText, PullContext
from dagster_project.warehouse.landing import Landing, LandingZone, SourceFailure
from tests.sources.api_server import Call, Route, api_server, reply, truncated
from tests.sources.pulling import FIXTURES, Pulled, pull
from tests.sources.vendors import AZURE_METRICS, AZURE_SECRET, azure, azure_api, utc_day
from tests.sources.web import Answer

KIND = "azure_openai_usage"
RECORDED = FIXTURES / "reports" / "azure_openai_usage.json"
ACCOUNT = "billing-1"
HOUR = "2026-07-01T00:00:00Z"


def _series(total: object, start: str = HOUR, **dimensions: str) -> dict[str, Any]:
    named = {"modeldeploymentname": "agents", "modelname": "gpt-4.1"} | dimensions
    return {
        "metadatavalues": [{"name": {"value": name}, "value": value} for name, value in named.items() if value],
        "data": [{"timeStamp": start, "total": total}],
    }


def _page(**metrics: list[dict[str, Any]]) -> dict[str, Any]:
    found = [{"name": {"value": name}, "errorCode": "Success", "timeseries": each} for name, each in metrics.items()]
    return {"cost": 1, "timespan": "as asked", "interval": "PT1H", "value": found}


def _pull_pages(folder: Path, *pages: object, **options: Any) -> Pulled:  # noqa: ANN401 - any option
    path = folder / "pages.jsonl"
    path.write_text("".join(f"{json.dumps(page)}\n" for page in pages), encoding="utf-8")
    return pull(folder, KIND, path=str(path), billing_account_id=ACCOUNT, **options)


def test_azure_openai_usage_lands_an_hour_of_a_deployment_as_one_record(tmp_path: Path):
    pulled = pull(tmp_path, KIND, path=str(RECORDED), billing_account_id=ACCOUNT, batch_deployments=["nightly"])
    columns = ("deployment_name", "model_name", "is_batch", "service_tier", "input_tokens", "output_tokens")
    assert [(*(row[name] for name in columns), row["request_count"]) for row in pulled.rows()] == [
        ("agents", "gpt-4.1", None, None, 1400, 200, 3),
        # Requests that used nothing, refused ones for instance.
        ("agents", "gpt-4.1", None, None, 0, 0, 2),
        ("nightly", "gpt-4.1-mini", True, None, 70, 7, 1),
    ]
    assert [(row["bucket_start_at"], row["bucket_end_at"], row["billing_account_id"]) for row in pulled.rows()] == [
        (utc_day(1, 0), utc_day(1, 1), ACCOUNT),
        (utc_day(1, 1), utc_day(1, 2), ACCOUNT),
        (utc_day(1, 1), utc_day(1, 2), ACCOUNT),
    ]
    # 1,400 + 0 + 70, and 200 + 0 + 7.
    assert (pulled.landing.tokens_in, pulled.landing.tokens_out) == (1470, 207)


def test_azure_openai_usage_rejects_what_it_cannot_read_hour_by_hour(tmp_path: Path):
    pulled = pull(tmp_path, KIND, path=str(RECORDED), billing_account_id=ACCOUNT)
    # Another metric; 12.5 tokens; a series without its deployment. Its hour of zero tokens, nightly's first one, and
    # the one that was not measured are no records at all.
    assert pulled.reasons() == {0: "series_unknown", 4: "value_unparsable", 5: "value_missing"}
    assert (pulled.landing.rows_read, pulled.landing.rows_landed) == (6, 3)
    kept = json.loads(pulled.rejects()[1]["raw_text"])
    assert (kept["modeldeploymentname"], kept["timestamp"]) == ("nightly", "2026-07-01T02:00:00Z")
    assert (kept["ProcessedPromptTokens"], kept["GeneratedTokens"]) == ("12.5", "3.0")
    assert "dimension modeldeploymentname is empty" in pulled.rejects()[2]["reason"]


def test_azure_openai_usage_stops_the_feed_where_that_is_the_policy(tmp_path: Path):
    pulled = pull(tmp_path, KIND, path=str(RECORDED), billing_account_id=ACCOUNT, on_drift="stop")
    [failure] = [item for item in pulled.results if isinstance(item, SourceFailure)]
    assert "The version is refused as a whole" in failure.message
    [refused] = pulled.zone.current(KIND)
    assert (refused.rows_landed, refused.rows_rejected) == (0, 6)


def test_azure_openai_usage_puts_the_metrics_of_several_answers_side_by_side(tmp_path: Path):
    pulled = _pull_pages(
        tmp_path,
        _page(ProcessedPromptTokens=[_series(100), _series(40, modelname="o3")]),
        _page(GeneratedTokens=[_series(5)]),
        _page(ProcessedPromptTokens=[_series(130), _series(0, modelname="o3")]),
    )
    # What was counted anew is 130 and 5; o3's 40 are 0.
    found = [(row["model_name"], row["input_tokens"], row["output_tokens"]) for row in pulled.rows()]
    assert found == [("gpt-4.1", 130, 5), ("o3", 0, None)]
    assert pulled.reasons() == {0: "bucket_repeated", 1: "bucket_repeated"}


def test_azure_openai_usage_takes_a_model_that_metrics_do_not_name_from_the_configuration(tmp_path: Path):
    page = _page(GeneratedTokens=[_series(5, modelname=""), _series(6, modelname="", modeldeploymentname="new")])
    pulled = _pull_pages(tmp_path, page, models={"agents": "gpt-4.1"})
    assert [(row["deployment_name"], row["model_name"]) for row in pulled.rows()] == [("agents", "gpt-4.1")]
    assert pulled.reasons() == {1: "value_missing"}


@pytest.mark.parametrize("total", ["5", True, [5], 1e300])
def test_azure_openai_usage_rejects_a_retyped_total(tmp_path: Path, total: object):
    pulled = _pull_pages(tmp_path, _page(GeneratedTokens=[_series(total)], ProcessedPromptTokens=[_series(7, "later")]))
    assert pulled.reasons() == {0: "value_unparsable", 1: "value_unparsable"}


def test_azure_openai_usage_rejects_answers_that_are_none(tmp_path: Path):
    failed = {"name": {"value": "GeneratedTokens"}, "errorCode": "InternalServerError", "timeseries": []}
    pulled = _pull_pages(
        tmp_path,
        {"error": {"code": "BadRequest", "message": "no such metric"}},
        {**_page(GeneratedTokens=[_series(5)]), "interval": "P7D"},
        {"interval": "PT1H", "value": [failed]},
        _page(GeneratedTokens=[{"data": None}]),
    )
    assert pulled.reasons() == {0: "page_unknown", 1: "page_unknown", 2: "series_unknown", 3: "series_unknown"}
    assert "no such metric" in pulled.rejects()[0]["reason"]


# ---- the API


def _metrics(call: Call) -> Answer:
    """Count 100 prompt tokens an hour on each of two hours of the asked day."""
    day = call.param("timespan")[:10]
    tier = {"servicetierresponse": "priority"} if "ServiceTierResponse" in call.param("$filter") else {}
    hours = [_series(100.0, f"{day}T{hour:02}:00:00Z", **tier) for hour in (0, 9)]
    return reply(_page(ProcessedPromptTokens=hours, GeneratedTokens=[], AzureOpenAIRequests=[]))


def _routes(route: Route = _metrics) -> dict[str, Route]:
    return azure({AZURE_METRICS: route})


def _pull_api(folder: Path, url: str, now: datetime, **api: Any) -> Pulled:  # noqa: ANN401 - any option
    return pull(folder, KIND, now=now, billing_account_id=ACCOUNT, api=azure_api(url) | api)


def _landed_hours(folder: Path) -> list[int]:
    return [landing.rows_landed for landing in LandingZone(folder / "landing").current(KIND)]


def test_azure_openai_usage_asks_for_days_and_settled_ones_never_again(tmp_path: Path):
    with api_server(_routes()) as server:
        pulled = _pull_api(tmp_path, server.url, utc_day(2, 12), lookback_days=1)
        asked = [call.params for call in server.calls if call.path == AZURE_METRICS]
        assert AZURE_SECRET not in repr(pulled.results)
        _pull_api(tmp_path, server.url, utc_day(3, 12), lookback_days=1)
        again = [call.param("timespan")[:10] for call in server.calls if call.path == AZURE_METRICS][len(asked) :]
    assert asked == [
        {
            "api-version": ["2024-02-01"],
            "metricnames": ["ProcessedPromptTokens,GeneratedTokens,AzureOpenAIRequests"],
            "timespan": [f"2026-07-0{day}T00:00:00Z/2026-07-0{day + 1}T00:00:00Z"],
            "interval": ["PT1H"],
            "aggregation": ["Total"],
            "$filter": ["ModelDeploymentName eq '*' and ModelName eq '*'"],
            "top": ["1000"],
        }
        for day in (1, 2)
    ]
    names = [item.input_uri.rpartition("/")[2] for item in pulled.results if isinstance(item, Landing)]
    assert names == ["metrics#2026-07-01", "metrics#2026-07-02"]
    # On the 2nd at noon a day had not passed since the 1st's end; on the 3rd it has.
    assert again == ["2026-07-01", "2026-07-02", "2026-07-03"]
    with api_server(_routes()) as server:
        _pull_api(tmp_path / "other", server.url, utc_day(3), lookback_days=1)
        _pull_api(tmp_path / "other", server.url, utc_day(3), lookback_days=1)
        days = [call.param("timespan")[:10] for call in server.calls if call.path == AZURE_METRICS]
    # The 1st was settled when the 3rd began, the 2nd was not.
    assert days == ["2026-07-01", "2026-07-02", "2026-07-02"]


def test_azure_openai_usage_through_every_transient_fault_lands_what_a_calm_pull_lands(tmp_path: Path):
    with api_server(_routes()) as server:
        _pull_api(tmp_path / "calm", server.url, utc_day(3))
        # The first request is for the token.
        server.faults = [
            None,
            reply({"error": {"code": "TooManyRequests"}}, 429, Retry_After="0"),
            Answer(503),
            None,
            truncated(_page(GeneratedTokens=[_series(5)] * 50)),
            Answer(is_silent=True),
        ]
        rough = _pull_api(tmp_path / "rough", server.url, utc_day(3))
        assert server.faults == []
    assert all(isinstance(item, Landing) for item in rough.results)
    assert _landed_hours(tmp_path / "rough") == _landed_hours(tmp_path / "calm") == [2, 2]


def test_azure_openai_usage_has_the_tier_where_it_is_grouped_by_it(tmp_path: Path):
    with api_server(_routes()) as server:
        pulled = _pull_api(tmp_path, server.url, utc_day(1, 12), group_by=["ModelName", "ServiceTierResponse"])
        [asked] = [call.param("$filter") for call in server.calls if call.path == AZURE_METRICS]
    assert asked == "ModelDeploymentName eq '*' and ModelName eq '*' and ServiceTierResponse eq '*'"
    assert {row["service_tier"] for row in pulled.rows()} == {"priority"}


def test_azure_openai_usage_leaves_out_days_that_azure_has_forgotten(tmp_path: Path):
    with api_server(_routes()) as server:
        # 92 days before 2 October are 2 July.
        _pull_api(tmp_path, server.url, datetime(2026, 10, 2, tzinfo=UTC))
        asked = [call.param("timespan")[:10] for call in server.calls if call.path == AZURE_METRICS]
    assert asked[0] == "2026-07-02"


def test_azure_openai_usage_refuses_an_answer_that_may_have_been_cut(tmp_path: Path):
    cut = _page(ProcessedPromptTokens=[_series(1)] * 1000)
    with api_server(_routes(lambda _: reply(cut))) as server:
        pulled = _pull_api(tmp_path, server.url, utc_day(1, 12))
    assert "1000 deployments or more" in pulled.failure.message


def test_azure_openai_usage_says_which_dimension_an_account_does_not_know(tmp_path: Path):
    said = "Metric: ProcessedPromptTokens does not support requested dimension combination: modelname"
    with api_server(_routes(lambda _: reply({"code": "BadRequest", "message": said}, 400))) as server:
        pulled = _pull_api(tmp_path, server.url, utc_day(1, 12))
    assert said in pulled.failure.message
    assert not pulled.failure.is_transient


def _check(folder: Path, url: str, key: str = AZURE_SECRET) -> str | None:
    connector = discover()[KIND]
    assert connector.check is not None
    content = {"name": "feed", "kind": KIND, "billing_account_id": ACCOUNT}
    secret = EnvironmentText.of(key, ("AZURE_CLIENT_SECRET",))
    options = connector.options.model_validate({**content, "api": azure_api(url, secret)})
    return connector.check(options, PullContext(utc_day(2, 12), folder))


def test_azure_openai_usage_is_checked_by_asking_for_the_day_before(tmp_path: Path):
    with api_server(_routes()) as server:
        said = _check(tmp_path, server.url)
        assert [call.param("timespan")[:10] for call in server.calls if call.path == AZURE_METRICS] == ["2026-07-01"]
        with pytest.raises(Exception, match="AZURE_CLIENT_SECRET") as refused:
            _check(tmp_path, server.url, "wrong-secret")
    assert said == "key accepted, 1 reports asked, 2 results on the first pages of 2026-07-01"
    assert "wrong-secret" not in str(refused.value)
