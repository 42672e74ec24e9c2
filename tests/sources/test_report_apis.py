"""Providers' reports from the APIs: a real server that speaks them, with pages, faults, late results and drift."""

import gzip
import json
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dagster_project.errors import PermanentSourceError
from dagster_project.sources import discover
from dagster_project.sources._connector import EnvironmentText, PullContext, hashed_user
from dagster_project.warehouse.landing import Landing, LandingZone, SourceFailure, pull_source
from tests.sources.api_server import ApiServer, Call, api_server, reply, truncated
from tests.sources.vendors import ANTHROPIC_KEY, OPENAI_KEY, Results, anthropic, anthropic_analytics, openai, utc_day
from tests.sources.web import Answer

# 1 July 2026, 00:00 UTC.
FIRST_SECOND = 1_782_864_000
DAY_SECONDS = 86_400
HASH_KEY = b"company"


def _cost(value: float, line: str = "gpt-4.1, input", **more: Any) -> dict[str, Any]:  # noqa: ANN401 - any member
    amount = {"value": value, "currency": "usd"}
    return {"object": "organization.costs.result", "amount": amount, "line_item": line, **more}


def _tokens(count: int, endpoint: str = "completions", **more: Any) -> dict[str, Any]:  # noqa: ANN401 - any member
    return {"object": f"organization.usage.{endpoint}.result", "input_tokens": count, "model": "gpt-4.1", **more}


def _pull(
    folder: Path,
    kind: str,
    server: ApiServer,
    now: datetime,
    on_drift: str = "reject",
    **api: Any,  # noqa: ANN401 - any option
) -> list[Landing | SourceFailure]:
    connector = discover()[kind]
    options = connector.options.model_validate(_options(kind, server, on_drift, **api))
    return pull_source(LandingZone(folder, hash_key=HASH_KEY), connector, options, now=now)


def _options(kind: str, server: ApiServer, on_drift: str = "reject", **api: Any) -> dict[str, Any]:  # noqa: ANN401
    key = OPENAI_KEY if kind.startswith("openai") else ANTHROPIC_KEY
    asked = {
        "url": server.url,
        "key": EnvironmentText.of(key, ("VENDOR_ADMIN_KEY",)),
        "start_date": "2026-07-01",
        "requests_per_minute": 10**9,
        "http": {"timeout_seconds": 2, "pause_seconds": 0, "attempt_count": 3},
        **api,
    }
    return {"name": "feed", "kind": kind, "billing_account_id": "org-1", "on_drift": on_drift, "api": asked}


def _rows(folder: Path, kind: str, *columns: str) -> list[tuple[Any, ...]]:
    """Give the columns of what counts, sorted by their text."""
    files = [file.path for landing in LandingZone(folder).current(kind) for file in landing.files]
    rows = pa.concat_tables([pq.read_table(path, partitioning=None) for path in files]).to_pylist() if files else []
    return sorted((tuple(row[name] for name in columns) for row in rows), key=repr)


def _failure(results: list[Landing | SourceFailure]) -> SourceFailure:
    [failure] = [item for item in results if isinstance(item, SourceFailure)]
    return failure


COSTS: Results = {
    utc_day(1): [_cost(1.25), _cost(-0.5, "Service credit")],
    utc_day(3): [_cost(0.1), _cost(0.2)],
}


def test_openai_costs_are_asked_for_day_by_day_and_land_exactly(tmp_path: Path):
    with api_server(openai({"costs": COSTS})) as server:
        results = _pull(tmp_path, "openai_costs", server, utc_day(3, 12))
        address = f"{server.url}/v1/organization/costs"
    assert [item.input_uri for item in results if isinstance(item, Landing)] == [
        f"{address}#2026-07-01", f"{address}#2026-07-02", f"{address}#2026-07-03",
    ]  # fmt: skip
    assert [call.params for call in server.calls] == [
        {
            "start_time": [str(FIRST_SECOND + day * DAY_SECONDS)],
            "end_time": [str(FIRST_SECOND + (day + 1) * DAY_SECONDS)],
            "bucket_width": ["1d"],
            "group_by": ["project_id", "line_item"],
            "limit": ["1"],
        }
        for day in range(3)
    ]
    assert _rows(tmp_path, "openai_costs", "bucket_start_at", "line_name", "amount", "currency") == [
        (utc_day(1), "Service credit", Decimal("-0.5"), "USD"),
        (utc_day(1), "gpt-4.1, input", Decimal("1.25"), "USD"),
        (utc_day(3), "gpt-4.1, input", Decimal("0.1"), "USD"),
        (utc_day(3), "gpt-4.1, input", Decimal("0.2"), "USD"),
    ]


