"""Finance exports: per month a directory with Parquet, CSV, one workbook and a manifest that proves them.

What is exported is data (`EXPORT_TABLES`); writing the files so that nobody sees half a directory belongs
here. The source is the serving file, never the warehouse: finance gets what has passed its gates.

Layout: `<exports>/<period>` is a relative symbolic link to `.versions/<period>/<content>`. A version is built
under a temporary name, made durable, renamed, and only then does one rename move the link; who reads through
the link sees the old version or the new one. POSIX cannot replace a full directory by another in one step,
hence the link.

Text cells: in CSV, a text that a spreadsheet would take for a formula (it begins with = + - @, tab, carriage
return or line feed) gets a leading apostrophe; numbers and dates are not touched. In the workbook text is
written as text, which never runs. Parquet holds every value exactly as published.
"""

import contextlib
import json
import re
import shutil
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

import duckdb
from filelock import FileLock

from dagster_project.errors import ConfigurationError
from dagster_project.publish import _workbook
from dagster_project.publish._files import sha256_of, sync_directory, sync_file

MANIFEST_NAME = "manifest.json"
STATEMENTS_DIR_NAME = "statements"

_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n")
_PERIOD = re.compile(r"(\d{4})-(0[1-9]|1[0-2])")
_FORMATS: dict[str, Literal["parquet", "csv", "xlsx"]] = {".parquet": "parquet", ".csv": "csv", ".xlsx": "xlsx"}
_NO_OWNER_NAME = "no_team"
_STATEMENT_NAME_LENGTH = 80
_BATCH_ROWS = 10_000
_LOCK_TIMEOUT_S = 600


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportTable:
    """One exported table, as data.

    Attributes:
        name: File name without ending, and the workbook's sheet (at most 31 characters).
        description: What it is; its first sentence is the grain.
        sql: Query over the serving file, in its final order; may name `$start_date` and `$end_date`, the
            half-open period.
        depends_on_other_months: Whether its rows may change although no day of the month was built again: an
            instance began in it, or a bill is of it, whose calls or charges are of another month.
        folder: Folder below the period's directory. What stands in one is for programs, and no sheet of the workbook.
        left_out_sql: Query over the serving file of what the table cannot hold: columns `reason_type`,
            `provider_name`, `row_count` and `tokens`. The manifest lists its rows.
        statement_column: Column that says whose a row is; each value's rows are also a sheet of its statement.
    """

    name: str
    description: str
    sql: str
    depends_on_other_months: bool = False
    folder: str = ""
    left_out_sql: str = ""
    statement_column: str | None = None

    @property
    def path(self) -> str:
        """Path below the period's directory, without ending."""
        return f"{self.folder}/{self.name}" if self.folder else self.name


FOCUS_TABLES: tuple[ExportTable, ...] = (
    ExportTable(
        name="cost_and_usage",
        folder="focus",
        depends_on_other_months=True,
        description="One row per charge of the month's billing periods, in FOCUS 1.4's Cost and Usage.",
        sql="""
            select * from marts.focus_cost_and_usage
            where BillingPeriodStart >= $start_date and BillingPeriodStart < $end_date
            order by BillingPeriodStart, InvoiceIssuerName, ChargePeriodStart, x_ChargeKey
        """,
        left_out_sql="""
            select
                'unpriced_usage' as reason_type, provider_name,
                cast(sum(unpriced_call_count) as bigint) as row_count,
                cast(
                    coalesce(sum(unpriced_input_tokens), 0) + coalesce(sum(unpriced_output_tokens), 0) as bigint
                ) as tokens
            from marts.rpt_daily_spend
            where event_date >= $start_date and event_date < $end_date and unpriced_call_count > 0
            group by provider_name
            union all
            select 'no_exchange_rate', provider_name, count(*), null
            from marts.fct_invoice_lines
            where
                billing_period_start_date >= $start_date and billing_period_start_date < $end_date
                and billed_cost_usd is null
            group by provider_name
            order by reason_type, provider_name
        """,
    ),
    ExportTable(
        name="contract_commitment",
        folder="focus",
        description="One row per commitment that the month falls into, in FOCUS 1.4's Contract Commitment.",
        sql="""
            select * from marts.focus_contract_commitment
            where ContractCommitmentPeriodStart < $end_date and ContractCommitmentPeriodEnd > $start_date
            order by ContractCommitmentId
        """,
    ),
    ExportTable(
        name="billing_period",
        folder="focus",
        depends_on_other_months=True,
        description="One row per issuer and billing period that begins in the month, in FOCUS 1.4's Billing Period.",
        sql="""
            select * from marts.focus_billing_period
            where BillingPeriodStart >= $start_date and BillingPeriodStart < $end_date
            order by BillingPeriodStart, InvoiceIssuerName
        """,
    ),
    ExportTable(
        name="invoice_detail",
        folder="focus",
        depends_on_other_months=True,
        description="One row per invoice line of the month's billing periods, in FOCUS 1.4's Invoice Detail.",
        sql="""
            select * from marts.focus_invoice_detail
            where BillingPeriodStart >= $start_date and BillingPeriodStart < $end_date
            order by BillingPeriodStart, InvoiceIssuerName, InvoiceId, InvoiceDetailId
        """,
    ),
)

