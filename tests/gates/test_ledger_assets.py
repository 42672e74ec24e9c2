"""The cross-stage gates as checks: which of them a configuration has, and that each blocks."""

from pathlib import Path

import pytest

from dagster_project.gates.ledger import LEDGER_GATES
from dagster_project.gates.ledger_assets import ledger_checks
from dagster_project.settings import Settings
from tests.integration.small_company import SmallCompany


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return SmallCompany.found(tmp_path / "company").settings


def _names(settings: Settings, *parts: str) -> set[str]:
    return {spec.name for check in ledger_checks(settings, frozenset(parts)) for spec in check.check_specs}


def test_company_with_every_part_has_every_gate(settings: Settings):
    found = _names(settings, "usage", "use_cases", "invoices", "reports", "kpis", "commitments")
    assert found == {item.gate.gate_name for item in LEDGER_GATES}


@pytest.mark.parametrize(
    ("parts", "names"),
    [
        ((), set()),
        (
            ("invoices",),
            {
                "marts__fct_invoice_lines_amounts_conserved",
                "marts__fct_invoice_lines_conversion_reconciled",
                "marts__fct_period_charges_amounts_reconciled",
                "marts__focus_cost_and_usage_lines_reconciled",
                "marts__focus_cost_and_usage_bills_reconciled",
            },
        ),
        (("reports",), {"marts__fct_provider_usage_units_conserved"}),
        (
            ("commitments",),
            {"marts__fct_capacity_hours_costs_conserved", "marts__fct_capacity_hours_spillover_conserved"},
        ),
        (("use_cases",), {"marts__fct_use_case_instances_costs_conserved"}),
        (
            ("usage", "kpis"),
            {
                "intermediate__usage_rows_conserved",
                "marts__fct_calls_tokens_conserved",
                "marts__fct_calls_free_units_conserved",
                "marts__fct_call_charges_costs_conserved",
                "marts__rpt_daily_spend_costs_conserved",
                "intermediate__daily_charges_costs_conserved",
                "marts__focus_cost_and_usage_usage_conserved",
                "marts__fct_cost_allocations_costs_conserved",
                "marts__rpt_reported_costs_costs_conserved",
                "marts__rpt_daily_reconciliation_amounts_reconciled",
            },
        ),
    ],
)
def test_company_without_a_feed_has_no_gate_over_it(settings: Settings, parts: tuple[str, ...], names: set[str]):
    assert _names(settings, *parts) == names


def test_every_gate_blocks_what_lies_below_its_asset(settings: Settings):
    parts = frozenset({"usage", "use_cases", "invoices", "reports", "commitments"})
    specs = [spec for check in ledger_checks(settings, parts) for spec in check.check_specs]
    assert all(spec.blocking for spec in specs)
    assert {(spec.name, spec.asset_key.to_user_string()) for spec in specs} == {
        (item.gate.gate_name, item.asset_key) for item in LEDGER_GATES
    }
