"""Calls from a proxy's database and from Langfuse, KPIs from a query, an API and by hand: through to cost and value.

One use case, three instances. Prices: input 2.00, cache reads 0.50, output 10.00 USD per million tokens.
"""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from dagster_project.settings import load_settings
from dagster_project.sources import discover
from dagster_project.sources.manual_scores import Entry, Journal, replacing
from dagster_project.warehouse.connection import open_warehouse
from dagster_project.warehouse.dbt import DbtProject
from dagster_project.warehouse.landing import Landing, LandingZone, pull_source
from dagster_project.warehouse.raw import refresh_views
from tests.integration.small_company import SEED_HEADERS, list_price
from tests.integration.small_company import TERMS_HEADER as TERMS
from tests.sources.api_server import ApiServer, api_server, reply
from tests.sources.postgres import Postgres, running_postgres

NOW = datetime(2026, 3, 4, tzinfo=UTC)
LOGS = Path(__file__).resolve().parents[1] / "fixtures" / "litellm_spend_logs" / "schema.sql"

CONFIG = """\
organization: Mill
start_date: 2026-03-02
as_of: 2026-03-04T00:00:00Z
reference_dir: reference
sources:
  - name: proxy
    kind: litellm_spend_logs
    database: {url: "${MILL_DATABASE}"}
    columns: {use_case_id: tags.use_case, use_case_instance_id: tags.run}
    constants: {provider_name: mill}
  - name: traces
    kind: langfuse_observations
    path: export.jsonl
    columns: {use_case_id: trace_name}
    constants: {provider_name: mill}
  - {name: contracts, kind: contract_files, path: contracts/*.csv}
  - name: crm
    kind: kpi_query
    database: {url: "${MILL_DATABASE}"}
    query: >
      select closed_at, run, solved from cases
      where closed_at >= :window_start and closed_at < :window_end order by closed_at
    start_date: 2026-03-02
    columns: {scored_at: closed_at, use_case_instance_id: run, score: solved}
    constants: {kpi_name: resolved, use_case_id: support}
  - name: survey
    kind: kpi_api
    api: {url: "${SURVEY_URL}", key: "${SURVEY_KEY}"}
    path: answers
    columns: {scored_at: at, use_case_instance_id: run, score: stars}
    constants: {kpi_name: csat, use_case_id: support, provenance: self_reported}
  - {name: by_hand, kind: manual_scores, path: scores}
"""

# Of 1,000 input tokens 400 were read from a cache; of 300 output tokens 100 were reasoning.
USAGE = {
    "prompt_tokens": 1000, "completion_tokens": 300, "total_tokens": 1300,
    "prompt_tokens_details": {"cached_tokens": 400}, "completion_tokens_details": {"reasoning_tokens": 100},
}  # fmt: skip
OBSERVATIONS = [
    {"id": "span", "trace_id": "run-3", "type": "SPAN", "start_time": "2026-03-02 10:00:00.000000",
     "trace_name": "support", "usage_details": {}},
    # The same usage in keys that exclude one another: 600 + 400 and 200 + 100.
    {"id": "generation", "trace_id": "run-3", "type": "GENERATION", "start_time": "2026-03-02 10:00:01.000000",
     "trace_name": "support", "provided_model_name": "mill-large",
     "usage_details": {"input": 600, "input_cached_tokens": 400, "output": 200, "output_reasoning_tokens": 100,
                       "total": 1300}},
]  # fmt: skip