def test_a_pull_through_every_transient_fault_lands_what_a_calm_one_lands(tmp_path: Path):
    calm, rough = tmp_path / "calm", tmp_path / "rough"
    with api_server(openai({"costs": COSTS})) as server:
        _pull(calm, "openai_costs", server, utc_day(3, 12))
        server.faults = [
            reply({"error": {"message": "slow down"}}, 429, Retry_After="0"),
            Answer(503),
            None,
            truncated({"data": [1] * 50}),
            Answer(body=b"<html>bad gateway</html>"),
            None,
            Answer(is_silent=True),
        ]
        results = _pull(rough, "openai_costs", server, utc_day(3, 12))
    assert all(isinstance(item, Landing) for item in results)
    columns = ("bucket_start_at", "line_name", "amount", "input_uri")
    assert _rows(rough, "openai_costs", *columns) == _rows(calm, "openai_costs", *columns)


def test_pages_of_hourly_buckets_are_followed(tmp_path: Path):
    hours: Results = {utc_day(1, hour): [_tokens(hour)] for hour in range(24)}
    with api_server(openai({"usage/completions": hours}, page_size=10)) as server:
        _pull(
            tmp_path, "openai_usage", server, utc_day(2), endpoints=["completions"], bucket_width="1h",
        )  # fmt: skip
    assert [call.param("page") for call in server.calls] == ["", "page_10", "page_20"]
    rows = _rows(tmp_path, "openai_usage", "bucket_start_at", "input_tokens")
    # 0 + 1 + … + 23 = 23 x 24 / 2.
    assert sum(tokens for _, tokens in rows) == 276
    assert len(rows) == 24


def test_a_late_result_restates_its_day_and_a_full_pull_gives_the_same(tmp_path: Path):
    known: Results = {utc_day(1): [_tokens(100)], utc_day(2): [_tokens(7)]}
    with api_server(openai({"usage/completions": known})) as server:
        _pull(tmp_path / "daily", "openai_usage", server, utc_day(2, 12), endpoints=["completions"])
        known[utc_day(1)] = [_tokens(130), _tokens(5, service_tier="flex")]
        _pull(tmp_path / "daily", "openai_usage", server, utc_day(3, 12), endpoints=["completions"])
        _pull(tmp_path / "whole", "openai_usage", server, utc_day(3, 12), endpoints=["completions"])
    columns = ("bucket_start_at", "service_tier", "input_tokens", "input_uri")
    rows = _rows(tmp_path / "daily", "openai_usage", *columns)
    assert [(at, tier, tokens) for at, tier, tokens, _ in rows] == [
        (utc_day(1), "flex", 5),
        (utc_day(1), None, 130),
        (utc_day(2), None, 7),
    ]
    assert rows == _rows(tmp_path / "whole", "openai_usage", *columns)


def test_a_result_that_the_provider_takes_back_is_gone(tmp_path: Path):
    known: Results = {utc_day(1): [_cost(1.0), _cost(9.0, "mistake")]}
    with api_server(openai({"costs": known})) as server:
        _pull(tmp_path, "openai_costs", server, utc_day(1, 12))
        known[utc_day(1)].pop()
        _pull(tmp_path, "openai_costs", server, utc_day(1, 13))
    assert _rows(tmp_path, "openai_costs", "line_name", "amount") == [("gpt-4.1, input", Decimal(1))]


def test_buckets_of_other_days_are_not_counted_twice(tmp_path: Path):
    def everything(_: Call) -> Answer:
        buckets = [
            {"start_time": FIRST_SECOND + day * DAY_SECONDS, "end_time": FIRST_SECOND + (day + 1) * DAY_SECONDS,
             "results": [_cost(1.0)]} for day in range(2)
        ]  # fmt: skip
        return reply({"data": buckets, "has_more": False, "next_page": None})

    with api_server({"/v1/organization/costs": everything}) as server:
        _pull(tmp_path, "openai_costs", server, utc_day(2, 12))
    assert _rows(tmp_path, "openai_costs", "bucket_start_at", "amount") == [(utc_day(1), 1), (utc_day(2), 1)]


