"""The seed files say the same about the company as the generator."""

import csv
from decimal import Decimal
from pathlib import Path

from dagster_project.demo import company
from dagster_project.warehouse.value_equations import compile_equations
from tests.demo.conftest import Feeds

SEEDS = Path(__file__).parents[2] / "seeds"


def _seed(name: str) -> list[dict[str, str]]:
    with (SEEDS / f"seed_{name}.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, strict=True))


def test_commitments_are_those_of_the_generator():
    assert {
        (
            row["commitment_id"],
            row["provider_name"],
            int(row["bought_units"]),
            Decimal(row["usd_per_unit_hour"]),
            Decimal(row["usd_per_overage_unit_hour"])
            if row["commitment_id"] == company.PTU_PILOT.commitment_id
            else None,
        )
        for row in _seed("commitments")
    } == {
        (
            pool.commitment_id,
            pool.provider_name,
            pool.bought_units,
            pool.usd_per_unit_hour,
            pool.usd_per_overage_unit_hour,
        )
        for pool in company.COMMITMENTS
    }


def test_gpu_instances_cost_156800_in_a_month_of_730_hours():
    month = company.GPU_POOL.usd_per_unit_hour * company.GPU_POOL.bought_units * 730
    assert month.quantize(Decimal("0.01")) == Decimal("156800.00")


def test_deployments_are_those_of_the_generator():
    units = {row["commitment_id"]: row["unit_name"] for row in _seed("commitments")}
    throughputs = {
        (row["provider_name"], row["unit_name"], row["model_id"]): row for row in _seed("capacity_throughputs")
    }
    found = []
    for row in _seed("deployments"):
        # The pilot's deployment names none: it is the one that covers its type, region and scope.
        row["commitment_id"] = row["commitment_id"] or company.PTU_PILOT.commitment_id
        throughput = throughputs[row["provider_name"], units[row["commitment_id"]], row["model_id"]]
        deployment = company.Deployment(
            row["deployment_id"],
            row["commitment_id"],
            int(row["allocated_units"]),
            int(throughput["input_tokens_per_minute_per_unit"]),
            int(throughput["output_token_weight"]),
            row["spillover_deployment_id"] or None,
        )
        found.append(deployment)
    assert found == list(company.DEPLOYMENTS)


def test_use_cases_and_teams_are_those_of_the_feeds(feeds: Feeds):
    use_cases = _seed("use_cases")
    assert {row["use_case_id"] for row in use_cases} == set(feeds.truths.instances_by_use_case)
    assert {row["team_name"] for row in use_cases} == set(feeds.truths.good_calls_by_team)


def test_kpis_are_those_of_the_score_files(feeds: Feeds):
    declared = {f"{row['use_case_id']}/{row['kpi_name']}" for row in _seed("kpis")}
    assert declared == set(feeds.truths.kpi_rows_by_kpi)


def test_a_use_case_has_at_most_one_outcome_and_two_have_no_value_equation():
    outcomes = [row["use_case_id"] for row in _seed("kpis") if row["is_outcome"] == "true"]
    assert len(outcomes) == len(set(outcomes)) == 6
    valued = {row["use_case_id"] for row in _seed("value_equations")}
    unvalued = {row["use_case_id"] for row in _seed("use_cases")} - valued
    assert unvalued == {"document_enrichment", "model_evaluation"}


def test_value_equations_compile():
    equations = {(each.equation_id, each.version): each for each in compile_equations(SEEDS)}
    assert len(equations) == len(_seed("value_equations")) == 10
    resolution = equations["support_chat_cost_avoided", "1"]
    assert (resolution.equation, resolution.kpi_names) == (
        "resolved * human_cost_usd_per_resolution",
        ("resolved",),
    )


def test_budgets_are_for_known_scopes_and_hold_one_amount_from_a_day():
    column = {"team": "team_name", "use_case": "use_case_id", "product": "product_name"}
    known = {scope: {row[name] for row in _seed("use_cases")} for scope, name in column.items()}
    budgets = _seed("budgets")
    assert len({(row["budget_id"], row["valid_from"]) for row in budgets}) == len(budgets)
    assert {row["scope_type"] for row in budgets} == {*column, "provider", "environment", "customer"}
    for row in budgets:
        assert row["scope_id"] in known.get(row["scope_type"], {row["scope_id"]})
        assert row["period_start_date"] < row["period_end_date"]
        assert Decimal(row["budget_usd"]) > 0
