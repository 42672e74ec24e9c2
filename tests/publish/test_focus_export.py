"""The FOCUS 1.4 files of the demo company: accepted by the toolkit, and the ledger in other words."""

import csv
import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest
from focus_data_toolkit.errors import Severity
from focus_data_toolkit.model.capabilities import KNOWN_CONDITIONS
from focus_data_toolkit.model.validator import lint_focus_1_4_structure
from focus_data_toolkit.validate.bundle import validate_dataset_bundle

from dagster_project.publish.exports import FOCUS_TABLES
from tests.conftest import NovaSpark

pytestmark = pytest.mark.integration

PERIOD = "2026-07"
DATASETS = {
    "Billing Period": "billing_period",
    "Contract Commitment": "contract_commitment",
    "Cost and Usage": "cost_and_usage",
    "Invoice Detail": "invoice_detail",
}
Rows = list[dict[str, str]]


def _rows(path: Path) -> Rows:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def bundle(novaspark: NovaSpark) -> dict[str, Rows]:
    """The four data sets of the month, as their CSV files hold them."""
    folder = novaspark.settings.exports_dir / PERIOD / "focus"
    return {name: _rows(folder / f"{stem}.csv") for name, stem in DATASETS.items()}


@pytest.fixture
def charges(bundle: dict[str, Rows]) -> Rows:
    """Cost and Usage, to be broken."""
    return [dict(row) for row in bundle["Cost and Usage"]]


def _violations(name: str, rows: Rows) -> list[str]:
    report = lint_focus_1_4_structure(name, rows, supported_conditions=KNOWN_CONDITIONS)
    return [f"{violation.column}: {violation.rule}: {violation.message}" for violation in report.violations]


def test_four_data_sets_are_exported():
    assert {table.name for table in FOCUS_TABLES} == set(DATASETS.values())


@pytest.mark.parametrize("name", DATASETS)
def test_toolkit_finds_nothing_in_a_data_set(bundle: dict[str, Rows], name: str):
    assert bundle[name]
    assert _violations(name, bundle[name]) == []


def test_toolkit_finds_nothing_between_the_data_sets(bundle: dict[str, Rows]):
    report = validate_dataset_bundle(bundle, invoice_detail_authoritative=True, rounding_tolerance=Decimal(0))
    assert [item.format() for item in report.diagnostics] == []
    assert {"reconcile_invoice_detail", "contract_applied_fk", "billing_period_coverage"} <= set(report.checks_run)


def _priced(charges: Rows) -> dict[str, str]:
    return next(row for row in charges if row["ListUnitPrice"] and Decimal(row["ListCost"]) > 1)


def test_toolkit_finds_a_product_that_is_wrong(charges: Rows):
    row = _priced(charges)
    row["ListCost"] = str(Decimal(row["ListCost"]) + 1)
    assert _violations("Cost and Usage", charges) == [
        "ListCost: cost_not_unit_price_times_quantity: ListCost must equal ListUnitPrice x PricingQuantity"
    ]


def test_toolkit_finds_a_line_that_is_billed_otherwise(bundle: dict[str, Rows], charges: Rows):
    row = next(row for row in charges if row["InvoiceDetailId"])
    row["BilledCost"] = str(Decimal(row["BilledCost"]) + Decimal("0.01"))
    broken = {**bundle, "Cost and Usage": charges}
    report = validate_dataset_bundle(broken, invoice_detail_authoritative=True, rounding_tolerance=Decimal(0))
    assert [item.code for item in report.by_severity(Severity.ERROR)] == ["FDT-CROSS-030"]


def test_costs_are_products_to_the_last_digit(charges: Rows):
    wrong = [
        row["x_ChargeKey"]
        for row in charges
        for cost, price in (("ListCost", "ListUnitPrice"), ("ContractedCost", "ContractedUnitPrice"))
        if row[price] and Decimal(row[price]) * Decimal(row["PricingQuantity"]) != Decimal(row[cost])
    ]
    assert wrong == []


def _sum(rows: Iterator[dict[str, str]], column: str) -> Decimal:
    return sum((Decimal(row[column]) for row in rows), Decimal(0))


def test_effective_cost_is_that_of_the_calls_and_of_unused_capacity(novaspark: NovaSpark, charges: Rows):
    [(calls,)] = novaspark.rows("select sum(effective_cost_usd) from marts.fct_calls")
    [(unused,)] = novaspark.rows("select sum(idle_cost_usd + unallocated_cost_usd) from marts.fct_capacity_hours")
    assert _sum((row for row in charges if row["x_ChargeOrigin"] == "calls"), "EffectiveCost") == calls
    assert _sum((row for row in charges if row["CommitmentDiscountStatus"] == "Unused"), "EffectiveCost") == unused
    assert unused > 0


def test_invoices_are_billed_to_the_cent(novaspark: NovaSpark, charges: Rows):
    for truth in novaspark.truths.invoices:
        assert _sum((row for row in charges if row["InvoiceId"] == truth.invoice_id), "BilledCost") == truth.total_usd


def test_tokens_of_the_priced_calls_are_all_there(novaspark: NovaSpark, charges: Rows):
    [(tokens,)] = novaspark.rows(
        """
        select sum(reported_input_tokens + reported_output_tokens) from marts.fct_calls
        where pricing_status_type <> 'unpriced'
        """
    )
    of_calls = (row for row in charges if row["x_ChargeOrigin"] == "calls" and row["ConsumedUnit"] == "Tokens")
    assert _sum(of_calls, "ConsumedQuantity") == tokens


def test_what_has_no_price_is_in_the_manifest_and_not_in_the_charges(novaspark: NovaSpark, charges: Rows):
    manifest = json.loads((novaspark.settings.exports_dir / PERIOD / "manifest.json").read_text(encoding="utf-8"))
    counted = novaspark.rows(
        """
        select provider_name, count(*), sum(coalesce(reported_input_tokens, 0) + coalesce(reported_output_tokens, 0))
        from marts.fct_calls where pricing_status_type = 'unpriced' group by provider_name order by provider_name
        """
    )
    assert counted
    assert manifest["left_out"] == [
        {
            "table": "cost_and_usage",
            "reason_type": "unpriced_usage",
            "provider_name": provider_name,
            "row_count": row_count,
            "tokens": tokens,
        }
        for provider_name, row_count, tokens in counted
    ]
    unpriced = novaspark.rows("select distinct model_name from marts.fct_calls where pricing_status_type = 'unpriced'")
    assert {name for (name,) in unpriced} & {
        json.loads(row["SkuPriceDetails"])["x_ModelId"] for row in charges if row["SkuPriceDetails"]
    } == set()


def test_values_are_written_as_focus_writes_them(charges: Rows):
    row = _priced(charges)
    assert row["BillingPeriodStart"] == "2026-07-01T00:00:00Z"
    assert row["BillingPeriodEnd"] == "2026-08-01T00:00:00Z"
    assert "E" not in row["ListUnitPrice"].upper()
    assert row["HostProviderName"] == ""
