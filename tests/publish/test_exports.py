"""Finance exports: the same figures in every format, proved by the manifest, harmless in a spreadsheet."""

import csv
import hashlib
import io
import json
from datetime import UTC, date, datetime
from decimal import Decimal, localcontext
from pathlib import Path

import duckdb
import openpyxl
import pytest

from dagster_project.errors import ConfigurationError
from dagster_project.publish import _workbook, exports
from dagster_project.publish.exports import (
    EXPORT_TABLES,
    ExportTable,
    export_period,
    neutralized,
    period_bounds,
)

BUILT_AT = datetime(2026, 10, 1, 7, 30, tzinfo=UTC)

SERVING_SQL = """
    create schema marts;
    create schema ops;
    create table ops.publication as
        select timestamptz '2026-10-01 06:00:00+00' as built_at,
            timestamptz '2026-10-01 00:00:00+00' as as_of,
            '0.1.0' as tokenledger_version;
    create table ops.gate_results as
        select * from (values
            ('marts__fct_calls_not_empty', true, timestamptz '2026-10-01 05:00:00+00'),
            ('marts__fct_calls_cost_conserved', false, timestamptz '2026-10-01 04:00:00+00'),
            ('marts__fct_calls_cost_conserved', true, timestamptz '2026-10-01 05:00:00+00'),
            ('raw__otlp_files_spans_span_kind_known', false, timestamptz '2026-10-01 05:00:00+00')
        ) as t (gate_name, is_passed, checked_at);
    create table marts.rpt_use_case_unit_economics as
        select date '2026-09-30' as started_date, '=cmd|calc' as use_case_id,
            'unversioned' as use_case_version,
            cast(4 as bigint) as instance_count, cast(4 as bigint) as judged_instance_count,
            cast(3 as bigint) as success_count, cast(4 as bigint) as valued_instance_count,
            cast(4 as bigint) as costed_instance_count, cast(0 as bigint) as uncosted_instance_count,
            cast(3 as bigint) as costed_success_count, cast(4 as bigint) as costed_valued_instance_count,
            cast(0 as bigint) as unpriced_call_count, cast(2 as decimal(38, 15)) as cost_usd,
            cast(0.5 as double) as cost_usd_per_costed_instance, cast(2 as double) / 3 as cost_usd_per_costed_success,
            cast(null as double) as p50_cost_usd, cast(0.1 as double) as p95_cost_usd,
            cast(22 as decimal(38, 9)) as value_usd, cast(20 as decimal(38, 15)) as margin_usd,
            cast(10 as double) as roi_share, cast(3600 as decimal(38, 9)) as time_saved_s,
            'new' as a_gained_column;
    create table marts.rpt_use_case_leaderboard as
        select cast(1 as bigint) as margin_rank, 'support' as use_case_id, 'Support, "first line"'
            as use_case_name,
            '-sales' as team_name, cast(4 as bigint) as instance_count,
            cast(4 as bigint) as judged_instance_count,
            cast(3 as bigint) as success_count, cast(0.75 as double) as success_share,
            cast(4 as bigint) as valued_instance_count, cast(0 as bigint) as unpriced_call_count,
            cast(4 as bigint) as costed_instance_count, cast(0 as bigint) as uncosted_instance_count,
            cast(3 as bigint) as costed_success_count, cast(4 as bigint) as costed_valued_instance_count,
            cast(2 as decimal(38, 15)) as cost_usd, cast(0.5 as double) as cost_usd_per_costed_instance,
            cast(0.6 as double) as cost_usd_per_costed_success, cast(22 as decimal(38, 9)) as value_usd,
            cast(20 as decimal(38, 15)) as margin_usd, cast(10 as double) as roi_share,
            date '2026-09-01' as first_started_date, date '2026-09-30' as last_started_date;
    create table marts.rpt_reconciliation as
        select date '2026-09-01' as billing_period_start_date, 'calls_to_bill' as layer_type,
            'openai' as provider_name, 'acct' as billing_account_id, 'other' as driver_type, 'egress' as bom_layer_type,
            'Grüße' as component_name, cast(null as varchar) as model_id, cast(null as varchar) as service_tier,
            cast(null as varchar) as unit_kind_type, cast(null as varchar) as commitment_id,
            cast(null as varchar) as tagged_use_case_id, cast(null as varchar) as tagged_team_name,
            'explained' as status_type, 'other_service' as cause_type, cast(2 as bigint) as line_count,
            cast(null as decimal(28, 3)) as quantity_units, cast(null as decimal(38, 15)) as usd_per_unit,
            cast(0 as decimal(38, 18)) as compared_cost_usd, cast(386560 as decimal(38, 18)) as billed_cost_usd,
            cast(386560 as decimal(38, 18)) as difference_usd, cast(null as varchar) as evidence;
    create table marts.rpt_daily_reconciliation as
        select date '2026-09-30' as event_date, 'openai' as provider_name, 'acct' as billing_account_id,
            'usage_report_to_cost_report' as layer_type, 'calls' as component_name, 'gpt' as model_id,
            'standard' as service_tier, 'input' as unit_kind_type, 'explained' as status_type,
            'price_difference' as cause_type, cast(0 as bigint) as line_count,
            cast(1000 as decimal(28, 3)) as quantity_units, cast(0.000002 as decimal(38, 15)) as usd_per_unit,
            cast(0 as decimal(38, 18)) as compared_cost_usd, cast(0.5 as decimal(38, 18)) as reported_cost_usd,
            cast(0.5 as decimal(38, 18)) as difference_usd;
    create table marts.rpt_billing_periods as
        select date '2026-09-01' as billing_period_start_date, date '2026-10-01' as billing_period_end_date,
            'openai' as provider_name, 'acct' as billing_account_id, 'invoice' as document_type,
            'final' as status_type, cast(null as varchar) as not_final_reason_type, cast(5 as bigint) as line_count,
            cast(0 as bigint) as unconverted_line_count, cast(9 as bigint) as call_count,
            cast(1 as bigint) as unpriced_call_count, cast(847000 as decimal(38, 18)) as invoice_usd,
            cast(460440 as decimal(38, 18)) as ledger_usd, cast(386560 as decimal(38, 18)) as explained_usd,
            cast(0 as decimal(38, 18)) as unexplained_usd, cast(0 as double) as unexplained_share;
    create table marts.rpt_showback as
        select date '2026-09-01' as period_month_date, team_name, 'Help' as product_name, use_case_id,
            'production' as environment_name, cast(null as varchar) as customer_id, 'openai' as provider_name,
            'egress' as layer_type, cast(0 as bigint) as call_count, cast(0 as bigint) as unpriced_call_count,
            cast(0 as decimal(38, 18)) as direct_cost_usd, cost as charged_cost_usd, cost as cost_usd
        from (values
            ('-sales/../x', 'a', cast(10.000000001 as decimal(38, 18))), ('-sales/../x', '=b', 5), ('Sales x', 'c', 2),
            ('sales_x', 'd', 1), (null, null, 0.5)
        ) as t (team_name, use_case_id, cost);
    create table marts.rpt_use_case_tco as
        select date '2026-09-01' as period_month_date, 'a' as use_case_id, cast(8 as integer) as layer_index,
            'egress' as layer_type, cast(10 as decimal(38, 18)) as cost_usd, cast(1 as double) as layer_share,
            cast(10 as decimal(38, 18)) as tco_usd, cast(0 as bigint) as call_count,
            cast(0 as bigint) as unpriced_call_count, cast(0 as double) as call_share,
            cast(4 as bigint) as instance_count, cast(4 as bigint) as judged_instance_count,
            cast(2 as bigint) as success_count, cast(2.5 as double) as tco_usd_per_instance,
            cast(5 as double) as tco_usd_per_success;
    create table marts.rpt_budget_status as
        select 'b' as budget_id, scope_type, scope_id, date '2026-07-01' as period_start_date,
            date '2026-10-01' as period_end_date, date '2026-01-01' as amount_set_date,
            cast(100 as decimal(38, 18)) as budget_usd, cast(0.8 as decimal(9, 6)) as warning_share,
            cast(92 as bigint) as elapsed_day_count, cast(0 as bigint) as remaining_day_count,
            cast(0 as decimal(38, 18)) as direct_cost_usd, cast(15 as decimal(38, 18)) as charged_cost_usd,
            cast(15 as decimal(38, 18)) as spent_usd, cast(85 as decimal(38, 18)) as left_usd,
            cast(0.15 as double) as spent_share, cast(0 as double) as burn_usd_per_day,
            cast(15 as double) as p10_forecast_usd, cast(15 as double) as p50_forecast_usd,
            cast(15 as double) as p90_forecast_usd, 'ok' as threshold_status_type,
            cast(0 as bigint) as unpriced_call_count
        from (values ('team', '-sales/../x'), ('use_case', 'a')) as t (scope_type, scope_id);
    create table marts.rpt_capacity_utilization as
        select date '2026-09-30' as event_date, 'azure' as provider_name, 'pool' as commitment_id,
            'deployment' as allocation_type, 'd-1' as deployment_id,
            cast(1000 as bigint) as capacity_tokens,
            cast(400 as bigint) as used_tokens, cast(0 as bigint) as spillover_tokens,
            cast(9 as bigint) as call_count,
            cast(0 as bigint) as spillover_call_count, cast(156800 as decimal(38, 9)) as cost_usd,
            cast(62720 as decimal(38, 9)) as used_cost_usd, cast(94080 as decimal(38, 9)) as idle_cost_usd,
            cast(0 as decimal(38, 9)) as unallocated_cost_usd, cast(0.4 as double) as utilization_share,
            cast(0.9 as double) as max_utilization_share;
    create table marts.rpt_daily_spend as
        select * from (values
            (date '2026-08-31', 'support', 'openai', 'gpt-5', 'a', 1, 1.0, 1.0, 1.0),
            (date '2026-09-01', 'support', 'openai', 'gpt-5', 'a', 180000, 1046.25, 1046.25, 1046.25),
            (date '2026-09-01', 'support', 'openai', 'gpt-5', 'b', 180000, 1856.25, 1856.25, 1856.25),
            (date '2026-09-30', null, 'openai', 'unheard-of', null, 5, null, null, null),
            (date '2026-10-01', 'support', 'openai', 'gpt-5', 'a', 1, 1.0, 1.0, 1.0)
        ) as t (event_date, team_name, provider_name, model_name, use_case_id, call_count,
            list_cost_usd, contracted_cost_usd, effective_cost_usd);
    alter table marts.rpt_daily_spend alter list_cost_usd type decimal(38, 15);
    alter table marts.rpt_daily_spend alter contracted_cost_usd type decimal(38, 15);
    alter table marts.rpt_daily_spend alter effective_cost_usd type decimal(38, 15);
    alter table marts.rpt_daily_spend add column failed_call_count bigint default 0;
    alter table marts.rpt_daily_spend add column unpriced_call_count bigint default 0;
    alter table marts.rpt_daily_spend add column reported_input_tokens bigint default 1445;
    alter table marts.rpt_daily_spend add column reported_output_tokens bigint default 220;
    create table marts.fct_invoice_lines as
        select date '2026-09-01' as billing_period_start_date, 'openai' as provider_name,
            'OpenAI' as invoice_issuer_name, 'invoice' as document_type, true as is_bill,
            'acct' as billing_account_id, 'inv-1' as invoice_id,
            line as invoice_line_id, cast(1 as bigint) as version_index, 'Usage' as charge_type,
            cast(null as varchar) as charge_class_type,
            text as charge_description, 'calls' as driver_type, 'model_calls' as bom_layer_type,
            cast(null as varchar) as tagged_use_case_id, cast(null as varchar) as tagged_team_name,
            'AI' as service_category_type,
            'API' as service_name,
            '' as sku_id, cast(null as varchar) as sku_meter_name, 'us' as region_id,
            cast(null as varchar) as resource_id, cast(1 as decimal(38, 18)) as consumed_quantity_units,
            'Tokens' as consumed_unit_name, 'USD' as billing_currency_code, amount as billed_cost_in_billing_currency,
            cast(1 as decimal(18, 12)) as usd_per_currency_unit, amount as billed_cost_usd,
            amount as effective_cost_usd, cast(null as varchar) as unconverted_reason_type,
            timestamptz '2026-09-01 00:00:00+00' as charge_period_start_at,
            timestamptz '2026-09-30 23:59:59.5+00' as charge_period_end_at
        from (values
            ('l-1', '=HYPERLINK("http://x")', cast('-0.000000000000000001' as decimal(38, 18))),
            ('l-2', E'two\\nlines', cast('12345678901234567890.123456789012345678' as decimal(38, 18))),
            ('l-3', 'plain', null)
        ) as t (line, text, amount);
    alter table marts.rpt_daily_spend add column unpriced_input_tokens bigint default null;
    alter table marts.rpt_daily_spend add column unpriced_output_tokens bigint default null;
    update marts.rpt_daily_spend set unpriced_call_count = 3, unpriced_input_tokens = 4335, unpriced_output_tokens = 660
    where model_name = 'unheard-of';
    create table marts.focus_cost_and_usage as
        select 'usage-1' as "x_ChargeKey", 'OpenAI' as "InvoiceIssuerName",
            cast('0.000000000000000001' as decimal(38, 18)) as "ListCost",
            timestamptz '2026-09-01 00:00:00+00' as "BillingPeriodStart",
            timestamptz '2026-09-30 00:00:00+00' as "ChargePeriodStart";
    create table marts.focus_contract_commitment as
        select 'pool' as "ContractCommitmentId",
            timestamptz '2026-01-01 00:00:00+00' as "ContractCommitmentPeriodStart",
            timestamptz '2026-09-01 00:00:01+00' as "ContractCommitmentPeriodEnd";
    create table marts.focus_billing_period as
        select 'OpenAI' as "InvoiceIssuerName", timestamptz '2026-09-01 00:00:00+00' as "BillingPeriodStart";
    create table marts.focus_invoice_detail as
        select 'OpenAI' as "InvoiceIssuerName", 'inv-1' as "InvoiceId", 'l-1' as "InvoiceDetailId",
            timestamptz '2026-09-01 00:00:00+00' as "BillingPeriodStart";
"""