def _write_company(folder: Path) -> None:
    (folder / "reference").mkdir()
    rows = {
        "seed_kpis": [
            "resolved,support,boolean,count,0.7,up,0,true,Solved", "csat,support,likert5,score,4,up,3,false,Stars",
        ],
        "seed_use_cases": ["support,Support,millers,Help,Head,One question.,2026-01-01"],
    }  # fmt: skip
    for name, header in SEED_HEADERS.items():
        lines = [header, *rows.get(name, [])]
        (folder / "reference" / f"{name}.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    terms = [list_price("input", "2.00"), list_price("cache_read", "0.50"), list_price("output", "10.00")]
    (folder / "contracts").mkdir()
    (folder / "contracts" / "rates.csv").write_text("\n".join([TERMS, *terms]) + "\n", encoding="utf-8")
    (folder / "company.yaml").write_text(CONFIG, encoding="utf-8")
    lines = [json.dumps(item) for item in OBSERVATIONS]
    (folder / "export.jsonl").write_text("\n".join(lines), encoding="utf-8")


def _write_database(postgres: Postgres) -> None:
    calls = [
        ("a", "2026-03-02 09:00", "run-1", {"usage_object": USAGE}, "", "acompletion"),
        ("b", "2026-03-03 09:00", "run-2", {"usage_object": USAGE}, "", "acompletion"),
        # Answered from the proxy's cache, and a tool: neither used a token of a provider.
        ("c", "2026-03-03 09:01", "run-2", {"usage_object": USAGE}, "True", "acompletion"),
        ("d", "2026-03-03 09:02", "run-2", {}, "", "call_mcp_tool"),
    ]
    with postgres.connect() as connection:
        connection.execute(LOGS.read_text(encoding="utf-8"))
        for call_id, at, run, metadata, cache_hit, call_type in calls:
            tags = json.dumps(["use_case:support", f"run:{run}"])
            connection.execute(
                'insert into "LiteLLM_SpendLogs" (request_id, call_type, "startTime", "endTime", model, metadata, '
                "cache_hit, request_tags, prompt_tokens, completion_tokens, total_tokens) "
                "values (%s, %s, %s, %s, 'mill-large', %s, %s, %s, 1000, 300, 1300)",
                [call_id, call_type, at, at, json.dumps(metadata), cache_hit, tags],
            )
        connection.execute("create table cases (run text, closed_at timestamptz, solved boolean)")
        connection.execute(
            "insert into cases values ('run-1', '2026-03-02 12:00+00', true), ('run-2', '2026-03-03 12:00+00', false)"
        )


def _enter_scores(folder: Path) -> None:
    journal = Journal(folder / "scores")
    at = datetime(2026, 3, 2, 15, tzinfo=UTC)
    entry = Entry("resolved", "support", None, "run-3", 0.0, at, "attested", "m.curie", "Called the customer")
    wrong = journal.add(entry, now=at)
    journal.add(replacing(journal.find(wrong), score=1.0, entered_by="m.curie", reason="Misheard"), now=at)
    taken = Entry("csat", "support", None, "run-3", 5.0, at, "attested", "m.curie", "Phone survey")
    entry_id = journal.add(taken, now=at)
    journal.add(replacing(journal.find(entry_id), score=None, entered_by="p.curie", reason="No survey"), now=at)


def _pull_all(folder: Path, postgres: Postgres, server: ApiServer) -> Any:  # noqa: ANN401 - settings
    environ = {"MILL_DATABASE": postgres.url(), "SURVEY_URL": server.url, "SURVEY_KEY": "k3y"}
    settings = load_settings(config_path=folder / "company.yaml", state_dir=folder / "state", environ=environ)
    zone = LandingZone(settings.landing_dir)
    for options in settings.sources:
        results = pull_source(zone, discover()[options.kind], options, now=NOW)
        assert results
        assert all(isinstance(item, Landing) for item in results), results
    return settings


@pytest.fixture(scope="module")
def con(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    folder = tmp_path_factory.mktemp("asked")
    _write_company(folder)
    _enter_scores(folder)
    answers = {"data": [{"at": "2026-03-03T13:00:00Z", "run": "run-2", "stars": 2}]}
    with running_postgres() as postgres, api_server({"/answers": lambda _: reply(answers)}) as server:
        _write_database(postgres)
        settings = _pull_all(folder, postgres, server)
    with open_warehouse(settings) as connection:
        refresh_views(connection, LandingZone(settings.landing_dir), discover().values())
    selected = ["resource_type:seed", "+fct_use_case_instances", "+fct_kpi_scores", "int_value__scores_rejected"]
    nodes = DbtProject(settings).build(
        [*selected, "int_usage__records_not_calls", "int_usage__calls_rejected"],
        exclude=["resource_type:test", "resource_type:unit_test"],
    )
    assert [(node.name, node.message) for node in nodes if not node.is_ok] == []
    with open_warehouse(settings) as connection:
        yield connection


def test_the_same_usage_costs_the_same_whoever_tells_it(con: Any):  # noqa: ANN401 - DuckDB's connection
    found = con.sql("""
        select source_name, call_id, input_tokens, cache_read_tokens, output_tokens, reasoning_tokens, list_cost_usd
        from marts.fct_calls order by call_id
    """).fetchall()
    # 600 x 0.000002 + 400 x 0.0000005 + (200 + 100) x 0.00001 = 0.0012 + 0.0002 + 0.003 = 0.0044.
    cost = Decimal("0.0044")
    assert found == [
        ("proxy", "a", 600, 400, 200, 100, cost), ("proxy", "b", 600, 400, 200, 100, cost),
        ("proxy", "c", 0, 0, 0, 0, Decimal(0)), ("traces", "generation", 600, 400, 200, 100, cost),
    ]  # fmt: skip


def test_every_landed_record_is_a_call_or_is_none(con: Any):  # noqa: ANN401 - DuckDB's connection
    found = con.sql("""
        select source_name, sum(record_count) from intermediate.int_usage__records_not_calls group by all order by all
    """).fetchall()
    assert found == [("proxy", 1), ("traces", 1)]
    assert con.sql("select count(*) from intermediate.int_usage__calls_rejected").fetchall() == [(0,)]


def test_scores_of_every_origin_meet(con: Any):  # noqa: ANN401 - DuckDB's connection
    found = con.sql("""
        select source_name, kpi_name, use_case_instance_id, score, provenance_type
        from marts.fct_kpi_scores order by kpi_name, use_case_instance_id
    """).fetchall()
    assert found == [
        ("survey", "csat", "run-2", Decimal(2), "self_reported"),
        ("crm", "resolved", "run-1", Decimal(1), "measured"),
        ("crm", "resolved", "run-2", Decimal(0), "measured"),
        ("by_hand", "resolved", "run-3", Decimal(1), "attested"),
    ]


def test_what_was_corrected_or_withdrawn_is_kept_with_who_did_it(con: Any):  # noqa: ANN401 - DuckDB's connection
    found = con.sql("""
        select kpi_name, record_index, reject_reason, raw_content
        from intermediate.int_value__scores_rejected order by record_index
    """).fetchall()
    assert [row[:3] for row in found] == [
        ("resolved", 0, "delivered_again"), ("csat", 2, "delivered_again"), ("csat", 3, "missing_score"),
    ]  # fmt: skip
    withdrawal = json.loads(json.loads(found[2][3])["attributes_json"])
    assert (withdrawal["entered_by"], withdrawal["reason"]) == ("p.curie", "No survey")


def test_instances_succeed_by_the_scores_that_count(con: Any):  # noqa: ANN401 - DuckDB's connection
    found = con.sql("""
        select use_case_instance_id, is_success, cost_usd
        from marts.fct_use_case_instances order by use_case_instance_id
    """).fetchall()
    cost = Decimal("0.0044")
    assert found == [("run-1", True, cost), ("run-2", False, cost), ("run-3", True, cost)]
