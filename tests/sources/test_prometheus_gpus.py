"""GPU utilisation from Prometheus: a server that speaks its range queries, faults included, and recorded answers."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from dagster_project.sources.prometheus_gpus import PrometheusGpusOptions
from dagster_project.warehouse.landing import Landing
from tests.sources.api_server import Call, api_server, keyed, reply, truncated
from tests.sources.pulling import FIXTURES, pull
from tests.sources.web import Answer

QUICK = {"timeout_seconds": 2, "pause_seconds": 0, "attempt_count": 3}
TOKEN = "prometheus-secret-token"  # noqa: S105 - of a server of the test
NOON = datetime(2026, 7, 2, 12, tzinfo=UTC)
PATH = "/api/v1/query_range"


def _prometheus(call: Call) -> Answer:
    """Answer as Prometheus does: a sample per step, both ends included, at most 11,000 of them."""
    start, end, step = (float(call.param(name)) for name in ("start", "end", "step"))
    if (end - start) / step > 11_000:
        said = "exceeded maximum resolution of 11,000 points per timeseries."
        return reply({"status": "error", "errorType": "bad_data", "error": said}, 400)
    count = int((end - start) // step) + 1
    values = [[start + number * step, str(20 + number % 2 * 40)] for number in range(count)]
    series = {"metric": {"__name__": call.param("query"), "UUID": "GPU-aa", "namespace": "llama"}, "values": values}
    return reply({"status": "success", "data": {"resultType": "matrix", "result": [series]}})


def _options(url: str, **api: Any) -> dict[str, Any]:  # noqa: ANN401 - any option
    return {
        "api": {"url": url, "start_date": "2026-07-01", "http": QUICK, "requests_per_minute": 1e9, **api},
        "deployment_label": "namespace",
        "deployments": {"llama": "gpu-llama-eval"},
        "step_seconds": 1800,
    }


def test_prometheus_gpus_read_a_recorded_answer_and_keep_what_it_cannot_read(tmp_path: Path):
    path = str(FIXTURES / "prometheus_gpus" / "query_range.json")
    pulled = pull(
        tmp_path, "prometheus_gpus", path=path, deployment_label="namespace", deployments={"llama": "gpu-llama-eval"}
    )
    found = [
        (row["deployment_id"], row["instance_id"], row["utilization_percent"], row["measured_at"].isoformat())
        for row in pulled.rows()
    ]
    assert found == [
        ("gpu-llama-eval", "GPU-aa", 25.0, "2026-07-01T00:00:00+00:00"),
        ("gpu-llama-eval", "GPU-aa", 100.0, "2026-07-01T00:02:00.500000+00:00"),
        ("spare", "GPU-bb", 0.0, "2026-07-01T00:00:00+00:00"),
    ]
    # NaN is Prometheus' word for no value; the fourth sample is of a GPU without the label that names it.
    assert pulled.reasons() == {1: "value_unparsable", 3: "value_missing"}
    assert '"modelName":"NVIDIA H100 80GB HBM3"' in pulled.rows()[0]["attributes_json"]


def test_prometheus_gpus_are_asked_day_by_day_without_a_gap_or_an_overlap(tmp_path: Path):
    with api_server({PATH: keyed("authorization", f"Bearer {TOKEN}", _prometheus)}) as server:
        options = _options(server.url, key=TOKEN, tenant="ml")
        first = pull(tmp_path, "prometheus_gpus", now=NOON, **options)
        calls = len(server.calls)
        assert {call.headers["x-scope-orgid"] for call in server.calls} == {"ml"}
        again = pull(tmp_path, "prometheus_gpus", now=NOON + timedelta(minutes=40), **options)
        asked_again = server.calls[calls:]
        later = pull(tmp_path, "prometheus_gpus", now=NOON + timedelta(days=2), **options)
    days = [landing for landing in first.results if isinstance(landing, Landing)]
    assert [landing.input_uri for landing in days] == [
        f"{server.url}{PATH}#2026-07-01", f"{server.url}{PATH}#2026-07-02",
    ]  # fmt: skip
    # A sample each half an hour: 48 of the first day, 24 of the half one, as noon is not past. 24 + 12 requests.
    assert [landing.rows_landed for landing in days] == [48, 24]
    assert calls == 36
    # The first day ended twelve hours before: its lookback of six has passed. Only the open day is asked for again:
    # at 12:40 it has the samples of 12:00 and 12:30 more.
    assert {call.param("start") for call in asked_again} == {
        str(int(datetime(2026, 7, 2, hour, tzinfo=UTC).timestamp())) for hour in range(13)
    }  # fmt: skip
    assert [item.rows_landed for item in again.results if isinstance(item, Landing)] == [26]
    assert [item.input_uri[-10:] for item in later.results] == ["2026-07-02", "2026-07-03", "2026-07-04"]
    assert TOKEN not in repr(first.results)


def test_prometheus_gpus_get_through_throttling_faults_and_half_answers(tmp_path: Path):
    faults = [
        reply({"status": "error", "error": "busy"}, 503),
        reply({}, 429, Retry_After="0"),
        Answer(is_silent=True),
        truncated({"status": "success", "data": {"resultType": "matrix", "result": []}}),
    ]
    with api_server({PATH: _prometheus}) as server:
        server.faults = [faults[0], faults[1], None, faults[2], None, faults[3], None]
        pulled = pull(tmp_path, "prometheus_gpus", now=datetime(2026, 7, 1, 2, 10, tzinfo=UTC), **_options(server.url))
    # 00:00, 00:30, 01:00, 01:30 and 02:00.
    assert pulled.landing.rows_landed == 5


@pytest.mark.parametrize(
    ("answer", "message", "is_transient"),
    [
        (reply({"status": "error", "error": "parse error: unexpected }"}, 400), "parse error: unexpected }", False),
        (reply({"error": "no"}, 401), "expected the key to be accepted", False),
        (reply({"status": "success", "warnings": ["a store is away"], "data": {}}), "a store is away", True),
        (reply({"status": "error", "error": "not now"}), "is no matrix of a range query (not now)", True),
        (reply([]), "is no matrix of a range query", True),
        (reply({}, 503), "3 times: status 503", True),
    ],
)
def test_prometheus_gpus_say_what_was_wrong_and_land_nothing(
    tmp_path: Path, answer: Answer, message: str, is_transient: bool
):
    with api_server({PATH: lambda _: answer}) as server:
        pulled = pull(tmp_path, "prometheus_gpus", now=datetime(2026, 7, 1, 1, tzinfo=UTC), **_options(server.url))
    assert message in pulled.failure.message
    assert pulled.failure.is_transient is is_transient


def test_prometheus_gpus_are_read_from_the_spooled_days_when_the_server_keeps_them_no_more(tmp_path: Path):
    forgotten = reply({"status": "success", "data": {"resultType": "matrix", "result": []}})
    with api_server({PATH: _prometheus}) as server:
        options = _options(server.url)
        pull(tmp_path, "prometheus_gpus", now=NOON, **options)
        server.routes = {PATH: lambda _: forgotten}
        renamed = {**options, "deployments": {"llama": "gpu-llama"}}
        pulled = pull(tmp_path, "prometheus_gpus", now=NOON, **renamed)
        current = {item.input_uri[-10:]: item.rows_landed for item in pulled.zone.current("prometheus_gpus")}
        # Half-hours of the first day, which had settled; the open day is asked for again.
        assert current == {"2026-07-01": 48, "2026-07-02": 0}
        # Another step is another question, which the server can answer for no more than a day.
        finer = {**renamed, "step_seconds": 900, "api": {**options["api"], "retention_days": 1}}
        pulled = pull(tmp_path, "prometheus_gpus", now=NOON, **finer)
    assert {item.input_uri[-10:]: item.rows_landed for item in pulled.zone.current("prometheus_gpus")} == current


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"deployment_id": "one"}, "either `deployment_label` or `deployment_id`"),
        ({"deployment_label": None}, "either `deployment_label` or `deployment_id`"),
        ({"step_seconds": 7}, "divide an hour"),
        ({"path": "x.json"}, "either `path`"),
        ({"api": None}, "either `path`"),
        ({"api": {"url": "http://p", "start_date": "2026-07-01", "user": "me"}}, "without `key`"),
    ],
)
def test_prometheus_gpus_refuse_options_that_contradict_themselves(changed: dict[str, Any], message: str):
    given = {"name": "gpus", "kind": "prometheus_gpus", **_options("http://p"), **changed}
    with pytest.raises(ValidationError, match=message):
        PrometheusGpusOptions.model_validate(given)