def test_each_kind_of_usage_is_grouped_by_what_it_knows(tmp_path: Path):
    keyed = ("project_id", "user_id", "api_key_id")
    dimensions = {
        "usage/completions": (*keyed, "model", "batch", "service_tier", "api_source"),
        "usage/embeddings": (*keyed, "model"),
        "usage/vector_stores": ("project_id",),
    }
    names = ["completions", "embeddings", "vector_stores"]
    with api_server(openai({f"usage/{name}": {} for name in names}, dimensions=dimensions)) as server:
        results = _pull(tmp_path, "openai_usage", server, utc_day(1, 12), endpoints=names)
    assert len([item for item in results if isinstance(item, Landing)]) == 3
    assert [call.params["group_by"] for call in server.calls] == [
        ["project_id", "api_key_id", "model", "batch", "service_tier"],
        ["project_id", "api_key_id", "model"],
        ["project_id"],
    ]


def test_a_report_grouped_by_key_says_so_on_days_without_keys(tmp_path: Path):
    known: Results = {utc_day(1): [_tokens(100)]}
    for name, group_by in (("keyed", ["api_key_id"]), ("plain", ["model"])):
        with api_server(openai({"usage/completions": known})) as server:
            asked = {"endpoints": ["completions"], "group_by": group_by}
            _pull(tmp_path / name, "openai_usage", server, utc_day(1, 12), **asked)
    assert _rows(tmp_path / "keyed", "openai_usage", "api_key_id", "has_api_keys") == [(None, True)]
    assert _rows(tmp_path / "plain", "openai_usage", "api_key_id", "has_api_keys") == [(None, False)]


def test_another_grouping_asks_for_every_day_again(tmp_path: Path):
    with api_server(openai({"costs": COSTS})) as server:
        _pull(tmp_path, "openai_costs", server, utc_day(20))
        first = len(server.calls)
        _pull(tmp_path, "openai_costs", server, utc_day(20), group_by=["line_item"])
    # 1 to 19 July are 19 days, each time.
    assert (first, len(server.calls) - first) == (19, 19)
    assert sum(amount for (amount,) in _rows(tmp_path, "openai_costs", "amount")) == Decimal("1.05")


def test_a_refused_key_fails_the_source_says_what_to_set_and_lands_nothing(tmp_path: Path):
    with api_server(openai({"costs": COSTS})) as server:
        wrong = EnvironmentText.of("sk-wrong", ("OPENAI_ADMIN_KEY",))
        results = _pull(tmp_path, "openai_costs", server, utc_day(20), key=wrong)
    assert [type(item) for item in results] == [SourceFailure] * 3
    assert not any(item.is_transient for item in results if isinstance(item, SourceFailure))
    [message] = {item.message for item in results if isinstance(item, SourceFailure)}
    assert "status 401 (invalid key)" in message
    assert "Set the environment variable OPENAI_ADMIN_KEY to a key that may read this" in message
    assert "sk-wrong" not in message
    # Two days in a row and the newest, and no more: the others would be refused too.
    assert len(server.calls) == 3


def test_an_api_that_is_away_is_not_asked_for_its_other_reports(tmp_path: Path):
    with api_server(openai({"usage/completions": {}, "usage/embeddings": {}})) as server:
        server.faults = [Answer(503)] * 99
        results = _pull(tmp_path, "openai_usage", server, utc_day(9), endpoints=["completions", "embeddings"])
    assert [item.is_transient for item in results if isinstance(item, SourceFailure)] == [True] * 3
    # Two days and the newest, three tries each.
    assert len(server.calls) == 9


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (reply({"error": {"message": "upstream unavailable"}}), "no list 'data' (upstream unavailable)"),
        (reply({"hello": "another service"}), "no list 'data'"),
        (reply([]), "no list 'data'"),
        (reply({"data": [], "has_more": True, "next_page": None}), "says that there is more and not where"),
    ],
    ids=["error", "another service", "list", "cut"],
)
@pytest.mark.parametrize("kind", ["openai_costs", "anthropic_usage"])
def test_an_answer_that_is_not_whole_lands_nothing_and_is_asked_for_again(
    tmp_path: Path, kind: str, answer: Answer, words: str
):
    known = openai({"costs": COSTS}) | anthropic({"usage_report/messages": {}})
    with api_server(dict.fromkeys(known, lambda _: answer)) as server:
        failure = _failure(_pull(tmp_path, kind, server, utc_day(20, 12), start_date="2026-07-20"))
        assert words in failure.message
        assert failure.is_transient
        assert LandingZone(tmp_path).current(kind) == []
        server.routes = known
        healed = _pull(tmp_path, kind, server, utc_day(20, 13), start_date="2026-07-20")
    assert [type(item) for item in healed] == [Landing]


