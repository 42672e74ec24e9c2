"""The dbt unit tests of the models: numbers worked by hand, over rows that stand in for a model's parents."""

import json
from pathlib import Path

import pytest

from dagster_project.settings import Settings
from dagster_project.warehouse.dbt import DbtProject, NodeResult

# A view or a table that only renames or groups what others compute shows its arithmetic in theirs.
MODELS_WITH_UNIT_TESTS = {
    "stg_table_files__calls",
    "stg_otlp_files__spans",
    "stg_usage_payloads__calls",
    "stg_bedrock_logs__invocations",
    "stg_aws_cur_files__line_items",
    "stg_azure_cost_files__charges",
    "stg_focus_files__charges",
    "stg_gcp_billing_files__charges",
    "stg_invoice_files__lines",
    "stg_genai_prices__rates",
    "stg_litellm_prices__rates",
    "stg_litellm_prices__multipliers",
    "stg_litellm_prices__allowances",
    "stg_llm_prices__rates",
    "stg_contract_files__terms",
    "stg_capacity__measurements",
    "stg_openai_costs__costs",
    "stg_anthropic_costs__costs",
    "stg_openai_usage__buckets",
    "stg_anthropic_usage__buckets",
    "stg_azure_openai_usage__buckets",
    "int_usage__calls",
    "int_usage__calls_rejected",
    "int_usage__deliveries_ranked",
    "int_pricing__models_resolved",
    "int_pricing__rate_versions",
    "int_pricing__rates",
    "int_pricing__rates_held",
    "int_pricing__rate_cards",
    "int_capacity__deployments",
    "int_capacity__hours",
    "int_capacity__call_work",
    "int_capacity__deployment_hours",
    "int_capacity__call_costs",
    "int_billing__charges_resolved",
    "int_allocation__daily_charges",
    "int_reconciliation__daily_usage",
    "int_reconciliation__edge_hours",
    "int_reconciliation__periods",
    "int_reconciliation__calls_compared",
    "int_reconciliation__bridges",
    "int_reconciliation__days_compared",
    "int_reconciliation__units_compared",
    "int_reconciliation__documents_compared",
    "int_billing__invoice_totals",
    "int_billing__lines_classified",
    "int_billing__reports_classified",
    "int_billing__tags_resolved",
    "int_value__scores_judged",
    "fct_calls",
    "fct_call_charges",
    "fct_capacity_hours",
    "fct_use_case_instances",
    "fct_invoice_lines",
    "focus_contract_commitment",
    "focus_cost_and_usage",
    "fct_provider_usage",
    "rpt_billing_periods",
    "rpt_daily_reconciliation",
    "rpt_reconciliation",
    "fct_cost_allocations",
    "fct_allocation_drivers",
    "rpt_use_case_tco",
    "rpt_budget_status",
    "rpt_pricing_coverage",
    "rpt_rate_disagreements",
    "rpt_reported_costs",
    "rpt_unpriced_models",
    "rpt_use_case_unit_economics",
    "rpt_use_case_leaderboard",
}


@pytest.fixture(scope="module")
def results(project: DbtProject) -> list[NodeResult]:
    """What dbt says of each unit test."""
    return project.build(["test_type:unit"], command="test")


def test_every_unit_test_passes(results: list[NodeResult]):
    assert {node.name: node.message for node in results if node.status != "pass"} == {}


def test_every_unit_test_runs_and_every_model_with_arithmetic_has_one(
    results: list[NodeResult], project: DbtProject, settings: Settings
):
    manifest = json.loads(Path(project.manifest_path).read_text(encoding="utf-8"))
    declared = {node["name"]: node["model"] for node in manifest["unit_tests"].values()}
    assert {node.name for node in results} == set(declared)
    assert MODELS_WITH_UNIT_TESTS - set(declared.values()) == set()
