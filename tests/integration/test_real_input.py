"""Real traces and a real bill: no token and no digit is lost between the file and the export.

The sums are facts about the public files. Prices are what the vendors asked: gpt-4 in November 2023 30.00 USD per
million tokens in and 60.00 out, kimi-k2-0711-preview 0.60 and 2.50.
"""

import csv
import json
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any
from unittest import mock

import dagster as dg
import duckdb
import orjson
import pytest

from dagster_project import runner
from dagster_project.progress import Progress
from dagster_project.runner import RunOutcome
from dagster_project.settings import Settings, load_settings
from dagster_project.warehouse.landing import LandingZone
from tests.integration.small_company import query

SHARED_DATA = Path(__file__).resolve().parents[3] / "shared" / "data"

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(not SHARED_DATA.is_dir(), reason="the public data are not beside the checkout"),
]

# source: calls, tokens in, tokens out, provider, period of its exports
AZURE = ("azure_trace", 19_366, 22_361_870, 4_088_665)
MOONCAKE = ("mooncake_trace", 12_031, 144_793_823, 4_122_048)
TRACES = [AZURE, MOONCAKE]
BILL_LINES = 1_000
BILLED_USD = Decimal("20.52022672899")
PERIODS = {"azure_inference": "2023-11", "moonshot_serving": "2024-09"}

PER_MILLION = Decimal("0.000001")
GPT_4 = (30 * PER_MILLION, 60 * PER_MILLION)
KIMI_K2 = (Decimal("0.60") * PER_MILLION, Decimal("2.50") * PER_MILLION)


@dataclass(frozen=True)
class RealRun:
    """The configuration of the real input and what its run did."""

    settings: Settings
    outcome: RunOutcome

    def warehouse(self, sql: str) -> list[tuple[Any, ...]]:
        """Query the warehouse."""
        return query(self.settings.warehouse_path, sql)

    def serving(self, sql: str) -> list[tuple[Any, ...]]:
        """Query the published file."""
        return query(self.settings.serving_path, sql)

    def exported(self, table: str, period: str, sql: str) -> list[tuple[Any, ...]]:
        """Query an exported Parquet table of a month, `$path`."""
        path = self.settings.exports_dir / period / f"{table}.parquet"
        with duckdb.connect() as con:
            return con.execute(sql, {"path": str(path)}).fetchall()


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> RealRun:
    settings = load_settings(
        config_path=Path(__file__).with_name("real_input.yaml"),
        state_dir=tmp_path_factory.mktemp("real"),
        environ={"SHARED_DATA": str(SHARED_DATA)},
    )
    # The run history of 322 days is kept in memory; on disk it takes longer than the run.
    with mock.patch.object(runner, "dagster_instance", return_value=dg.DagsterInstance.ephemeral()):
        outcome = runner.run_main_job(settings, Progress())
    return RealRun(settings, outcome)


def test_run_succeeds_and_no_record_is_rejected(real: RealRun):
    assert real.outcome.failures == []
    assert real.outcome.failed_checks == []
    assert real.outcome.is_success
    landings = LandingZone(real.settings.landing_dir).current()
    assert {item.source_name: item.rows_read for item in landings if item.feed != "rates"} == {
        "azure_trace": AZURE[1],
        "mooncake_trace": MOONCAKE[1],
        "sample_bill": BILL_LINES,
    }
    assert sum(item.rows_rejected for item in landings if item.feed != "rates") == 0
    assert real.warehouse("select count(*) from intermediate.int_usage__calls_rejected") == [(0,)]


# ---- tokens, stage by stage


def test_landing_manifest_holds_every_token(real: RealRun):
    landings = LandingZone(real.settings.landing_dir).current("table_files")
    assert [(item.source_name, item.rows_landed, item.tokens_in, item.tokens_out) for item in landings] == TRACES


@pytest.mark.parametrize(
    ("relation", "tokens_in", "tokens_out"),
    [
        ("raw.raw_table_files__calls", "input_tokens", "output_tokens"),
        ("staging.stg_table_files__calls", "reported_input_tokens", "reported_output_tokens"),
        ("staging.stg_table_files__calls", "input_tokens + cache_read_tokens", "output_tokens + reasoning_tokens"),
        ("intermediate.int_usage__calls", "reported_input_tokens", "reported_output_tokens"),
        ("marts.fct_calls", "input_tokens", "output_tokens"),
    ],
)
def test_stage_holds_every_call_and_token(real: RealRun, relation: str, tokens_in: str, tokens_out: str):
    sql = f"select source_name, count(*), sum({tokens_in}), sum({tokens_out}) from {relation} group by 1 order by 1"
    assert real.warehouse(sql) == TRACES


def test_published_calls_and_report_hold_every_call_and_token(real: RealRun):
    calls = (
        "select source_name, count(*), sum(input_tokens), sum(output_tokens) from marts.fct_calls group by 1 order by 1"
    )
    assert real.serving(calls) == TRACES
    report = """
        select call_count, reported_input_tokens, reported_output_tokens
        from marts.rpt_daily_spend order by event_date
    """
    assert real.warehouse(report) == real.serving(report) == [AZURE[1:], MOONCAKE[1:]]