@pytest.fixture
def serving_path(tmp_path: Path) -> Path:
    path = tmp_path / "tokenledger.duckdb"
    with duckdb.connect(str(path)) as con:
        con.execute("set timezone = 'America/Los_Angeles'")
        con.execute(SERVING_SQL)
    return path


@pytest.fixture
def exports_dir(tmp_path: Path) -> Path:
    return tmp_path / "exports"


def _export(serving_path: Path, exports_dir: Path, **more: object) -> exports.ExportManifest:
    given = {"period": "2026-09", "built_at": BUILT_AT, **more}
    return export_period(serving_path=serving_path, exports_dir=exports_dir, **given)  # type: ignore[arg-type]


def _built_at(exports_dir: Path) -> str:
    return json.loads((exports_dir / "2026-09" / "manifest.json").read_text())["built_at"]


def _files(directory: Path) -> dict[str, bytes]:
    """Give the content of every file below a directory, by its path."""
    paths = (path for path in directory.rglob("*") if path.is_file())
    return {path.relative_to(directory).as_posix(): path.read_bytes() for path in paths}


def _csv(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(path.read_bytes().decode("utf-8"), newline="")))


@pytest.mark.parametrize(
    ("period", "bounds"),
    [
        ("2026-09", (date(2026, 9, 1), date(2026, 10, 1))),
        ("2026-12", (date(2026, 12, 1), date(2027, 1, 1))),
        ("2028-02", (date(2028, 2, 1), date(2028, 3, 1))),
    ],
)
def test_period_is_a_half_open_month(period: str, bounds: tuple[date, date]):
    assert period_bounds(period) == bounds


