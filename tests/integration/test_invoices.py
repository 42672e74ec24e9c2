"""A bill that comes in several files: all of it counts, once, and its month is exported when it changes."""

from decimal import Decimal
from pathlib import Path

import duckdb
import pytest

from tests.integration.small_company import SmallCompany


def _line(billed_cost: str, charge_day: str, *, invoice_id: str, period: tuple[str, str]) -> str:
    """A daily line that no call drives, of an invoice of the month from `period`'s first to its second day."""
    return (
        f"{billed_cost},{billed_cost},{billed_cost},{billed_cost},mill-account,USD,{period[0]}T00:00:00Z,"
        f"{period[1]}T00:00:00Z,{charge_day}T00:00:00Z,{charge_day}T23:59:59Z,Usage,Storage,1,GB,{invoice_id},"
        "Mill AI,Mill,Storage,Disks"
    )


MARCH = {"invoice_id": "mill-storage-2026-03", "period": ("2026-03-01", "2026-04-01")}
APRIL = {"invoice_id": "mill-storage-2026-04", "period": ("2026-04-01", "2026-05-01")}
ABROAD = {"invoice_id": "mill-abroad-2026-03", "period": ("2026-03-01", "2026-04-01")}
# The company's own invoice of March.
FOUNDING_USD = Decimal("25.11")


@pytest.fixture(scope="module")
def company(tmp_path_factory: pytest.TempPathFactory) -> SmallCompany:
    """Two daily exports of one invoice of March, and a bill of April for a day of March."""
    company = SmallCompany.found(tmp_path_factory.mktemp("invoices") / "company")
    company.write_invoice("storage-03-02.csv", [_line("1.00", "2026-03-02", **MARCH)])
    company.write_invoice(
        "storage-03-03.csv", [_line("2.00", "2026-03-03", **MARCH), _line("0.50", "2026-03-03", **MARCH)]
    )
    company.write_invoice("storage-04.csv", [_line("4.00", "2026-03-04", **APRIL)])
    assert company.run().failed_checks == []
    return company


def _exported_usd(company: SmallCompany, period: str) -> Decimal:
    path: Path = company.settings.exports_dir / period / "invoice_lines.parquet"
    with duckdb.connect() as con:
        row = con.execute(f"select sum(billed_cost_usd) from read_parquet('{path}')").fetchone()
    assert row is not None
    return row[0]


def test_invoice_that_is_spread_over_files_counts_whole(company: SmallCompany):
    assert company.rows(
        "select invoice_id, count(*), sum(billed_cost_usd) from marts.fct_invoice_lines "
        "where invoice_id like 'mill-storage%' group by 1 order by 1"
    ) == [("mill-storage-2026-03", 3, Decimal("3.50")), ("mill-storage-2026-04", 1, Decimal("4.00"))]
    # 25.11 + 1.00 + 2.00 + 0.50
    assert _exported_usd(company, "2026-03") == FOUNDING_USD + Decimal("3.50")
    assert _exported_usd(company, "2026-04") == Decimal("4.00")


@pytest.fixture(scope="module")
def restated(company: SmallCompany, tmp_path_factory: pytest.TempPathFactory) -> SmallCompany:
    """The company after 3 March was delivered again under another name and the bill of April was corrected."""
    later = company.copy_to(tmp_path_factory.mktemp("restated") / "company")
    later.write_invoice("storage-03-03.v2.csv", [_line("2.25", "2026-03-03", **MARCH)])
    later.write_invoice("storage-04.csv", [_line("4.40", "2026-03-04", **APRIL)])
    assert later.run().failed_checks == []
    return later


def test_day_that_is_delivered_again_supersedes_its_former_lines_and_keeps_them(restated: SmallCompany):
    assert restated.rows(
        "select version_index, billed_cost_usd from marts.fct_invoice_lines "
        "where invoice_id = 'mill-storage-2026-03' order by charge_period_start_at"
    ) == [(1, Decimal("1.00")), (2, Decimal("2.25"))]
    assert restated.warehouse_rows(
        "select input_uri, reject_reason, billed_cost_in_billing_currency "
        "from intermediate.int_billing__lines_rejected order by 3"
    ) == [
        ("invoices/storage-03-03.csv", "superseded_by_later_delivery", Decimal("0.50")),
        ("invoices/storage-03-03.csv", "superseded_by_later_delivery", Decimal("2.00")),
    ]