@pytest.mark.parametrize(("team", "trace"), [("azure_inference", AZURE), ("moonshot_serving", MOONCAKE)])
def test_export_holds_every_call_and_token(real: RealRun, team: str, trace: tuple[Any, ...]):
    sql = """
        select team_name, sum(call_count), sum(reported_input_tokens), sum(reported_output_tokens)
        from read_parquet($path) group by 1
    """
    assert real.exported("daily_spend", PERIODS[team], sql) == [(team, *trace[1:])]
    with (real.settings.exports_dir / PERIODS[team] / "daily_spend.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert sum(int(row["reported_input_tokens"]) for row in rows) == trace[2]
    assert sum(int(row["reported_output_tokens"]) for row in rows) == trace[3]


# ---- the bill, stage by stage


def test_landing_manifest_holds_the_bill_to_its_last_digit(real: RealRun):
    [landing] = LandingZone(real.settings.landing_dir).current("focus_files")
    assert landing.rows_landed == BILL_LINES
    assert Decimal(landing.amounts["billed_cost"]) == BILLED_USD


@pytest.mark.parametrize(
    ("relation", "column"),
    [
        ("raw.raw_focus_files__charges", "billed_cost"),
        ("staging.stg_focus_files__charges", "billed_cost_in_billing_currency"),
        ("intermediate.int_billing__lines_classified", "billed_cost_in_billing_currency"),
        ("marts.fct_invoice_lines", "billed_cost_usd"),
    ],
)
def test_stage_holds_the_bill_to_its_last_digit(real: RealRun, relation: str, column: str):
    assert real.warehouse(f"select count(*), sum({column}) from {relation}") == [(BILL_LINES, BILLED_USD)]


def test_published_bill_is_complete_to_its_last_digit(real: RealRun):
    lines = "select count(*), sum(billed_cost_usd) from marts.fct_invoice_lines"
    assert real.serving(lines) == [(BILL_LINES, BILLED_USD)]
    parts = "select sum(line_count), sum(billed_cost_usd) from marts.rpt_reconciliation"
    assert real.serving(parts) == [(BILL_LINES, BILLED_USD)]


def test_exported_bill_is_complete_to_its_last_digit(real: RealRun):
    sql = "select count(*), sum(billed_cost_usd) from read_parquet($path)"
    [(lines, billed), (more_lines, more_billed)] = [
        real.exported("invoice_lines", period, sql)[0] for period in ("2024-09", "2024-10")
    ]
    assert (lines, more_lines) == (999, 1)
    assert billed + more_billed == BILLED_USD
    totals = Decimal(0)
    for period in ("2024-09", "2024-10"):
        manifest = json.loads((real.settings.exports_dir / period / "manifest.json").read_text(encoding="utf-8"))
        [file] = [item for item in manifest["files"] if item["name"] == "invoice_lines.csv"]
        totals += Decimal(file["column_totals_usd"]["billed_cost_usd"])
    assert totals == BILLED_USD


# ---- cost


def _azure_cost() -> Decimal:
    """Price the trace line by line, straight from the file."""
    path = SHARED_DATA / "azure_llm_2023" / "AzureLLMInferenceTrace_conv.csv"
    with path.open(encoding="utf-8", newline="") as stream:
        return sum(
            (
                Decimal(row["ContextTokens"]) * GPT_4[0] + Decimal(row["GeneratedTokens"]) * GPT_4[1]
                for row in csv.DictReader(stream)
            ),
            Decimal(0),
        )


def _mooncake_cost() -> Decimal:
    with (SHARED_DATA / "mooncake" / "conversation_trace.jsonl").open("rb") as stream:
        requests = [orjson.loads(line) for line in stream]
    return sum(
        (item["input_length"] * KIMI_K2[0] + item["output_length"] * KIMI_K2[1] for item in requests), Decimal(0)
    )


def test_cost_equals_an_independent_computation_at_every_stage(real: RealRun):
    expected = [_azure_cost(), _mooncake_cost()]
    assert expected == [Decimal("916.176"), Decimal("97.1814138")]
    for sql in (
        "select sum(list_cost_usd) from marts.fct_calls group by source_name order by source_name",
        "select sum(effective_cost_usd) from marts.fct_calls group by source_name order by source_name",
        "select list_cost_usd from marts.rpt_daily_spend order by event_date",
        "select cost_usd from marts.rpt_use_case_leaderboard order by use_case_id",
    ):
        assert [row[0] for row in real.serving(sql)] == expected
    exported = [
        real.exported("daily_spend", PERIODS[team], "select sum(list_cost_usd) from read_parquet($path)")[0][0]
        for team in PERIODS
    ]
    assert exported == expected


def test_every_call_is_priced_and_is_an_instance_of_its_use_case(real: RealRun):
    assert real.serving("select pricing_status_type, count(*) from marts.fct_calls group by 1") == [
        ("priced", AZURE[1] + MOONCAKE[1])
    ]
    assert dict(real.serving("select use_case_id, instance_count from marts.rpt_use_case_leaderboard")) == {
        "azure_conversations": AZURE[1],
        "mooncake_conversations": MOONCAKE[1],
    }
