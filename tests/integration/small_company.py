"""A company of seven days, small enough to be built many times and to be checked by hand.

Six calls a day on two instances at 0.003 USD each, one call on bought capacity, one score per instance, one
invoice. Friday has no calls at all: its capacity costs money nevertheless. The company lives below one folder and
can be copied: inputs are named relative to the configuration file.
"""

import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any
from unittest import mock

import dagster as dg
import duckdb

from dagster_project import runner
from dagster_project.progress import Progress
from dagster_project.runner import RunOutcome
from dagster_project.settings import Settings, load_settings

FIRST_DAY = date(2026, 3, 2)
LAST_DAY = date(2026, 3, 8)
QUIET_DAY = date(2026, 3, 6)
DAYS = tuple(FIRST_DAY + timedelta(days=offset) for offset in range(7))
ALL_DAYS = [(FIRST_DAY, LAST_DAY)]

CALLS_PER_DAY = 7
INPUT_TOKENS = 1_000
OUTPUT_TOKENS = 100

CALLS_HEADER = "at,id,model,use_case,run,tokens_in,tokens_cached,tokens_out,deployment"
SCORES_HEADER = "at,kpi,score,use_case,run"
TERMS_HEADER = (
    "contract_id,provider_name,model_pattern,term_type,unit_kind,usd_per_million,discount_share,"
    "service_tier,valid_from,valid_to,signed_on,is_list,evidence"
)
INVOICE_HEADER = (
    "BilledCost,EffectiveCost,ListCost,ContractedCost,BillingAccountId,BillingCurrency,BillingPeriodStart,"
    "BillingPeriodEnd,ChargePeriodStart,ChargePeriodEnd,ChargeCategory,ChargeDescription,ConsumedQuantity,"
    "ConsumedUnit,InvoiceId,InvoiceIssuerName,ProviderName,ServiceCategory,ServiceName"
)
SEED_HEADERS = {
    "seed_allocation_rules": "rule_id,rule_order,provider_pattern,account_pattern,component_pattern,layer_pattern,"
    "cause_pattern,method_type,driver_name,driver_scope_type,use_case_id,team_name,share,valid_from,valid_to,evidence",
    "seed_budgets": "budget_id,scope_type,scope_id,period_start_date,period_end_date,budget_usd,warning_share,"
    "valid_from,evidence",
    "seed_commitments": "commitment_id,provider_name,commitment_type,region_id,bought_units,unit_name,"
    "usd_per_unit_hour,starts_at,ends_at,evidence",
    "seed_deployments": "deployment_id,commitment_id,provider_name,model_id,allocated_units,"
    "input_tokens_per_minute_per_unit,output_token_weight,starts_at,ends_at,spillover_deployment_id",
    "seed_other_costs": "cost_id,layer_type,description,vendor_name,amount_usd,period_month,use_case_id,team_name,"
    "evidence",
    "seed_exchange_rates": "pricing_currency,valid_from_date,usd_per_currency_unit,evidence",
    "seed_invoice_totals": "provider_name,billing_account_id,invoice_id,billing_currency_code,"
    "total_in_billing_currency,evidence",
    "seed_kpis": "kpi_name,use_case_id,kpi_type,unit,goal,direction,baseline,is_outcome,description",
    "seed_model_aliases": "provider_name,model_name,model_id,evidence",
    "seed_provider_aliases": "reported_provider_name,provider_name,fallback_provider_name,evidence",
    "seed_reconciliation_waivers": "waiver_id,provider_name,billing_account_id,billing_period_start_date,"
    "component_pattern,model_pattern,amount_usd,cause_type,evidence,decided_by,decided_on_date",
    "seed_use_cases": "use_case_id,use_case_name,team_name,product_name,owner,description,valid_from",
    "seed_value_constants": "constant_name,use_case_id,value,unit,valid_from,evidence",
    "seed_value_equations": "equation_id,use_case_id,result,category,basis,provenance,equation,valid_from,valid_to,"
    "version,evidence",
}

