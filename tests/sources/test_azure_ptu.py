"""Azure's provisioned throughput: recorded answers, and a server that speaks Azure Resource Manager."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from dagster_project.warehouse.landing import Landing, SourceFailure
from tests.sources.api_server import Call, Route, api_server, reply
from tests.sources.pulling import FIXTURES, pull
from tests.sources.vendors import AZURE_ACCOUNT, AZURE_METRICS, AZURE_SECRET, azure, azure_api
from tests.sources.web import Answer

NOW = datetime(2026, 7, 2, 0, 30, tzinfo=UTC)


def _folder(name: str) -> str:
    return str(FIXTURES / "azure_ptu" / name)


def test_azure_ptu_reads_utilisation_in_percent_and_leaves_out_what_was_not_measured(tmp_path: Path):
    pulled = pull(tmp_path, "azure_ptu", path=_folder("metrics.json"))
    found = [(row["deployment_id"], row["utilization_percent"]) for row in pulled.rows("measurements")]
    # The minute without an average is no measurement; 112 % was asked of the units.
    assert found == [("ptu-agents-gpt-41", 12.5), ("ptu-agents-gpt-41", 112.0)]
    rejected = pulled.landings()["measurements"]
    # A series without its deployment, and another metric.
    assert (rejected.rows_read, rejected.rows_rejected) == (4, 2)
    assert pulled.landings()["deployments"].rows_read == 0


def test_azure_ptu_reads_which_units_deployments_hold(tmp_path: Path):
    pulled = pull(
        tmp_path, "azure_ptu", path=_folder("deployments.json"), region_id="swedencentral", scope_id="production"
    )
    provisioned, standard = pulled.rows("deployments")
    assert [provisioned[name] for name in ("deployment_id", "deployment_type", "model_id", "allocated_units")] == [
        "ptu-agents-gpt-41", "global", "gpt-4.1", 100,
    ]  # fmt: skip
    assert provisioned["spillover_deployment_id"] == "std-agents-gpt-41"
    assert provisioned["starts_at"] == datetime(2026, 3, 2, 8, 15, 30, 500000, UTC)
    assert (provisioned["region_id"], provisioned["scope_id"]) == ("swedencentral", "production")
    # Its 450 are a limit of thousands of tokens a minute.
    assert (standard["deployment_type"], standard["allocated_units"]) == ("global_standard", None)
    assert pulled.landings()["deployments"].rows_rejected == 1


def _metrics(call: Call) -> Answer:
    start = call.param("timespan").partition("/")[0]
    series = {
        "metadatavalues": [{"name": {"value": "modeldeploymentname"}, "value": "ptu"}],
        "data": [{"timeStamp": start, "average": 50.0}],
    }
    metric = {"name": {"value": call.param("metricnames")}, "errorCode": "Success", "timeseries": [series]}
    return reply({"cost": 1, "timespan": call.param("timespan"), "value": [metric]})


def _deployments(call: Call) -> Answer:
    host = f"http://{call.headers['host']}"
    deployment = {"sku": {"name": "ProvisionedManaged", "capacity": 25}, "properties": {"model": {"name": "gpt-5"}}}
    if call.param("skip"):
        return reply({"value": [{"name": "second", **deployment}]})
    following = f"{host}{AZURE_ACCOUNT}/deployments?api-version=2024-10-01&skip=1"
    return reply({"value": [{"name": "first", **deployment}], "nextLink": following})


def _routes() -> dict[str, Route]:
    return azure({AZURE_METRICS: _metrics, f"{AZURE_ACCOUNT}/deployments": _deployments})


def test_azure_ptu_asks_for_days_of_utilisation_and_for_what_is_deployed_today(tmp_path: Path):
    with api_server(_routes()) as server:
        pulled = pull(tmp_path, "azure_ptu", now=NOW, api=azure_api(server.url))
        tokens = [call for call in server.calls if call.path.endswith("/token")]
    landings = [item for item in pulled.results if isinstance(item, Landing)]
    by_input = {(item.input_uri.rpartition("/")[2], item.entity): item.rows_landed for item in landings}
    assert by_input == {
        ("metrics#2026-07-01", "measurements"): 1, ("metrics#2026-07-01", "deployments"): 0,
        ("metrics#2026-07-02", "measurements"): 1, ("metrics#2026-07-02", "deployments"): 0,
        ("deployments#2026-07-02", "measurements"): 0, ("deployments#2026-07-02", "deployments"): 2,
    }  # fmt: skip
    assert len(tokens) == 1
    assert AZURE_SECRET not in repr(pulled.results)
    [files] = [item.files for item in landings if item.entity == "deployments" and item.rows_landed]
    assert [file.event_date.isoformat() for file in files if file.event_date] == ["2026-07-02"]


def test_azure_ptu_lands_an_account_without_deployments_as_such(tmp_path: Path):
    routes = {**_routes(), f"{AZURE_ACCOUNT}/deployments": lambda _: reply({"value": []})}
    with api_server(routes) as server:
        pulled = pull(tmp_path, "azure_ptu", now=NOW, api={**azure_api(server.url), "start_date": "2026-07-02"})
    [row] = pulled.rows("deployments")
    assert (row["deployment_id"], row["is_snapshot"], row["observed_at"].day) == (None, True, 2)


def test_azure_ptu_names_the_secret_that_is_refused_and_not_its_value(tmp_path: Path):
    with api_server(_routes()) as server:
        pulled = pull(tmp_path, "azure_ptu", now=NOW, api=azure_api(server.url, "wrong-secret"))
    failures = [item for item in pulled.results if isinstance(item, SourceFailure)]
    assert failures
    assert all("invalid_client" in item.message and not item.is_transient for item in failures)
    assert "wrong-secret" not in repr(failures)


@pytest.mark.parametrize(
    ("path", "answer", "words"),
    [
        (AZURE_METRICS, {"error": {"message": "not now"}}, "has no list 'value' (not now)"),
        (AZURE_METRICS, [], "has no list 'value'"),
        (
            AZURE_METRICS,
            {"value": [{"errorCode": "InternalError", "errorMessage": "a store is away", "timeseries": []}]},
            "has a metric that could not be read (InternalError: a store is away)",
        ),
        (f"{AZURE_ACCOUNT}/deployments", {"error": {"message": "not now"}}, "has no list 'value' (not now)"),
    ],
)
def test_azure_ptu_lands_nothing_of_an_answer_that_is_not_whole(tmp_path: Path, path: str, answer: object, words: str):
    with api_server({**_routes(), path: lambda _: reply(answer)}) as server:
        pulled = pull(tmp_path, "azure_ptu", now=datetime(2026, 7, 1, 1, tzinfo=UTC), api=azure_api(server.url))
    [failure] = [item for item in pulled.results if isinstance(item, SourceFailure)]
    assert words in failure.message
    assert failure.is_transient


def test_azure_ptu_refuses_an_answer_that_may_have_been_cut(tmp_path: Path):
    cut = {"value": [{"name": {"value": "x"}, "timeseries": [{} for _ in range(1000)]}]}
    with api_server({**_routes(), AZURE_METRICS: lambda _: reply(cut)}) as server:
        pulled = pull(tmp_path, "azure_ptu", now=datetime(2026, 7, 1, 1, tzinfo=UTC), api=azure_api(server.url))
    [failure] = [item for item in pulled.results if isinstance(item, SourceFailure)]
    assert "1000 deployments or more" in failure.message