EXPORT_TABLES: tuple[ExportTable, ...] = (
    ExportTable(
        name="unit_economics",
        depends_on_other_months=True,
        description="One row per use case, version and day: cost, success and value.",
        sql="""
            select
                started_date, use_case_id, use_case_version,
                instance_count, costed_instance_count, uncosted_instance_count, judged_instance_count,
                success_count, costed_success_count, valued_instance_count, costed_valued_instance_count,
                unpriced_call_count, cost_usd, cost_usd_per_costed_instance, cost_usd_per_costed_success,
                p50_cost_usd, p95_cost_usd, value_usd, margin_usd, roi_share, time_saved_s
            from marts.rpt_use_case_unit_economics
            where started_date >= $start_date and started_date < $end_date
            order by started_date, use_case_id, use_case_version
        """,
    ),
    ExportTable(
        name="leaderboard",
        description="One row per use case, ranked by margin over the whole ledger up to the as-of instant.",
        sql="""
            select
                margin_rank, use_case_id, use_case_name, team_name,
                instance_count, costed_instance_count, uncosted_instance_count, judged_instance_count,
                success_count, success_share, costed_success_count, valued_instance_count,
                costed_valued_instance_count, unpriced_call_count, cost_usd, cost_usd_per_costed_instance,
                cost_usd_per_costed_success,
                value_usd, margin_usd, roi_share, first_started_date, last_started_date
            from marts.rpt_use_case_leaderboard
            order by margin_rank
        """,
    ),
    ExportTable(
        name="billing_periods",
        depends_on_other_months=True,
        description="One row per account and billing period that begins in the month: how far its bill is explained.",
        sql="""
            select
                billing_period_start_date, billing_period_end_date, provider_name, billing_account_id,
                document_type, status_type, not_final_reason_type, line_count, unconverted_line_count, call_count,
                unpriced_call_count, invoice_usd, ledger_usd, explained_usd, unexplained_usd, unexplained_share
            from marts.rpt_billing_periods
            where billing_period_start_date >= $start_date and billing_period_start_date < $end_date
            order by billing_period_start_date, provider_name, billing_account_id
        """,
    ),
    ExportTable(
        name="reconciliation",
        depends_on_other_months=True,
        description="One row per step from the calls to a bill whose billing period begins in the month.",
        sql="""
            select
                billing_period_start_date, provider_name, billing_account_id, layer_type, component_name,
                driver_type, model_id, service_tier, unit_kind_type, commitment_id, tagged_use_case_id,
                tagged_team_name, status_type, cause_type, line_count, quantity_units, usd_per_unit,
                compared_cost_usd, billed_cost_usd, difference_usd, evidence
            from marts.rpt_reconciliation
            where billing_period_start_date >= $start_date and billing_period_start_date < $end_date
            order by
                billing_period_start_date, provider_name, billing_account_id, layer_type, driver_type,
                component_name, model_id, service_tier, unit_kind_type, commitment_id, tagged_use_case_id,
                tagged_team_name, bom_layer_type, cause_type, evidence
        """,
    ),
    ExportTable(
        name="daily_reconciliation",
        depends_on_other_months=True,
        description="One row per day and step from the calls to a provider's usage report, and on to its cost report.",
        sql="""
            select
                event_date, provider_name, billing_account_id, layer_type, component_name, model_id, service_tier,
                unit_kind_type, status_type, cause_type, line_count, quantity_units, usd_per_unit, compared_cost_usd,
                reported_cost_usd, difference_usd
            from marts.rpt_daily_reconciliation
            where event_date >= $start_date and event_date < $end_date
            order by
                event_date, provider_name, billing_account_id, layer_type, component_name, model_id, service_tier,
                unit_kind_type, cause_type
        """,
    ),
    ExportTable(
        name="showback",
        depends_on_other_months=True,
        statement_column="team_name",
        description="One row per team, product, use case, environment, customer, provider and layer of the month.",
        sql="""
            select
                period_month_date, team_name, product_name, use_case_id, environment_name, customer_id, provider_name,
                layer_type, call_count, unpriced_call_count, direct_cost_usd, charged_cost_usd, cost_usd
            from marts.rpt_showback
            where period_month_date >= $start_date and period_month_date < $end_date
            order by
                team_name, product_name, use_case_id, environment_name, customer_id, provider_name, layer_type
        """,
    ),
    ExportTable(
        name="use_case_tco",
        depends_on_other_months=True,
        description="One row per use case and layer of the bill of materials: total cost of ownership of the month.",
        sql="""
            select
                period_month_date, use_case_id, layer_index, layer_type, cost_usd, layer_share, tco_usd, call_count,
                unpriced_call_count, call_share, instance_count, judged_instance_count, success_count,
                tco_usd_per_instance, tco_usd_per_success
            from marts.rpt_use_case_tco
            where period_month_date >= $start_date and period_month_date < $end_date
            order by use_case_id, layer_index
        """,
    ),
    ExportTable(
        name="budget_status",
        depends_on_other_months=True,
        statement_column="team_name",
        description="One row per budget whose period holds days of the month: amount, spent, forecast and state.",
        sql="""
            select
                budget_id, scope_type, scope_id, case scope_type when 'team' then scope_id end as team_name,
                period_start_date, period_end_date, amount_set_date, budget_usd, warning_share, elapsed_day_count,
                remaining_day_count, direct_cost_usd, charged_cost_usd, spent_usd, left_usd, spent_share,
                burn_usd_per_day, p10_forecast_usd, p50_forecast_usd, p90_forecast_usd, threshold_status_type,
                unpriced_call_count
            from marts.rpt_budget_status
            where period_start_date < $end_date and period_end_date > $start_date
            order by budget_id
        """,
    ),
    ExportTable(
        name="capacity_utilization",
        description="One row per commitment, allocation and day: capacity bought, used and idle.",
        sql="""
            select
                event_date, provider_name, commitment_id, allocation_type, deployment_id,
                capacity_tokens, used_tokens, spillover_tokens, call_count, spillover_call_count,
                cost_usd, used_cost_usd, idle_cost_usd, unallocated_cost_usd,
                utilization_share, max_utilization_share
            from marts.rpt_capacity_utilization
            where event_date >= $start_date and event_date < $end_date
            order by event_date, provider_name, commitment_id, allocation_type, deployment_id
        """,
    ),
    ExportTable(
        name="daily_spend",
        description="One row per day, team, provider and model: calls, tokens, costs, unpriced calls.",
        # A sum of counts is wider than Parquet's integers, hence the casts.
        sql="""
            select
                event_date, team_name, provider_name, model_name,
                cast(sum(call_count) as bigint) as call_count,
                cast(sum(failed_call_count) as bigint) as failed_call_count,
                cast(sum(unpriced_call_count) as bigint) as unpriced_call_count,
                cast(sum(reported_input_tokens) as bigint) as reported_input_tokens,
                cast(sum(reported_output_tokens) as bigint) as reported_output_tokens,
                sum(list_cost_usd) as list_cost_usd,
                sum(contracted_cost_usd) as contracted_cost_usd,
                sum(effective_cost_usd) as effective_cost_usd
            from marts.rpt_daily_spend
            where event_date >= $start_date and event_date < $end_date
            group by event_date, team_name, provider_name, model_name
            order by event_date, team_name, provider_name, model_name
        """,
    ),
    ExportTable(
        name="invoice_lines",
        depends_on_other_months=True,
        description="One row per charge line of an invoice whose billing period begins in the month.",
        sql="""
            select
                billing_period_start_date, provider_name, invoice_issuer_name, billing_account_id, invoice_id,
                invoice_line_id, version_index, charge_type, charge_class_type, charge_description, driver_type,
                service_category_type, service_name, sku_id, sku_meter_name, region_id, resource_id,
                consumed_quantity_units, consumed_unit_name, billing_currency_code,
                billed_cost_usd, effective_cost_usd, unconverted_reason_type,
                charge_period_start_at, charge_period_end_at
            from marts.fct_invoice_lines
            where billing_period_start_date >= $start_date and billing_period_start_date < $end_date
            order by billing_period_start_date, provider_name, invoice_id, invoice_line_id
        """,
    ),
    *FOCUS_TABLES,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportFile:
    """One written file and what proves it.

    Attributes:
        name: Path in the period's directory.
        file_format: `parquet`, `csv` or `xlsx`.
        tables: The exported tables that it holds.
        row_count: Data rows, without headers.
        file_bytes: Size.
        sha256: Of the content.
        column_totals_usd: Exact sum of each `_usd` column, and of FOCUS's costs, as a decimal string; null for a
            column without a value. Empty for the workbook, whose sheets hold the rows of the Parquet files; of a
            statement the totals of its first table.
    """

    name: str
    file_format: Literal["parquet", "csv", "xlsx"]
    tables: tuple[str, ...]
    row_count: int
    file_bytes: int
    sha256: str
    column_totals_usd: dict[str, str | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """What an exported table cannot hold, by reason and provider.

    Attributes:
        table: The exported table.
        reason_type: Why: unpriced_usage (call attempts without a price, which have no cost), no_exchange_rate
            (invoice lines without an amount in USD).
        provider_name: Provider; null when unknown.
        row_count: Call attempts or invoice lines.
        tokens: Tokens of the call attempts; null for invoice lines.
    """

    table: str
    reason_type: str
    provider_name: str | None
    row_count: int
    tokens: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportManifest:
    """What an export wrote; `manifest.json` is this, as JSON."""

    period: str
    period_start_date: date
    period_end_date: date
    built_at: datetime
    as_of: datetime
    serving_built_at: datetime
    tokenledger_version: str
    gates_passed_count: int
    gates_failed_names: tuple[str, ...]
    files: tuple[ExportFile, ...]
    left_out: tuple[LeftOut, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Publication:
    as_of: datetime
    built_at: datetime
    version: str
    gates_passed_count: int
    gates_failed_names: tuple[str, ...]


def period_bounds(period: str) -> tuple[date, date]:
    """First day of a month `YYYY-MM` and first day of the next.

    Raises:
        ConfigurationError: The text is not a month.
    """
    match = _PERIOD.fullmatch(period)
    if match is None or match[1] == "0000":
        raise ConfigurationError(f"Read the export period {period!r}; expected a month such as 2026-09. Name one.")
    year, month = int(match[1]), int(match[2])
    return date(year, month, 1), date(year + month // 12, month % 12 + 1, 1)


def exported_periods(exports_dir: Path) -> list[str]:
    """Give the months, `YYYY-MM`, that have an export."""
    return sorted(
        path.parent.name for path in exports_dir.glob(f"*/{MANIFEST_NAME}") if _PERIOD.fullmatch(path.parent.name)
    )


def differs_from_export(
    con: duckdb.DuckDBPyConnection, exports_dir: Path, period: str, tables: Sequence[ExportTable] = EXPORT_TABLES
) -> bool:
    """Compare a month's export with what is published, where another month's days may have changed it.

    Args:
        con: The serving file.
        exports_dir: The exports.
        period: A month that has an export.
        tables: What is exported.

    Returns:
        Whether a table that depends on other months has other rows or columns than its exported file, or none.
    """
    bounds = dict(zip(("start_date", "end_date"), period_bounds(period), strict=True))
    for table in tables:
        if not table.depends_on_other_months:
            continue
        exported = f"from read_parquet({_literal(exports_dir / period / f'{table.path}.parquet')})"
        try:
            found = con.execute(
                f"""
                with published as materialized ({table.sql})
                select exists (from published except all {exported}) or exists ({exported} except all from published)
                """,
                bounds,
            ).fetchone()
        except duckdb.Error:
            # The file is missing or has other columns: exporting anew mends it, or says what is wrong.
            return True
        if found is None or found[0]:
            return True
    return False


def export_period(
    *,
    serving_path: Path,
    exports_dir: Path,
    period: str,
    built_at: datetime,
    tables: Sequence[ExportTable] = EXPORT_TABLES,
    kept_versions: int = 3,
) -> ExportManifest:
    """Write a month's export and put it in the place of the former one.

    All formats of a table are made from its one Parquet file, so they hold the same rows. Killed at any
    point, the former export stays; the next export clears what was left.

    Args:
        serving_path: The published file; opened read-only.
        exports_dir: Holds one entry per period; created.
        period: The month, `YYYY-MM`, in UTC.
        built_at: The instant of the export, with time zone. It is written into the files: the same
            publication and instant give the same bytes.
        tables: What to export.
        kept_versions: How many versions of a period stay on disk, the current one included.

    Returns:
        What was written.

    Raises:
        ConfigurationError: The period is not a month, the serving file is missing or not a publication, or a
            table lacks a column that is exported.
        ValueError: built_at has no time zone, or kept_versions is below one.
    """
    start_date, end_date = period_bounds(period)
    if built_at.tzinfo is None:
        raise ValueError(f"built_at {built_at.isoformat()} has no time zone; exports are dated in UTC")
    if kept_versions < 1:
        raise ValueError(f"kept_versions is {kept_versions}; the current version is one")
    exports_dir.mkdir(parents=True, exist_ok=True)
    with FileLock(exports_dir / ".lock", timeout=_LOCK_TIMEOUT_S):
        versions_dir = exports_dir / ".versions" / period
        versions_dir.mkdir(parents=True, exist_ok=True)
        _clear(versions_dir, "building-*")
        building = versions_dir / f"building-{uuid.uuid4().hex}"
        building.mkdir()
        try:
            with _open_serving(serving_path) as con:
                con.execute("set timezone = 'UTC'")
                publication = _publication(con, serving_path)
                files = _write_tables(con, tables, building, start_date=start_date, end_date=end_date)
                left_out = _left_out(con, tables, start_date=start_date, end_date=end_date)
            cover = _cover(period, built_at, publication)
            manifest = ExportManifest(
                period=period,
                period_start_date=start_date,
                period_end_date=end_date,
                built_at=built_at.astimezone(UTC),
                as_of=publication.as_of,
                serving_built_at=publication.built_at,
                tokenledger_version=publication.version,
                gates_passed_count=publication.gates_passed_count,
                gates_failed_names=publication.gates_failed_names,
                files=(
                    *files,
                    _write_workbook(building, tables, cover, built_at),
                    *_write_statements(building, tables, cover, built_at),
                ),
                left_out=left_out,
            )
            _write_manifest(building, manifest)
            _publish(building, exports_dir, period)
        finally:
            _clear(versions_dir, "building-*")
        _prune(versions_dir, (exports_dir / period).resolve(), kept_versions)
    return manifest


@contextlib.contextmanager
def _open_serving(serving_path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    tried = f"Opened the serving file {serving_path} read-only to export from it"
    if not serving_path.is_file():
        raise ConfigurationError(f"{tried}; there is no such file. Publish first.")
    try:
        con = duckdb.connect(str(serving_path), read_only=True)
    except duckdb.Error as error:
        raise ConfigurationError(f"{tried}; DuckDB answered: {error}. Let nobody hold it open for writing.") from error
    with contextlib.closing(con):
        yield con


def _publication(con: duckdb.DuckDBPyConnection, serving_path: Path) -> _Publication:
    cause: duckdb.Error | None = None
    try:
        dated = con.execute("select as_of, built_at, tokenledger_version from ops.publication limit 1").fetchone()
        # A gate may have been judged more than once; its last judgement counts.
        judged = con.execute(
            """
            select gate_name, is_passed from ops.gate_results
            qualify row_number() over (partition by gate_name order by checked_at desc, is_passed) = 1
            order by gate_name
            """
        ).fetchall()
    except duckdb.CatalogException as error:
        dated, judged, cause = None, [], error
    if dated is None:
        raise ConfigurationError(
            f"Read ops.publication and ops.gate_results of {serving_path}; they are missing or empty, so the "
            "file is not a publication. Publish first."
        ) from cause
    return _Publication(
        as_of=dated[0].astimezone(UTC),
        built_at=dated[1].astimezone(UTC),
        version=dated[2],
        gates_passed_count=sum(1 for _, passed in judged if passed),
        gates_failed_names=tuple(name for name, passed in judged if not passed),
    )


def _write_tables(
    con: duckdb.DuckDBPyConnection,
    tables: Sequence[ExportTable],
    directory: Path,
    *,
    start_date: date,
    end_date: date,
) -> list[ExportFile]:
    files = []
    for table in tables:
        parquet_path = directory / f"{table.path}.parquet"
        parquet_path.parent.mkdir(exist_ok=True)
        _write_parquet(con, table, parquet_path, start_date=start_date, end_date=end_date)
        content = _Content(con, parquet_path)
        csv_path = directory / f"{table.path}.csv"
        _write_csv(content, csv_path)
        totals = content.totals_usd()
        files.append(_file(directory, f"{table.path}.parquet", (table.name,), content.row_count, totals))
        files.append(_file(directory, f"{table.path}.csv", (table.name,), content.row_count, totals))
    return files


def _write_parquet(
    con: duckdb.DuckDBPyConnection, table: ExportTable, path: Path, *, start_date: date, end_date: date
) -> None:
    bounds: dict[str, object] = {"start_date": start_date, "end_date": end_date}
    statement = con.extract_statements(table.sql)[0]
    named = {name: value for name, value in bounds.items() if name in statement.named_parameters}
    try:
        # COPY takes no parameters; a temporary table does, and keeps the query's order.
        con.execute(f"create or replace temporary table exported as {table.sql}", named)
    except (duckdb.BinderException, duckdb.CatalogException) as error:
        raise ConfigurationError(
            f"Exported {table.name} from the serving file; DuckDB answered: {error}. The export's query and "
            "the published marts differ: change one of them."
        ) from error
    con.execute(f"copy exported to {_literal(path)} (format parquet, compression zstd)")
    con.execute("drop table exported")


def _left_out(
    con: duckdb.DuckDBPyConnection, tables: Sequence[ExportTable], *, start_date: date, end_date: date
) -> tuple[LeftOut, ...]:
    bounds = {"start_date": start_date, "end_date": end_date}
    return tuple(
        LeftOut(table=table.name, reason_type=reason, provider_name=provider_name, row_count=row_count, tokens=tokens)
        for table in tables
        if table.left_out_sql
        for reason, provider_name, row_count, tokens in con.execute(table.left_out_sql, bounds).fetchall()
    )


class _Content:
    """One exported table, read back from its Parquet file, from which every other format is made."""

    def __init__(self, con: duckdb.DuckDBPyConnection, path: Path, condition: str = "true") -> None:
        self._con = con
        self._source = f"(select * from read_parquet({_literal(path)}) where {condition})"
        described = con.execute(f"describe select * from {self._source}").fetchall()
        self._types = {str(row[0]): str(row[1]) for row in described}
        counted = con.execute(f"select count(*) from {self._source}").fetchone()
        self.row_count = int(counted[0]) if counted else 0

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(self._types)

    def rows(self) -> Iterator[tuple[Any, ...]]:
        cursor = self._con.cursor()
        cursor.execute("set timezone = 'UTC'")
        cursor.execute(f"select * from {self._source}")
        while rows := cursor.fetchmany(_BATCH_ROWS):
            yield from rows

    def totals_usd(self) -> dict[str, str | None]:
        # A figure that is not money to the last digit (a percentile) may be a double; its control total is
        # taken of the values to 12 decimals, which does not depend on their order.
        sums = {
            name: f'sum("{name}")' if kind.startswith("DECIMAL") else f'sum(cast("{name}" as decimal(38, 12)))'
            for name, kind in self._types.items()
            if name.endswith(("_usd", "Cost"))
        }
        if not sums:
            return {}
        totals = self._con.execute(f"select {', '.join(sums.values())} from {self._source}").fetchone() or ()
        return {name: None if total is None else format(total, "f") for name, total in zip(sums, totals, strict=True)}


def _literal(path: Path) -> str:
    return _text_literal(str(path))


def _text_literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _write_csv(content: _Content, path: Path) -> None:
    """Write UTF-8 CSV after RFC 4180: comma, CRLF, quotes doubled; null is empty, no text is two quotes."""
    with path.open("w", encoding="utf-8", newline="") as file:
        file.write(",".join(_csv_cell(name) for name in content.columns) + "\r\n")
        for row in content.rows():
            file.write(",".join(_csv_cell(value) for value in row) + "\r\n")


def _csv_cell(value: object) -> str:
    if isinstance(value, str):
        text = neutralized(value)
        is_quoted = text == "" or any(mark in text for mark in ',"\r\n')
        return '"' + text.replace('"', '""') + '"' if is_quoted else text
    return _plain_cell(value)


def _plain_cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, datetime):
        return _instant_text(value)
    if isinstance(value, date | int | float):
        return str(value)
    return _csv_cell(str(value))


def neutralized(text: str) -> str:
    """A text that no spreadsheet takes for a formula: with a leading apostrophe when it begins like one."""
    return f"'{text}" if text.startswith(_FORMULA_STARTS) else text


def _instant_text(instant: datetime) -> str:
    if instant.tzinfo is None:
        return instant.isoformat()
    return instant.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _cover(period: str, built_at: datetime, publication: _Publication) -> list[tuple[str, str]]:
    judged_count = publication.gates_passed_count + len(publication.gates_failed_names)
    failed = ", ".join(publication.gates_failed_names) or "none"
    return [
        ("Period", f"{period} (UTC)"),
        ("Exported at", _instant_text(built_at)),
        ("Data as of", _instant_text(publication.as_of)),
        ("Published at", _instant_text(publication.built_at)),
        ("tokenledger version", publication.version),
        ("Gates passed", f"{publication.gates_passed_count} of {judged_count}"),
        ("Gates that warn", failed),
        (
            "Exact values",
            "Excel holds 15 significant digits. Exact values are in the Parquet and CSV files beside it.",
        ),
        ("Empty cells", "Unknown, not zero."),
    ]


def _write_workbook(
    directory: Path,
    tables: Sequence[ExportTable],
    cover: Sequence[tuple[str, str]],
    built_at: datetime,
) -> ExportFile:
    path = directory / "tokenledger.xlsx"
    sheet_tables = [table for table in tables if not table.folder]
    with contextlib.closing(duckdb.connect()) as con:
        contents = {table: _Content(con, directory / f"{table.path}.parquet") for table in sheet_tables}
        sheets = [
            _workbook.Sheet(
                name=table.name,
                description=table.description,
                columns=content.columns,
                row_count=content.row_count,
                rows=content.rows(),
            )
            for table, content in contents.items()
        ]
        _workbook.write(path, sheets, cover=cover, created_at=built_at)
    row_count = sum(content.row_count for content in contents.values())
    return _file(directory, path.name, tuple(table.name for table in sheet_tables), row_count, {})


def _write_statements(
    directory: Path,
    tables: Sequence[ExportTable],
    cover: Sequence[tuple[str, str]],
    built_at: datetime,
) -> list[ExportFile]:
    """Write a workbook per value of the first statement table's column: each holds its own rows and nobody else's."""
    stated = [(table, table.statement_column) for table in tables if table.statement_column]
    if not stated:
        return []
    folder = directory / STATEMENTS_DIR_NAME
    files = []
    with contextlib.closing(duckdb.connect()) as con:
        first, first_column = stated[0]
        source = f"read_parquet({_literal(directory / f'{first.name}.parquet')})"
        owners = con.execute(f'select distinct "{first_column}" from {source} order by 1 nulls last').fetchall()
        if not owners:
            return []
        folder.mkdir()
        names = statement_names([owner for (owner,) in owners])
        for owner, name in names.items():
            is_owner = "is null" if owner is None else f"= {_text_literal(owner)}"
            contents = {
                table: _Content(con, directory / f"{table.name}.parquet", f'"{column}" {is_owner}')
                for table, column in stated
                # What nobody is named for is one table's remainder; another's rows without an owner are no one's.
                if owner is not None or table is first
            }
            sheets = [
                _workbook.Sheet(
                    name=table.name,
                    description=table.description,
                    columns=content.columns,
                    row_count=content.row_count,
                    rows=content.rows(),
                )
                for table, content in contents.items()
            ]
            path = folder / f"{name}.xlsx"
            lines = [("Statement of", owner or "Costs that no team is named for"), *cover]
            _workbook.write(path, sheets, cover=lines, created_at=built_at)
            row_count = sum(content.row_count for content in contents.values())
            totals = contents[first].totals_usd()
            path_name = f"{STATEMENTS_DIR_NAME}/{path.name}"
            files.append(_file(directory, path_name, tuple(table.name for table in contents), row_count, totals))
    return files


def statement_names(owners: Sequence[str | None]) -> dict[str | None, str]:
    """Give each owner's statement a file name without ending: letters, digits and `_ - .` of its name.

    Names that differ only in what is left out, or in case, get a number; the name for what has no owner is `no_team`.
    """
    names: dict[str | None, str] = {}
    taken = {_NO_OWNER_NAME}
    for owner in owners:
        if owner is None:
            names[owner] = _NO_OWNER_NAME
            continue
        stem = re.sub(r"[^\w.-]+", "_", owner).strip("._-")[:_STATEMENT_NAME_LENGTH] or "team"
        name, number = stem, 1
        while name.lower() in taken:
            number += 1
            name = f"{stem}-{number}"
        taken.add(name.lower())
        names[owner] = name
    return names


def _file(
    directory: Path, name: str, tables: tuple[str, ...], row_count: int, totals: dict[str, str | None]
) -> ExportFile:
    path = directory / name
    sync_file(path)
    return ExportFile(
        name=name,
        file_format=_FORMATS[path.suffix],
        tables=tables,
        row_count=row_count,
        file_bytes=path.stat().st_size,
        sha256=sha256_of(path),
        column_totals_usd=totals,
    )


def _write_manifest(directory: Path, manifest: ExportManifest) -> None:
    path = directory / MANIFEST_NAME
    path.write_text(json.dumps(asdict(manifest), default=_json_text, indent=2) + "\n", encoding="utf-8")
    sync_file(path)


def _json_text(value: object) -> str:
    if isinstance(value, datetime):
        return _instant_text(value)
    if isinstance(value, date):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} has no place in a manifest")


def _publish(building: Path, exports_dir: Path, period: str) -> None:
    """Give the finished directory its lasting name and move the period's link to it."""
    for folder in (path for path in building.iterdir() if path.is_dir()):
        sync_directory(folder)
    sync_directory(building)
    version = building.with_name(f"v-{building.name.removeprefix('building-')}")
    building.rename(version)
    sync_directory(version.parent)
    link = exports_dir / period
    if link.is_dir() and not link.is_symlink():
        # A copy or an older layout; kept as a version, since a link cannot replace a directory.
        link.rename(version.with_name(f"v-{uuid.uuid4().hex}"))
    new_link = version.parent / f"building-{uuid.uuid4().hex}"
    new_link.symlink_to(version.relative_to(exports_dir))
    new_link.replace(link)
    sync_directory(exports_dir)


def _prune(versions_dir: Path, current: Path, kept_versions: int) -> None:
    others = [path for path in versions_dir.iterdir() if path.resolve() != current]
    others.sort(key=lambda path: path.stat().st_mtime_ns, reverse=True)
    for path in others[kept_versions - 1 :]:
        shutil.rmtree(path)


def _clear(directory: Path, pattern: str) -> None:
    for leftover in directory.glob(pattern):
        if leftover.is_symlink():
            leftover.unlink()
        else:
            shutil.rmtree(leftover)