def test_month_of_a_bill_is_exported_anew_when_a_charge_of_another_month_changes(restated: SmallCompany):
    # 25.11 + 1.00 + 2.25
    assert _exported_usd(restated, "2026-03") == FOUNDING_USD + Decimal("3.25")
    assert _exported_usd(restated, "2026-04") == Decimal("4.40")


def test_provider_of_one_account_is_reconciled_by_account(restated: SmallCompany):
    # 6 calls at 0.003 on each of six days, of a week with one quiet day: 36 x 0.003; the bill says 0.11.
    assert restated.rows(
        "select billing_account_id, cause_type, line_count, compared_cost_usd, billed_cost_usd "
        "from marts.rpt_reconciliation "
        "where component_name = 'calls' and billing_period_start_date = date '2026-03-01' order by all nulls first"
    ) == [
        ("mill-account", None, 1, Decimal("0.108"), Decimal("0.108")),
        ("mill-account", "rounding", 0, Decimal(0), Decimal("0.002")),
    ]
    assert restated.rows(
        "select call_count, unpriced_call_count, invoice_usd - ledger_usd - explained_usd - unexplained_usd "
        "from marts.rpt_billing_periods where billing_period_start_date = date '2026-03-01'"
    ) == [(42, 0, Decimal(0))]


@pytest.fixture(scope="module")
def disputed(company: SmallCompany, tmp_path_factory: pytest.TempPathFactory) -> SmallCompany:
    """The company after a bill in euros came whose lines do not sum to the total that finance has."""
    later = company.copy_to(tmp_path_factory.mktemp("disputed") / "company")
    later.write_seed("seed_exchange_rates", ["EUR,2026-01-01,1.08,Treasury", "EUR,2026-03-03,1.10,Treasury"])
    euros = [_line("100.10", "2026-03-02", **ABROAD), _line("10.00", "2026-03-03", **ABROAD)]
    later.write_invoice("abroad.csv", [line.replace(",USD,", ",EUR,") for line in euros])
    later.write_seed(
        "seed_invoice_totals",
        [
            "mill,mill-account,mill-abroad-2026-03,EUR,110.11,Invoice",
            "mill,mill-account,mill-storage-2026-04,USD,4,PDF",
        ],
    )
    return later


def test_invoice_whose_lines_do_not_sum_to_its_total_is_named_and_stops_the_build(disputed: SmallCompany):
    before = disputed.published_bytes()
    outcome = disputed.run()
    assert [check.name for check in outcome.failed_checks] == ["intermediate__int_billing_invoice_totals_reconciled"]
    assert disputed.published_bytes() == before
    # 100.10 + 10.00 are 110.10; the other invoice is what it should be.
    assert disputed.warehouse_rows(
        "select invoice_id, total_in_billing_currency, billed_cost_in_billing_currency, difference_in_billing_currency "
        "from intermediate.int_billing__invoice_totals where unreconciled_reason_type = 'lines_do_not_sum_to_total'"
    ) == [("mill-abroad-2026-03", Decimal("110.11"), Decimal("110.10"), Decimal("-0.01"))]


def test_bill_in_another_currency_counts_at_the_rate_of_each_charges_first_day(disputed: SmallCompany):
    disputed.write_seed("seed_invoice_totals", ["mill,mill-account,mill-abroad-2026-03,EUR,110.10,Invoice"])
    assert disputed.run().failed_checks == []
    # 100.10 x 1.08 = 108.108 and 10.00 x 1.10 = 11.
    assert disputed.rows(
        "select billed_cost_in_billing_currency, usd_per_currency_unit, billed_cost_usd, unconverted_reason_type "
        "from marts.fct_invoice_lines where billing_currency_code = 'EUR' order by charge_period_start_at"
    ) == [
        (Decimal("100.10"), Decimal("1.08"), Decimal("108.108"), None),
        (Decimal("10.00"), Decimal("1.10"), Decimal("11.00"), None),
    ]