CONFIG = """\
organization: Mill
start_date: 2026-03-02
as_of: 2026-03-09T00:00:00Z
reference_dir: reference
sources:
  - name: mill_calls
    kind: table_files
    path: calls/*.csv
    format: csv
    timestamp: {format: iso}
    input_includes_cache: true
    constants: {provider_name: mill, service_tier: standard, team_name: millers}
    columns:
      event_at: at
      call_id: id
      model_name: model
      use_case_id: use_case
      use_case_instance_id: run
      input_tokens: tokens_in
      cache_read_tokens: tokens_cached
      output_tokens: tokens_out
      deployment_id: deployment
  - {name: contracts, kind: contract_files, path: contracts/*.csv}
  - {name: invoices, kind: focus_files, path: invoices/*.csv}
  - name: scores
    kind: kpi_files
    path: scores/*.csv
    format: csv
    columns: {scored_at: at, kpi_name: kpi, score: score, use_case_id: use_case, use_case_instance_id: run}
"""

COMMITMENT = "mill-gpu,mill,gpu_instance,,2,instance,1.50,2026-01-01T00:00:00Z,2027-01-01T00:00:00Z,Offer 7"


@dataclass(frozen=True)
class SmallCompany:
    """The company's files below `root`, and its state directory beside them."""

    root: Path

    @property
    def settings(self) -> Settings:
        """The checked configuration."""
        return load_settings(config_path=self.root / "company.yaml", state_dir=self.root / "state", environ={})

    @classmethod
    def found(cls, root: Path) -> "SmallCompany":
        """Write the company's configuration, reference data and feeds."""
        company = cls(root)
        company.write("company.yaml", CONFIG.splitlines())
        rows = {
            "seed_commitments": [COMMITMENT],
            "seed_deployments": [
                "mill-own-1,mill-gpu,mill,mill-own,1,1000,4,2026-01-01T00:00:00Z,2027-01-01T00:00:00Z,"
            ],
            "seed_kpis": ["resolved,support,boolean,count,0.7,up,0,true,Solved"],
            "seed_use_cases": ["support,Support,millers,Help,Head,One question.,2026-01-01"],
            "seed_value_equations": [
                "support_value,support,money,cost_avoided,realised,measured,resolved * 6.00 * usd,2026-01-01,,1,Agreed"
            ],
        }
        for name, header in SEED_HEADERS.items():
            company.write(f"reference/{name}.csv", [header, *rows.get(name, [])])
        for day in DAYS:
            if day != QUIET_DAY:
                company.write_calls(f"{day}.csv", calls_of(day))
                company.write_scores(f"{day}.csv", scores_of(day))
        company.write_terms("rates.csv", [list_price("input", "2.00"), list_price("output", "10.00")])
        company.write_invoice(
            "2026-03.csv", [invoice_line("0.11", "Tokens", "36"), invoice_line("25.00", "Month", "1")]
        )
        return company

    def copy_to(self, root: Path) -> "SmallCompany":
        """Copy the company with its landing zone, warehouse and serving file; run history and caches stay behind."""
        shutil.copytree(self.root, root, ignore=shutil.ignore_patterns("dagster", "dbt", "*.lock"), symlinks=True)
        return SmallCompany(root)

    def copy_without_state(self, root: Path) -> "SmallCompany":
        """Copy the company's files only: what it would be when built from nothing."""
        shutil.copytree(self.root, root, ignore=shutil.ignore_patterns("state"))
        return SmallCompany(root)

    def write(self, name: str, lines: Iterable[str]) -> Path:
        """Write a file of lines."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        return path

    def write_calls(self, name: str, rows: Sequence[str]) -> Path:
        """Write a file of calls."""
        return self.write(f"calls/{name}", [CALLS_HEADER, *rows])

    def write_scores(self, name: str, rows: Sequence[str]) -> Path:
        """Write a file of scores."""
        return self.write(f"scores/{name}", [SCORES_HEADER, *rows])

    def write_terms(self, name: str, rows: Sequence[str]) -> Path:
        """Write a file of contract terms."""
        return self.write(f"contracts/{name}", [TERMS_HEADER, *rows])

    def write_invoice(self, name: str, rows: Sequence[str]) -> Path:
        """Write an invoice."""
        return self.write(f"invoices/{name}", [INVOICE_HEADER, *rows])

    def write_seed(self, name: str, rows: Sequence[str]) -> Path:
        """Replace the rows of a reference file."""
        return self.write(f"reference/{name}.csv", [SEED_HEADERS[name], *rows])

    def run(self, progress: Progress | None = None) -> RunOutcome:
        """Run the main job in this process, with the run history in memory: on disk it takes longer than the run."""
        with mock.patch.object(runner, "dagster_instance", return_value=dg.DagsterInstance.ephemeral()):
            return runner.run_main_job(self.settings, progress or Progress())

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """Query the published file."""
        return query(self.settings.serving_path, sql)

    def warehouse_rows(self, sql: str) -> list[tuple[Any, ...]]:
        """Query the warehouse."""
        return query(self.settings.warehouse_path, sql)

    def published_bytes(self) -> bytes:
        """The published file as it is on disk."""
        return self.settings.serving_path.read_bytes()


def call(at: str, call_id: str, run: str, *, tokens_in: int = INPUT_TOKENS, tokens_out: int = OUTPUT_TOKENS) -> str:
    """One call priced by the rate card: 1,000 in and 100 out cost 0.002 + 0.001 = 0.003 USD."""
    return f"{at},{call_id},mill-large,support,{run},{tokens_in},0,{tokens_out},"


def calls_of(day: date) -> list[str]:
    """Two instances of three calls at 10:00 and 15:00, and one call on bought capacity at 12:00."""
    rows = [
        call(f"{day}T{hour}:0{index}:00Z", f"{day}-{hour}-{index}", f"run-{day}-{hour}")
        for hour in (10, 15)
        for index in range(3)
    ]
    return [*rows, f"{day}T12:00:00Z,{day}-own,mill-own,support,run-{day}-own,20000,0,2500,mill-own-1"]


def scores_of(day: date) -> list[str]:
    """The morning's instance is solved, the afternoon's is not."""
    return [f"{day}T16:00:00Z,resolved,1,support,run-{day}-10", f"{day}T16:00:00Z,resolved,0,support,run-{day}-15"]


def list_price(unit_kind: str, usd_per_million: str, *, valid_from: str = "2026-01-01", valid_to: str = "") -> str:
    """One price of the company's own rate card."""
    return (
        f"card,mill,mill-large,unit_price,{unit_kind},{usd_per_million},,standard,{valid_from},{valid_to},"
        "2026-01-01,true,Price page"
    )