def test_half_of_a_character_in_an_answer_lands_as_the_replacement_character(tmp_path: Path):
    page = {"data": [{"start_time": FIRST_SECOND, "end_time": FIRST_SECOND + 1, "results": [_cost(1, "x \ud83d")]}]}
    with api_server({"/v1/organization/costs": lambda _: reply(page)}) as server:
        _pull(tmp_path, "openai_costs", server, utc_day(1, 12))
    assert _rows(tmp_path, "openai_costs", "line_name") == [("x \ufffd",)]


def test_a_changed_reading_of_a_settled_day_does_not_ask_for_it(tmp_path: Path):
    with api_server(openai({"costs": COSTS})) as server:
        _pull(tmp_path, "openai_costs", server, utc_day(20), start_date="2026-07-01")
        server.routes = openai({"costs": {}})
        server.calls.clear()
        connector = discover()["openai_costs"]
        options = connector.options.model_validate(_options("openai_costs", server, on_drift="stop"))
        pull_source(LandingZone(tmp_path, hash_key=HASH_KEY), connector, options, now=utc_day(20))
        # 20 July at 00:00 less three days: the 16th, which ended on the 17th at 00:00, has settled.
        assert [call.param("start_time") for call in server.calls] == [
            str(int(utc_day(day).timestamp())) for day in (17, 18, 19)
        ]
        assert len(_rows(tmp_path, "openai_costs", "amount")) == 4
        # Grouped otherwise, it is another question.
        server.calls.clear()
        _pull(tmp_path, "openai_costs", server, utc_day(20), group_by=["project_id"])
        assert len(server.calls) == 19


def test_pages_that_repeat_fail_their_day_alone(tmp_path: Path):
    loop = {"data": [], "has_more": True, "next_page": "page_2"}
    routes = openai({"costs": COSTS})
    path = "/v1/organization/costs"
    calm = routes[path]
    routes[path] = lambda call: reply(loop) if call.param("start_time") == str(FIRST_SECOND) else calm(call)
    with api_server(routes) as server:
        results = _pull(tmp_path, "openai_costs", server, utc_day(3, 12))
    failure = _failure(results)
    assert (failure.input_uri or "").endswith("#2026-07-01")
    assert "is one that came before" in failure.message
    assert [at for (at,) in _rows(tmp_path, "openai_costs", "bucket_start_at")] == [utc_day(3), utc_day(3)]


def test_a_new_member_is_kept_and_a_retyped_one_is_rejected_alone(tmp_path: Path):
    known: Results = {utc_day(1): [_cost(1.0, colour="red"), _cost(2.0) | {"amount": "lots"}]}
    with api_server(openai({"costs": known})) as server:
        [landing] = _pull(tmp_path, "openai_costs", server, utc_day(1, 12))
    assert isinstance(landing, Landing)
    [(attributes,)] = _rows(tmp_path, "openai_costs", "attributes_json")
    assert json.loads(attributes) == {"colour": "red"}
    assert landing.rejects_file is not None
    [reject] = pq.read_table(landing.rejects_file.path).to_pylist()
    assert (reject["record_index"], reject["reason_code"]) == (1, "value_unparsable")


def test_a_retyped_member_stops_the_feed_where_that_is_the_policy(tmp_path: Path):
    known: Results = {utc_day(1): [_cost(1.0), _cost(2.0) | {"amount": "lots"}]}
    with api_server(openai({"costs": known})) as server:
        failure = _failure(_pull(tmp_path, "openai_costs", server, utc_day(1, 12), on_drift="stop"))
    assert "The version is refused as a whole" in failure.message
    [refused] = LandingZone(tmp_path).current("openai_costs")
    assert (refused.rows_landed, refused.rows_rejected) == (0, 2)


