"""Benchmark (a): landed calls to priced ledger, against the shortest SQL that writes the same costs."""

import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from dagster_project.build import configured_parts
from dagster_project.settings import Settings
from dagster_project.sources import discover
from dagster_project.warehouse.calendar import AFTER_ALL, BEFORE_ALL
from dagster_project.warehouse.connection import open_warehouse
from dagster_project.warehouse.dbt import DbtProject, window_vars
from dagster_project.warehouse.dbt_assets import tags_without_subject
from dagster_project.warehouse.landing import Landing, LandingZone, pull_source
from dagster_project.warehouse.raw import refresh_views
from tests.benchmarks.company import MODEL_COUNT, RATE_PERIODS, Company

FOLDERS = (
    "intermediate.usage", "intermediate.capacity", "intermediate.pricing", "marts.core", "marts.cost",
)  # fmt: skip
CAPACITY_FOLDERS = ("intermediate.capacity", "marts.capacity")
ALLOCATION_FOLDERS = ("intermediate.allocation", "marts.allocation")
_MONEY_FOLDERS = (
    *FOLDERS, "marts.capacity", "intermediate.value", "marts.economics", "intermediate.billing", "marts.billing",
    "intermediate.allocation", "intermediate.reconciliation", "marts.reconciliation", "marts.allocation",
)  # fmt: skip
_MEMORY_LIMIT = "4GB"

_YARDSTICK_SQL = """
create table costs as
select
    calls.source_name,
    calls.call_id,
    calls.event_date,
    cast(
        (calls.input_tokens - calls.cache_read_tokens) * rates.list_input
        + calls.cache_read_tokens * rates.list_cache_read
        + calls.output_tokens * rates.list_output as decimal(38, 15)
    ) as list_cost_usd,
    cast(
        (calls.input_tokens - calls.cache_read_tokens) * rates.contracted_input
        + calls.cache_read_tokens * rates.contracted_cache_read
        + calls.output_tokens * rates.contracted_output as decimal(38, 15)
    ) as contracted_cost_usd
from read_parquet('{landed}/*/*.parquet', hive_partitioning = true) as calls
inner join '{rates}' as rates
    on
        calls.model_name = rates.model_name
        and calls.event_at >= rates.valid_from_at
        and calls.event_at < rates.valid_to_at
"""
# The same question asked of calls that are normalised already: what pricing itself adds to that.
_NORMALISED_YARDSTICK_SQL = """
select
    calls.call_id,
    cast(
        (calls.input_tokens + calls.embedding_tokens) * rates.list_input
        + calls.cache_read_tokens * rates.list_cache_read
        + (calls.output_tokens + calls.reasoning_tokens) * rates.list_output as decimal(38, 15)
    ) as list_cost_usd,
    cast(
        (calls.input_tokens + calls.embedding_tokens) * rates.contracted_input
        + calls.cache_read_tokens * rates.contracted_cache_read
        + (calls.output_tokens + calls.reasoning_tokens) * rates.contracted_output as decimal(38, 15)
    ) as contracted_cost_usd
from intermediate.int_usage__calls as calls
inner join '{rates}' as rates
    on
        calls.model_name = rates.model_name
        and calls.called_at >= rates.valid_from_at
        and calls.called_at < rates.valid_to_at
"""
_TOTALS_SQL = "select count(*), sum(list_cost_usd), sum(contracted_cost_usd), sum(hash(call_id)) from {table}"


@dataclass(frozen=True)
class _LandedCalls:
    """Stands in for the landing zone: the generated files of calls, and what the zone itself holds of the rest."""

    company: Company
    zone: LandingZone

    def file_paths(self, kind: str, entity: str) -> list[Path]:
        if kind == "table_files":
            return sorted(self.company.landed_dir.rglob("*.parquet"))
        return self.zone.file_paths(kind, entity)

    def reject_paths(self, kind: str, entity: str) -> list[Path]:
        return self.zone.reject_paths(kind, entity)

    def all(self, kind: str | None = None) -> list[Landing]:
        return self.zone.all(kind)

    def current(self, kind: str | None = None) -> list[Landing]:
        return self.zone.current(kind)


def generate_landed(
    folder: str,
    *,
    calls: int,
    days: int,
    models: int = MODEL_COUNT,
    rate_periods: int = RATE_PERIODS,
    commitments: int = 0,
) -> Mapping[str, Any]:
    """Make the company, what it bought, and its landed calls."""
    company = Company(Path(folder))
    company.found(days=days, models=models, rate_periods=rate_periods)
    if commitments:
        company.buy(commitments)
    company.land(calls=calls, days=days, models=models, commitments=commitments)
    return {"bytes": sum(path.stat().st_size for path in company.landed_dir.rglob("*.parquet"))}


def price_by_hand(folder: str) -> Mapping[str, Any]:
    """Run the yardstick."""
    company = Company(Path(folder))
    path = company.folder / "yardstick.duckdb"
    path.unlink(missing_ok=True)
    with duckdb.connect(str(path), config={"memory_limit": _MEMORY_LIMIT}) as con:
        con.execute("set TimeZone = 'UTC'")
        con.execute("set preserve_insertion_order = false")
        started = time.perf_counter()
        con.execute(_YARDSTICK_SQL.format(landed=company.landed_dir, rates=company.rates_path))
        con.execute("checkpoint")
        seconds = time.perf_counter() - started
        totals = con.execute(_TOTALS_SQL.format(table="costs")).fetchone()
    return {"seconds": seconds, "totals": totals, "bytes": path.stat().st_size}