def invoice_line(billed_cost: str, unit: str, quantity: str, *, currency: str = "USD") -> str:
    """One line of the invoice of March."""
    return (
        f"{billed_cost},{billed_cost},{billed_cost},{billed_cost},mill-account,{currency},2026-03-01T00:00:00Z,"
        f"2026-04-01T00:00:00Z,2026-03-02T00:00:00Z,2026-03-09T00:00:00Z,Usage,{unit} of March,{quantity},{unit},"
        "mill-2026-03,Mill AI,Mill,AI and Machine Learning,Models"
    )


def query(path: Path, sql: str, parameters: dict[str, Any] | None = None) -> list[tuple[Any, ...]]:
    """Query a DuckDB file, read-only."""
    with duckdb.connect(str(path), read_only=True) as con:
        con.execute("set TimeZone = 'UTC'")
        return con.execute(sql, parameters or {}).fetchall()


def differing_tables(one: Path, other: Path, schemas: Sequence[str] = ("intermediate", "marts")) -> dict[str, int]:
    """Compare the stored tables of two DuckDB files row by row, as multisets, both ways.

    Returns:
        Rows that only one of them has, by table; a table that only one has counts as -1. Equal files give {}.
    """
    with duckdb.connect() as con:
        con.execute("set TimeZone = 'UTC'")
        for name, path in (("one", one), ("other", other)):
            con.execute(f"attach '{path}' as {name} (read_only)")
        found = con.execute(
            """
            select schema_name || '.' || table_name as name, count(*)
            from duckdb_tables()
            where database_name in ('one', 'other') and list_contains($schemas, schema_name)
            group by all order by all
            """,
            {"schemas": list(schemas)},
        ).fetchall()
        assert found, "no table was compared"
        differing = {}
        for name, copies in found:
            differing[name] = _differing_rows(con, name) if copies == 2 else -1
    return {name: count for name, count in differing.items() if count}


def _differing_rows(con: duckdb.DuckDBPyConnection, table: str) -> int:
    row = con.execute(
        f"""
        select count(*) from (
            (from one.{table} except all from other.{table})
            union all
            (from other.{table} except all from one.{table})
        )
        """
    ).fetchone()
    assert row is not None
    return int(row[0])