def test_users_land_as_pseudonyms(tmp_path: Path):
    known: Results = {utc_day(1): [_tokens(1, user_id="ann@company.example")]}
    with api_server(openai({"usage/completions": known})) as server:
        _pull(tmp_path, "openai_usage", server, utc_day(1, 12), endpoints=["completions"], group_by=["user_id"])
    assert _rows(tmp_path, "openai_usage", "user_id") == [(hashed_user("ann@company.example", HASH_KEY),)]


def test_no_file_holds_the_key(tmp_path: Path):
    with api_server(openai({"costs": COSTS})) as server:
        server.faults = [reply({"error": {"message": f"Incorrect API key provided: {OPENAI_KEY}"}}, 401)]
        results = _pull(tmp_path, "openai_costs", server, utc_day(3, 12))
    assert "Incorrect API key provided: ***" in _failure(results).message
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    contents = [gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes() for path in files]
    assert len(files) > 3
    assert not any(OPENAI_KEY.encode() in content for content in contents)


# ---- Anthropic


def test_anthropic_usage_is_asked_for_with_its_headers_and_lands_disjoint_counts(tmp_path: Path):
    result = {
        "model": "claude-opus-4-6", "uncached_input_tokens": 1500, "cache_read_input_tokens": 200, "output_tokens": 500,
        "cache_creation": {"ephemeral_5m_input_tokens": 500, "ephemeral_1h_input_tokens": 1000, "ephemeral_24h": 3},
        "server_tool_use": {"web_search_requests": 10},
    }  # fmt: skip
    with api_server(anthropic({"usage_report/messages": {utc_day(1): [result]}})) as server:
        _pull(tmp_path, "anthropic_usage", server, utc_day(1, 12))
    [call] = server.calls
    assert call.params == {
        "starting_at": ["2026-07-01T00:00:00Z"],
        "ending_at": ["2026-07-02T00:00:00Z"],
        "bucket_width": ["1d"],
        "limit": ["1"],
        "group_by[]": ["api_key_id", "context_window", "inference_geo", "model", "service_tier", "workspace_id"],
    }
    assert "anthropic-beta" not in call.headers
    columns = ("uncached_input_tokens", "cache_read_input_tokens", "ephemeral_5m_input_tokens", "output_tokens")
    assert _rows(tmp_path, "anthropic_usage", *columns) == [(1500, 200, 500, 500)]
    # A time to live that has no column yet.
    [(attributes,)] = _rows(tmp_path, "anthropic_usage", "attributes_json")
    assert json.loads(attributes) == {"cache_creation.ephemeral_24h": 3}


def test_anthropic_speed_is_asked_for_in_its_beta(tmp_path: Path):
    with api_server(anthropic({"usage_report/messages": {}})) as server:
        _pull(tmp_path, "anthropic_usage", server, utc_day(1, 12), group_by=["model", "speed"])
    assert server.calls[0].headers["anthropic-beta"] == "fast-mode-2026-02-01"


def test_anthropic_cost_report_is_in_cents(tmp_path: Path):
    result = {"amount": "123.78912", "currency": "USD", "cost_type": "tokens", "description": "Claude Opus 5"}
    with api_server(anthropic({"cost_report": {utc_day(1): [result]}})) as server:
        _pull(tmp_path, "anthropic_costs", server, utc_day(1, 12))
    # 123.78912 cents; the report does not say what they would have been before discounts.
    assert _rows(tmp_path, "anthropic_costs", "amount", "list_amount") == [(Decimal("1.2378912"), None)]
    assert server.calls[0].params["group_by[]"] == ["workspace_id", "description"]


