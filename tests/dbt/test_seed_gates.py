"""A key that stands twice in a file of reference data: its gate names the file and shows the rows."""

from pathlib import Path

import pytest

from dagster_project.warehouse.connection import open_warehouse
from dagster_project.warehouse.dbt import DbtProject, NodeResult, filled_seeds
from tests.integration.small_company import SmallCompany

# Two rows of one key, which differ by what is put in, and the column that it stands in. KPIs, constants and equations
# are not among them: a repeated key there is refused with its line when the equations are compiled, before dbt runs.
ROWS = {
    "seed_allocation_rules": ("spread,1,,,,,,even,,,,,,2026-01-01,,{}", "evidence"),
    "seed_budgets": ("b-1,team,{},2026-03-01,2026-04-01,10.00,0.8,2026-01-01,", "scope_id"),
    "seed_commitments": ("pool,mill,ptu,,2,unit,1.50,2026-01-01T00:00:00Z,2027-01-01T00:00:00Z,{}", "evidence"),
    "seed_deployments": (
        "own,pool,mill,{},1,1000,4,2026-01-01T00:00:00Z,2027-01-01T00:00:00Z,",
        "model_id",
    ),
    "seed_model_aliases": ("mill,mill-big,{},Price page", "model_id"),
    "seed_other_costs": ("seats,licences,{},Gatelane,600.00,2026-03-01,,,Order form", "description"),
    "seed_provider_aliases": ("windmill,{},,Invoice", "provider_name"),
    "seed_reconciliation_waivers": (
        "w-1,mill,,2026-03-01,calls,,,{},Ticket 17,Finance,2026-03-09",
        "cause_type",
    ),
    "seed_use_cases": ("support,Support,{},Help,Head,One question.,2026-01-01", "team_name"),
}


@pytest.fixture(scope="module")
def company(tmp_path_factory: pytest.TempPathFactory) -> SmallCompany:
    """A company in whose reference files a key stands twice."""
    found = SmallCompany.found(tmp_path_factory.mktemp("doubled") / "company")
    for name, (row, _) in ROWS.items():
        found.write_seed(name, [row.format("first"), row.format("second")])
    return found


@pytest.fixture(scope="module")
def judged(company: SmallCompany) -> dict[str, NodeResult]:
    """What the gates of the reference data say, by name."""
    with open_warehouse(company.settings):
        nodes = DbtProject(company.settings).build(["resource_type:seed"], exclude=["resource_type:unit_test"])
    return {node.name: node for node in nodes if node.resource_type == "test"}


@pytest.mark.parametrize("seed", ROWS)
def test_gate_of_reference_data_shows_every_row_of_a_key_that_stands_twice(
    company: SmallCompany, judged: dict[str, NodeResult], seed: str
):
    gate = judged[f"reference__{seed}_unique"]
    assert (gate.status, gate.failures) == ("fail", 2)
    shown = company.warehouse_rows(f"select violation, {ROWS[seed][1]} from ({gate.compiled_sql}) order by all")
    assert shown == [("not_unique", "first"), ("not_unique", "second")]


# Rows of seed_allocation_rules that cannot hold, each with the gate that refuses them and what it shows.
WRONG_RULES = {
    "shares_within_range": (
        # 0.6 + 0.5 = 110 %; the second period's 0.6 + 0.4 is right.
        [
            "split,1,,,,,,fixed,,,support,,0.6,2026-01-01,2026-02-01,",
            "split,1,,,,,,fixed,,,search,,0.5,2026-01-01,2026-02-01,",
            "split,1,,,,,,fixed,,,support,,0.6,2026-02-01,,",
            "split,1,,,,,,fixed,,,search,,0.4,2026-02-01,,",
        ],
        [("condition_broken", "split", "2026-01-01")],
    ),
    "use_cases_known": (
        ["split,1,,,,,,direct,,,nobody,,,2026-01-01,,"],
        [("refers_to_nothing", "nobody", "split", "2026-01-01")],
    ),
    "teams_known": (
        ["split,1,,,,,,direct,,,,nobody,,2026-01-01,,"],
        [("refers_to_nothing", "nobody", "split", "2026-01-01")],
    ),
    "order_unique": (
        ["one,1,,,,tax,,even,,,,,,2026-01-01,,", "two,1,,,,,,even,,,,,,2026-06-01,,"],
        [("overlapping", "1", "one", "2026-01-01", None), ("overlapping", "1", "two", "2026-06-01", None)],
    ),
    "periods_unique": (
        ["one,1,,,,,,even,,,,,,2026-01-01,2026-06-02,", "one,1,,,,,,even,,,,,,2026-06-01,,"],
        [("overlapping", "one", "2026-01-01", "2026-06-02"), ("overlapping", "one", "2026-06-01", None)],
    ),
    "terms_known": (
        ["one,1,,,,tax,,fixed,,,support,,0.5,2026-01-01,,", "one,1,,,,credit,,fixed,,,search,,0.5,2026-01-01,,"],
        [("condition_broken", "one", "2026-01-01")],
    ),
    "methods_known": (
        ["one,1,,,,,,driver,phase_of_the_moon,,,,,2026-01-01,,", "two,2,,,,,,direct,,,support,,0.5,2026-01-01,,"],
        [
            ("condition_broken", "one", "driver", "phase_of_the_moon", None, None, None, None, "2026-01-01", None),
            ("condition_broken", "two", "direct", None, None, "support", None, "0.500000000", "2026-01-01", None),
        ],
    ),
}


@pytest.mark.parametrize("gate", WRONG_RULES)
def test_allocation_rules_that_cannot_hold_are_refused_with_the_rows(gate: str, tmp_path: Path):
    rows, shown = WRONG_RULES[gate]
    company = SmallCompany.found(tmp_path / "company")
    company.write_seed(
        "seed_use_cases", [f"{name},{name},{name},Help,Head,One.,2026-01-01" for name in ("support", "search")]
    )
    company.write_seed("seed_allocation_rules", rows)
    with open_warehouse(company.settings):
        nodes = DbtProject(company.settings).build(
            ["seed_allocation_rules", "seed_use_cases"], exclude=["resource_type:unit_test", "resource_type:model"]
        )
    judged = {node.name: node for node in nodes if node.resource_type == "test"}
    failed = {name for name, node in judged.items() if node.status == "fail"}
    name = f"reference__seed_allocation_rules_{gate}"
    assert failed == {name}
    assert company.warehouse_rows(f"select * from ({judged[name].compiled_sql}) order by all") == shown


def test_waiver_that_names_no_declared_cause_is_refused(judged: dict[str, NodeResult]):
    gate = judged["reference__seed_reconciliation_waivers_cause_type_known"]
    assert (gate.status, gate.failures) == ("fail", 2)


def test_gate_of_reference_data_without_a_repeated_key_passes(judged: dict[str, NodeResult]):
    assert judged["reference__seed_value_equations_unique"].status == "pass"


def test_files_that_have_rows_below_their_header_are_known(company: SmallCompany, tmp_path: Path):
    assert filled_seeds(company.settings.reference_dir) == {*ROWS, "seed_kpis", "seed_value_equations"}
    (tmp_path / "seed_budgets.csv").write_text("budget_id,scope_type\n\n", encoding="utf-8")
    assert filled_seeds(tmp_path) == set()