@pytest.mark.parametrize("period", ["2026", "2026-13", "2026-9", "../2026-09", "2026-09-01", "0000-01", ""])
def test_period_refuses_what_is_not_a_month(period: str):
    with pytest.raises(ConfigurationError, match="expected a month"):
        period_bounds(period)


def test_export_writes_every_table_in_every_format(serving_path: Path, exports_dir: Path):
    _export(serving_path, exports_dir)
    names = set(_files((exports_dir / "2026-09").resolve()))
    assert {name for name in names if not name.startswith(f"{exports.STATEMENTS_DIR_NAME}/")} == {
        "manifest.json",
        "tokenledger.xlsx",
        *(f"{table.path}.{ending}" for table in EXPORT_TABLES for ending in ("csv", "parquet")),
    }


def test_export_holds_the_days_of_the_period_and_sums_exactly(serving_path: Path, exports_dir: Path):
    manifest = _export(serving_path, exports_dir)
    rows = _csv(exports_dir / "2026-09" / "daily_spend.csv")
    assert [(row["event_date"], row["model_name"], row["call_count"]) for row in rows] == [
        ("2026-09-01", "gpt-5", "360000"),
        ("2026-09-30", "unheard-of", "5"),
    ]
    # 1,046.25 + 1,856.25; a day without a price is empty, not zero.
    assert [row["effective_cost_usd"] for row in rows] == ["2902.500000000000000", ""]
    totals = {file.name: file.column_totals_usd for file in manifest.files}
    assert totals["daily_spend.parquet"]["effective_cost_usd"] == "2902.500000000000000"
    assert totals["invoice_lines.csv"]["billed_cost_usd"] == "12345678901234567890.123456789012345677"
    assert totals["unit_economics.csv"] == {
        "cost_usd": "2.000000000000000",
        "p50_cost_usd": None,
        "p95_cost_usd": "0.100000000000",
        "value_usd": "22.000000000",
        "margin_usd": "20.000000000000000",
    }