def test_anthropic_analytics_cost_report_has_a_row_per_group_with_list_and_discounted_amounts(tmp_path: Path):
    def row(model: str, amount: str, listed: str, token_type: str) -> dict[str, Any]:
        group = {"model": model, "product": "claude_code", "cost_type": "tokens", "token_type": token_type}
        cost = {"amount": amount, "list_amount": listed, "currency": "USD", "requests": None}
        return {"group": group, "cost": cost}

    rows: Results = {
        utc_day(1): [
            row("claude-opus-5", "900.5", "1000", "output_tokens"),
            row("claude-opus-5", "9", "10", "uncached_input_tokens"),
            row("claude-haiku-5", "0.25", "0.25", "output_tokens"),
        ]
    }
    with api_server(anthropic_analytics(rows, page_size=2)) as server:
        _pull(tmp_path, "anthropic_costs", server, utc_day(1, 12), report="analytics")
    assert [call.param("page") for call in server.calls] == ["", "page_2"]
    assert server.calls[0].params["time_bucket_width"] == ["1d"]
    # 900.5 cents are 9.005 dollars, 10 % off 10 less 0.005.
    columns = ("model_name", "token_type", "amount", "list_amount", "bucket_start_at", "bucket_end_at")
    assert _rows(tmp_path, "anthropic_costs", *columns) == [
        ("claude-haiku-5", "output_tokens", Decimal("0.0025"), Decimal("0.0025"), utc_day(1), utc_day(2)),
        ("claude-opus-5", "output_tokens", Decimal("9.005"), Decimal(10), utc_day(1), utc_day(2)),
        ("claude-opus-5", "uncached_input_tokens", Decimal("0.09"), Decimal("0.1"), utc_day(1), utc_day(2)),
    ]
    assert json.loads(_rows(tmp_path, "anthropic_costs", "attributes_json")[0][0]) == {"product": "claude_code"}


@pytest.mark.parametrize(
    ("report", "group_by"),
    [
        ("cost_report", ["model"]),
        ("analytics", ["description"]),
        ("analytics", ["model", "product", "workspace_id", "service_tier", "inference_geo", "speed"]),
    ],
)
def test_anthropic_costs_refuse_a_grouping_that_the_report_does_not_know(report: str, group_by: list[str]):
    options = _options("anthropic_costs", ApiServer("http://127.0.0.1:9"), report=report, group_by=group_by)
    with pytest.raises(ValueError, match="expected group_by of workspace_id and description for the cost report"):
        discover()["anthropic_costs"].options.model_validate(options)


# ---- trying a source


def _check(tmp_path: Path, kind: str, server: ApiServer, **api: Any) -> str | None:  # noqa: ANN401 - any option
    connector = discover()[kind]
    assert connector.check is not None
    options = connector.options.model_validate(_options(kind, server, **api))
    return connector.check(options, PullContext(datetime(2026, 7, 2, 12, tzinfo=UTC), tmp_path))


def test_check_asks_one_page_of_each_report_and_keeps_nothing(tmp_path: Path):
    hours: Results = {utc_day(1, hour): [_tokens(hour)] for hour in range(24)}
    with api_server(openai({"usage/completions": hours, "usage/embeddings": {}}, page_size=10)) as server:
        asked = {"endpoints": ["completions", "embeddings"], "bucket_width": "1h"}
        said = _check(tmp_path, "openai_usage", server, **asked)
    assert said == "key accepted, 2 reports asked, 10 results on the first pages of 2026-07-01"
    assert len(server.calls) == 2
    assert list(tmp_path.iterdir()) == []


def test_check_at_midnight_asks_for_the_day_before(tmp_path: Path):
    connector = discover()["openai_costs"]
    with api_server(openai({"costs": COSTS})) as server:
        options = connector.options.model_validate(_options("openai_costs", server))
        assert connector.check is not None
        said = connector.check(options, PullContext(utc_day(2), tmp_path))
    assert said == "key accepted, 1 reports asked, 2 results on the first pages of 2026-07-01"


def test_check_fails_when_nothing_that_is_answered_can_be_read(tmp_path: Path):
    routes = openai({"costs": {utc_day(1): [{"amount": None}, {"amount": {"value": 1}}]}})
    with (
        api_server(routes) as server,
        pytest.raises(PermanentSourceError, match="none of 2 results can be read; the first one: amount is empty"),
    ):
        _check(tmp_path, "openai_costs", server)


def test_check_of_files_leaves_it_to_reading_them(tmp_path: Path):
    connector = discover()["openai_costs"]
    content = {"name": "feed", "kind": "openai_costs", "billing_account_id": "a", "path": str(tmp_path / "x.json")}
    assert connector.check is not None
    assert connector.check(connector.options.model_validate(content), PullContext(utc_day(1), tmp_path)) is None