def allocate_by_dbt(folder: str) -> Mapping[str, Any]:
    """Build the ledger and what stands on it: capacity, the comparison with the bill, allocation; gates not counted."""
    return price_by_dbt(folder, folders=_MONEY_FOLDERS, is_judged=False)


def price_by_dbt(folder: str, folders: Sequence[str] = FOLDERS, *, is_judged: bool = True) -> Mapping[str, Any]:
    """Build the ledger from the landed files; parsing the project and loading the seeds are not counted."""
    company = Company(Path(folder))
    settings = company.settings()
    project = DbtProject(settings)
    zone = LandingZone(settings.landing_dir)
    connectors = discover()
    terms = next(options for options in settings.sources if options.kind == "contract_files")
    list(pull_source(zone, connectors["contract_files"], terms, now=settings.as_of))
    with open_warehouse(settings) as con:
        refresh_views(con, _LandedCalls(company, zone), connectors.values())
    variables = {**window_vars(BEFORE_ALL, AFTER_ALL), "calendar_start_date": settings.start_date.isoformat()}
    without = [*_without(settings, project), *([] if is_judged else ["resource_type:test"])]
    project.build(["resource_type:seed", "fqn:tokenledger.staging"], exclude=without, variables=variables)
    folder_s: dict[str, float] = {}
    node_s: dict[str, float] = defaultdict(float)
    started = time.perf_counter()
    for name in folders:
        begun = time.perf_counter()
        nodes = project.build([f"fqn:tokenledger.{name}"], exclude=without, variables=variables)
        folder_s[name] = time.perf_counter() - begun
        broken = [f"{node.name}: {node.message}" for node in nodes if not node.is_ok]
        if broken:
            raise RuntimeError(f"{name} did not build: {'; '.join(broken)}")
        for node in nodes:
            node_s["(tests)" if node.resource_type == "test" else node.name] += node.execution_s
    seconds = time.perf_counter() - started
    with open_warehouse(settings) as con:
        totals = con.execute(_TOTALS_SQL.format(table="marts.fct_calls")).fetchone()
    size = settings.warehouse_path.stat().st_size
    return {"seconds": seconds, "totals": totals, "folder_s": folder_s, "node_s": node_s, "bytes": size}


def price_only(folder: str) -> Mapping[str, Any]:
    """Price the landed calls of the built company once more and only add up their costs: nothing is written.

    Returns:
        Seconds and totals of the ledger's own statement, the hand-written one over landed files (`by_hand_*`), and
        of the one over calls that are normalised already (`normalised_by_hand_*`).
    """
    company = Company(Path(folder))
    settings = company.settings()
    variables = {**window_vars(BEFORE_ALL, AFTER_ALL), "calendar_start_date": settings.start_date.isoformat()}
    (node,) = DbtProject(settings).build(
        ["fct_calls"], exclude=["resource_type:test", "resource_type:unit_test"], variables=variables, command="compile"
    )
    by_hand = _YARDSTICK_SQL.format(landed=company.landed_dir, rates=company.rates_path)
    with open_warehouse(settings) as con:
        seconds, totals = _timed(con, node.compiled_sql)
        by_hand_seconds, by_hand_totals = _timed(con, by_hand.removeprefix("\ncreate table costs as\n"))
        normalised_seconds, normalised_totals = _timed(con, _NORMALISED_YARDSTICK_SQL.format(rates=company.rates_path))
    return {
        "seconds": seconds, "totals": totals, "by_hand_seconds": by_hand_seconds, "by_hand_totals": by_hand_totals,
        "normalised_by_hand_seconds": normalised_seconds, "normalised_by_hand_totals": normalised_totals,
    }  # fmt: skip


def _timed(con: duckdb.DuckDBPyConnection, sql: str) -> tuple[float, Any]:
    started = time.perf_counter()
    totals = con.execute(_TOTALS_SQL.format(table=f"({sql})")).fetchone()
    return time.perf_counter() - started, totals


def _without(settings: Settings, project: DbtProject) -> list[str]:
    """Selectors of the tests that judge what the company does not have."""
    tags = tags_without_subject(project.manifest(), configured_parts(settings))
    return ["resource_type:unit_test", *(f"tag:{tag}" for tag in tags)]


def write_again(folder: str) -> Mapping[str, Any]:
    """Write the finished ledger a second time: what its columns cost whoever prices them."""
    settings = Company(Path(folder)).settings()
    with open_warehouse(settings) as con:
        started = time.perf_counter()
        con.execute("create or replace table marts.fct_calls_again as select * from marts.fct_calls")
        con.execute("checkpoint")
        seconds = time.perf_counter() - started
        columns = con.execute("select count(*) from (describe marts.fct_calls)").fetchone()
        con.execute("drop table marts.fct_calls_again")
    return {"seconds": seconds, "column_count": columns[0] if columns else 0}
