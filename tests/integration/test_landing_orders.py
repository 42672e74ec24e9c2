"""Whatever the order in which files were pulled, the ledger of calls and scores is the same.

Two files say different things of one call, one score and one bill. One company pulled the earlier file an hour
before the later one, another the later one first.
"""

from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from dagster_project.sources import discover
from dagster_project.warehouse.landing import LandingZone, pull_source
from tests.integration.small_company import (
    SmallCompany,
    call,
    calls_of,
    differing_tables,
    invoice_line,
    query,
    scores_of,
)

pytestmark = pytest.mark.integration

TUESDAY = date(2026, 3, 3)
CALL_ID = f"{TUESDAY}-10-0"
# Exports of bills have names without an order; there the one that was written last counts.
OF_BILLS = {
    "marts.fct_invoice_lines",
    "marts.fct_period_charges",
    "marts.rpt_reconciliation",
    "marts.rpt_billing_periods",
    "marts.fct_cost_allocations",
    "marts.rpt_showback",
    "marts.focus_cost_and_usage",
    "marts.focus_invoice_detail",
}
EARLIER, LATER = f"{TUESDAY}", f"{TUESDAY}-corrected"


def _write_earlier(company: SmallCompany) -> None:
    company.write_calls(f"{EARLIER}.csv", calls_of(TUESDAY))
    company.write_scores(f"{EARLIER}.csv", scores_of(TUESDAY))
    company.write_invoice("2026-03.csv", [invoice_line("0.11", "Tokens", "36"), invoice_line("25.00", "Month", "1")])


def _write_later(company: SmallCompany) -> None:
    """The call had 9,000 tokens in, not 1,000; its question was not solved; the invoice is 24.00 for the month."""
    run = f"run-{TUESDAY}-10"
    company.write_calls(f"{LATER}.csv", [call(f"{TUESDAY}T10:00:00Z", CALL_ID, run, tokens_in=9_000)])
    company.write_scores(f"{LATER}.csv", [f"{TUESDAY}T16:00:00Z,resolved,0,support,{run}"])
    company.write_invoice("2026-03-v2.csv", [invoice_line("0.11", "Tokens", "36"), invoice_line("24.00", "Month", "1")])


def _pull(company: SmallCompany) -> None:
    """Pull everything an hour before the run does."""
    settings = company.settings
    assert settings.as_of is not None
    for options in settings.sources:
        connector = discover()[options.kind]
        pull_source(LandingZone(settings.landing_dir), connector, options, now=settings.as_of - timedelta(hours=1))


@pytest.fixture(scope="module")
def companies(tmp_path_factory: pytest.TempPathFactory) -> list[SmallCompany]:
    """The company that pulled the earlier file first, and the one that pulled the later file first."""
    folder = tmp_path_factory.mktemp("orders")
    companies = []
    for name, first, second in (("one", _write_earlier, _write_later), ("other", _write_later, _write_earlier)):
        company = SmallCompany.found(folder / name)
        for path in (f"calls/{EARLIER}.csv", f"scores/{EARLIER}.csv", "invoices/2026-03.csv"):
            (company.root / path).unlink()
        first(company)
        _pull(company)
        second(company)
        outcome = company.run()
        assert outcome.is_success, outcome
        companies.append(company)
    return companies


def _landed(path: Path) -> list[tuple[object, ...]]:
    return query(path, "select input_uri from ops.landings where landed_at = (select max(landed_at) from ops.landings)")


def test_companies_did_pull_in_opposite_orders(companies: list[SmallCompany]):
    last = [{str(row[0]) for row in _landed(company.settings.warehouse_path)} for company in companies]
    assert last == [
        {f"calls/{LATER}.csv", f"scores/{LATER}.csv", "invoices/2026-03-v2.csv"},
        {f"calls/{EARLIER}.csv", f"scores/{EARLIER}.csv", "invoices/2026-03.csv"},
    ]


def test_ledger_does_not_depend_on_the_order_in_which_files_were_pulled(companies: list[SmallCompany]):
    one, other = companies
    assert set(differing_tables(one.settings.serving_path, other.settings.serving_path, ("marts",))) == OF_BILLS
    rejected = """
        select input_uri, record_index, reject_reason from intermediate.int_usage__calls_rejected
        union all
        select input_uri, record_index, reject_reason from intermediate.int_value__scores_rejected
        order by all
    """
    assert (
        one.warehouse_rows(rejected)
        == other.warehouse_rows(rejected)
        == [
            (f"calls/{EARLIER}.csv", 0, "superseded_by_later_delivery"),
            (f"scores/{EARLIER}.csv", 0, "delivered_again"),
        ]
    )


def test_what_counts_is_what_the_later_file_says(companies: list[SmallCompany]):
    for company in companies:
        assert company.rows(f"select input_tokens from marts.fct_calls where call_id = '{CALL_ID}'") == [(9_000,)]
        instance = f"where use_case_instance_id = 'run-{TUESDAY}-10'"
        assert company.rows(f"select is_success from marts.fct_use_case_instances {instance}") == [(False,)]


def test_bill_that_was_pulled_last_counts(companies: list[SmallCompany]):
    """0.11 for the tokens, and for the month 24.00 by the one file and 25.00 by the other."""
    billed = "select sum(billed_cost_usd), count(*) from marts.fct_invoice_lines"
    assert [company.rows(billed) for company in companies] == [[(Decimal("24.11"), 2)], [(Decimal("25.11"), 2)]]