def test_export_keeps_parquet_types_exact(serving_path: Path, exports_dir: Path):
    _export(serving_path, exports_dir)
    with duckdb.connect() as con:
        described = con.execute(
            f"describe select * from read_parquet('{exports_dir}/2026-09/daily_spend.parquet')"
        ).fetchall()
    types = {row[0]: row[1] for row in described}
    assert types["effective_cost_usd"] == "DECIMAL(38,15)"
    assert types["reported_input_tokens"] == "BIGINT"
    assert types["event_date"] == "DATE"


@pytest.mark.parametrize(
    ("text", "neutral"),
    [
        ("=1+1", "'=1+1"),
        ("+1", "'+1"),
        ("-1", "'-1"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\t=1", "'\t=1"),
        ("\r=1", "'\r=1"),
        ("\n=1", "'\n=1"),
        ("a=1", "a=1"),
        ("", ""),
        ("'quoted", "'quoted"),
    ],
)
def test_text_that_begins_like_a_formula_gets_an_apostrophe(text: str, neutral: str):
    assert neutralized(text) == neutral


def test_csv_neutralizes_text_and_leaves_numbers(serving_path: Path, exports_dir: Path):
    _export(serving_path, exports_dir)
    lines = _csv(exports_dir / "2026-09" / "invoice_lines.csv")
    assert [line["charge_description"] for line in lines] == [
        '\'=HYPERLINK("http://x")',
        "two\nlines",
        "plain",
    ]
    assert lines[0]["billed_cost_usd"] == "-0.000000000000000001"
    assert _csv(exports_dir / "2026-09" / "unit_economics.csv")[0]["use_case_id"] == "'=cmd|calc"
    assert _csv(exports_dir / "2026-09" / "leaderboard.csv")[0]["team_name"] == "'-sales"


def test_csv_follows_rfc_4180_and_comes_back_as_it_was(serving_path: Path, exports_dir: Path):
    _export(serving_path, exports_dir)
    raw = (exports_dir / "2026-09" / "leaderboard.csv").read_bytes()
    assert raw.count(b"\r\n") == 2
    assert b'"Support, ""first line"""' in raw
    assert "Grüße".encode() in (exports_dir / "2026-09" / "reconciliation.csv").read_bytes()
    raw_lines = (exports_dir / "2026-09" / "invoice_lines.csv").read_bytes()
    # Null is nothing between commas, an empty text is two quotes.
    assert b',API,"",,us,,' in raw_lines
    for table in EXPORT_TABLES:
        directory = exports_dir / "2026-09"
        with duckdb.connect() as con:
            con.execute("set timezone = 'UTC'")
            exact = con.execute(f"select * from read_parquet('{directory}/{table.path}.parquet')").fetchall()
        read = list(csv.reader(io.StringIO((directory / f"{table.path}.csv").read_text("utf-8"), newline="")))
        assert len(read) == len(exact) + 1
        for cells, values in zip(read[1:], exact, strict=True):
            for cell, value in zip(cells, values, strict=True):
                _assert_same(cell, value)


def _assert_same(cell: str, value: object) -> None:
    if value is None:
        assert cell == ""
    elif isinstance(value, Decimal):
        assert Decimal(cell) == value
        assert "E" not in cell
    elif isinstance(value, datetime):
        assert datetime.fromisoformat(cell) == value
        assert cell.endswith("Z")
    elif isinstance(value, date):
        assert date.fromisoformat(cell) == value
    elif isinstance(value, int | float):
        assert float(cell) == value
    else:
        assert cell.removeprefix("'") == value


def test_workbook_has_typed_cells_and_no_formula(serving_path: Path, exports_dir: Path):
    _export(serving_path, exports_dir)
    book = openpyxl.load_workbook(exports_dir / "2026-09" / "tokenledger.xlsx")
    assert book.sheetnames == ["about", *(table.name for table in EXPORT_TABLES if not table.folder)]
    assert all(cell.data_type != "f" for sheet in book.worksheets for row in sheet.iter_rows() for cell in row)
    spend = book["daily_spend"]
    assert spend.freeze_panes == "A2"
    assert spend.auto_filter.ref == "A1:L3"
    header = {cell.value: cell.column for cell in spend[1]}
    day = spend.cell(2, header["event_date"])
    assert day.value == datetime(2026, 9, 1)  # noqa: DTZ001 - Excel has no time zones
    assert day.number_format == "yyyy-mm-dd"
    cost = spend.cell(2, header["effective_cost_usd"])
    assert (cost.value, cost.data_type, cost.number_format) == (2902.5, "n", "#,##0.00####")
    assert spend.cell(3, header["effective_cost_usd"]).value is None
    assert spend.column_dimensions["A"].width > len("event_date")
    lines = book["invoice_lines"]
    header = {cell.value: cell.column for cell in lines[1]}
    formula = lines.cell(2, header["charge_description"])
    assert (formula.value, formula.data_type) == ('=HYPERLINK("http://x")', "s")
    assert formula.hyperlink is None
    assert lines.cell(2, header["charge_period_start_at"]).value == datetime(2026, 9, 1)  # noqa: DTZ001
    share = book["leaderboard"].cell(2, 10)
    assert (share.value, share.number_format) == (0.75, "0.00%")


def test_workbook_cover_says_period_dates_gates_and_precision(serving_path: Path, exports_dir: Path):
    _export(serving_path, exports_dir)
    about = openpyxl.load_workbook(exports_dir / "2026-09" / "tokenledger.xlsx")["about"]
    said = {row[0].value: row[2].value for row in about.iter_rows() if row[0].value}
    assert said["Period"] == "2026-09 (UTC)"
    assert said["Exported at"] == "2026-10-01T07:30:00Z"
    assert said["Data as of"] == "2026-10-01T00:00:00Z"
    assert said["Gates passed"] == "2 of 3"
    assert said["Gates that warn"] == "raw__otlp_files_spans_span_kind_known"
    assert "15 significant digits" in said["Exact values"]
    assert "daily_spend" in said


def test_each_team_gets_a_statement_of_its_own_rows_and_all_add_up_to_showback(serving_path: Path, exports_dir: Path):
    manifest = _export(serving_path, exports_dir)
    files = {file.name: file for file in manifest.files}
    # 10.000000001 + 5, 2, 1 and what no team is named for: 18.500000001 in all.
    totals = {name: file.column_totals_usd["cost_usd"] for name, file in files.items() if "statements/" in name}
    assert totals == {
        "statements/sales_.._x.xlsx": "15.000000001000000000",
        "statements/Sales_x.xlsx": "2.000000000000000000",
        "statements/sales_x-2.xlsx": "1.000000000000000000",
        "statements/no_team.xlsx": "0.500000000000000000",
    }
    assert files["showback.csv"].column_totals_usd["cost_usd"] == "18.500000001000000000"
    folder = exports_dir / "2026-09" / "statements"
    assert {f"statements/{path.name}" for path in folder.iterdir()} == set(totals)
    book = openpyxl.load_workbook(folder / "sales_.._x.xlsx")
    assert book.sheetnames == ["about", "showback", "budget_status"]
    rows = list(book["showback"].iter_rows(min_row=2, values_only=True))
    assert [(row[1], row[3], row[-1]) for row in rows] == [("-sales/../x", "=b", 5), ("-sales/../x", "a", 10.000000001)]
    assert all(cell.data_type != "f" for row in book["showback"].iter_rows() for cell in row)
    assert [row[0] for row in book["budget_status"].iter_rows(min_row=2, values_only=True)] == ["b"]
    # A budget of a use case is no team's: it is not in what is left over either.
    assert openpyxl.load_workbook(folder / "no_team.xlsx").sheetnames == ["about", "showback"]


def test_workbook_says_when_excel_cannot_hold_all_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(_workbook, "SHEET_ROW_COUNT", 3)
    sheet = _workbook.Sheet(
        name="t", description="Numbers.", columns=("n",), row_count=5, rows=[(n,) for n in range(5)]
    )
    _workbook.write(tmp_path / "t.xlsx", [sheet], cover=[("A", "b")], created_at=BUILT_AT)
    book = openpyxl.load_workbook(tmp_path / "t.xlsx")
    assert [row[0].value for row in book["t"].iter_rows()] == ["n", 0, 1]
    assert book["about"]["C4"].value == "Numbers. Excel holds 2 rows; 3 more are in the Parquet and CSV files."


def test_workbook_writes_what_a_number_cell_cannot_hold_as_text(tmp_path: Path):
    values = [10**15, float("nan"), 10**15 - 1, True, "x" * 40_000]
    sheet = _workbook.Sheet(name="t", description="d", columns=("n",), row_count=5, rows=[(value,) for value in values])
    _workbook.write(tmp_path / "t.xlsx", [sheet], cover=[], created_at=BUILT_AT)
    cells = [row[0].value for row in openpyxl.load_workbook(tmp_path / "t.xlsx")["t"].iter_rows(min_row=2)]
    assert cells == ["1000000000000000", "nan", 999_999_999_999_999, True, "x" * 32_767]


def test_manifest_counts_what_a_table_cannot_hold(serving_path: Path, exports_dir: Path):
    manifest = _export(serving_path, exports_dir)
    # 3 calls of 1,445 input and 220 output tokens: 4,995. Line l-3 has no amount in USD.
    left_out = [(row.table, row.reason_type, row.provider_name, row.row_count, row.tokens) for row in manifest.left_out]
    assert left_out == [
        ("cost_and_usage", "no_exchange_rate", "openai", 1, None),
        ("cost_and_usage", "unpriced_usage", "openai", 3, 4995),
    ]


def test_commitments_are_exported_for_the_months_that_they_reach(serving_path: Path, exports_dir: Path):
    counts = {}
    for period in ("2025-12", "2026-01", "2026-09", "2026-10"):
        files = _export(serving_path, exports_dir, period=period).files
        counts[period] = next(file.row_count for file in files if file.name == "focus/contract_commitment.csv")
    # From 1 January until one second into 1 September.
    assert counts == {"2025-12": 0, "2026-01": 1, "2026-09": 1, "2026-10": 0}


def test_manifest_is_what_the_files_say(serving_path: Path, exports_dir: Path):
    _export(serving_path, exports_dir)
    directory = exports_dir / "2026-09"
    manifest = json.loads((directory / "manifest.json").read_text("utf-8"))
    assert (manifest["period"], manifest["built_at"], manifest["as_of"]) == (
        "2026-09", "2026-10-01T07:30:00Z", "2026-10-01T00:00:00Z",
    )  # fmt: skip
    assert (manifest["gates_passed_count"], manifest["gates_failed_names"]) == (
        2, ["raw__otlp_files_spans_span_kind_known"],
    )  # fmt: skip
    listed = {file["name"]: file for file in manifest["files"]}
    assert set(listed) == set(_files(directory.resolve())) - {"manifest.json"}
    for name, file in listed.items():
        content = (directory / name).read_bytes()
        assert file["sha256"] == hashlib.sha256(content).hexdigest()
        assert file["file_bytes"] == len(content)
        if not name.endswith(".csv"):
            continue
        rows = _csv(directory / name)
        assert file["row_count"] == len(rows)
        money = [column for column in rows[0] if column.endswith(("_usd", "Cost"))]
        assert sorted(file["column_totals_usd"]) == sorted(money)
        for column in money:
            values = [Decimal(row[column]) for row in rows if row[column]]
            stated = file["column_totals_usd"][column]
            # The context's default precision of 28 digits would round the sum.
            assert stated is None if not values else _exact_sum(values) == Decimal(stated)


def _exact_sum(values: list[Decimal]) -> Decimal:
    # The default precision of 28 digits would round a sum of 38-digit decimals.
    with localcontext(prec=60):
        return sum(values, Decimal(0))


def test_the_same_publication_and_instant_give_the_same_bytes(serving_path: Path, exports_dir: Path):
    first = _export(serving_path, exports_dir)
    second = _export(serving_path, exports_dir)
    assert first == second


def test_export_takes_columns_by_name_and_says_which_is_missing(serving_path: Path, exports_dir: Path):
    _export(serving_path, exports_dir)
    assert "a_gained_column" not in _csv(exports_dir / "2026-09" / "unit_economics.csv")[0]
    with duckdb.connect(str(serving_path)) as con:
        con.execute("alter table marts.rpt_use_case_unit_economics drop column value_usd")
    with pytest.raises(ConfigurationError, match=r"unit_economics.*value_usd"):
        _export(serving_path, exports_dir)


def test_export_of_a_month_without_data_is_whole_and_empty(serving_path: Path, exports_dir: Path):
    manifest = _export(serving_path, exports_dir, period="2025-01")
    assert {file.row_count for file in manifest.files if file.tables == ("daily_spend",)} == {0}
    assert (exports_dir / "2025-01" / "daily_spend.csv").read_bytes().startswith(b"event_date,team_name,")


def test_export_says_so_when_there_is_no_publication(tmp_path: Path, exports_dir: Path):
    with pytest.raises(ConfigurationError, match="no such file"):
        _export(tmp_path / "absent.duckdb", exports_dir)
    duckdb.connect(str(tmp_path / "other.duckdb")).close()
    with pytest.raises(ConfigurationError, match="not a publication"):
        _export(tmp_path / "other.duckdb", exports_dir)
    assert not (exports_dir / "2026-09").exists()


def test_a_second_export_replaces_the_first_and_keeps_it_as_a_version(serving_path: Path, exports_dir: Path):
    _export(serving_path, exports_dir)
    first = (exports_dir / "2026-09").resolve()
    kept_open = (first / "manifest.json").open("rb")
    with kept_open:
        for hour in (8, 9, 10):
            _export(serving_path, exports_dir, built_at=BUILT_AT.replace(hour=hour), kept_versions=2)
        # Who has a file of the old version open reads it to its end.
        assert json.loads(kept_open.read())["built_at"] == "2026-10-01T07:30:00Z"
    assert (exports_dir / "2026-09").is_symlink()
    assert not (exports_dir / "2026-09").readlink().is_absolute()
    assert json.loads((exports_dir / "2026-09" / "manifest.json").read_text())["built_at"] == "2026-10-01T10:30:00Z"
    assert not first.exists()
    assert len(list((exports_dir / ".versions" / "2026-09").iterdir())) == 2


def test_export_takes_the_place_of_a_plain_directory(serving_path: Path, exports_dir: Path):
    (exports_dir / "2026-09").mkdir(parents=True)
    (exports_dir / "2026-09" / "note.txt").write_text("kept")
    _export(serving_path, exports_dir)
    assert (exports_dir / "2026-09" / "manifest.json").exists()
    notes = list((exports_dir / ".versions" / "2026-09").glob("*/note.txt"))
    assert [note.read_text() for note in notes] == ["kept"]


@pytest.mark.parametrize(
    "step",
    ["_write_parquet", "_write_csv", "_write_workbook", "_write_manifest", "_publish", "sync_directory"],
)
def test_a_crash_in_any_step_leaves_the_old_export(
    step: str, serving_path: Path, exports_dir: Path, monkeypatch: pytest.MonkeyPatch
):
    _export(serving_path, exports_dir)
    before = _files((exports_dir / "2026-09").resolve())

    def crash(*_: object, **__: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(exports, step, crash)
    with pytest.raises(OSError, match="no space left"):
        _export(serving_path, exports_dir, built_at=BUILT_AT.replace(hour=9))
    assert _files((exports_dir / "2026-09").resolve()) == before
    monkeypatch.undo()
    _export(serving_path, exports_dir, built_at=BUILT_AT.replace(hour=9))
    assert json.loads((exports_dir / "2026-09" / "manifest.json").read_text())["built_at"] == "2026-10-01T09:30:00Z"
    assert not list((exports_dir / ".versions" / "2026-09").glob("building-*"))


def test_what_a_killed_export_left_is_cleared_by_the_next(serving_path: Path, exports_dir: Path):
    left = exports_dir / ".versions" / "2026-09" / "building-dead"
    left.mkdir(parents=True)
    (left / "daily_spend.csv").write_text("half")
    _export(serving_path, exports_dir)
    assert not left.exists()


def test_export_tables_fit_a_workbook_and_say_their_grain():
    for table in EXPORT_TABLES:
        assert len(table.name) <= 31
        assert table.description.startswith("One row per ")


def test_export_writes_the_tables_that_it_is_given(serving_path: Path, exports_dir: Path):
    table = ExportTable(name="answer", description="One row per answer.", sql="select 42 as answer_count")
    _export(serving_path, exports_dir, tables=[table])
    assert (exports_dir / "2026-09" / "answer.csv").read_bytes() == b"answer_count\r\n42\r\n"


def test_export_refuses_an_instant_without_time_zone_and_no_version(serving_path: Path, exports_dir: Path):
    with pytest.raises(ValueError, match="time zone"):
        _export(serving_path, exports_dir, built_at=datetime(2026, 10, 1))  # noqa: DTZ001
    with pytest.raises(ValueError, match="kept_versions"):
        _export(serving_path, exports_dir, kept_versions=0)
