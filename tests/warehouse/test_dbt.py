"""The dbt project as a library: what it is told, what it answers, and that a build leaves the file free."""

import os
from datetime import date
from pathlib import Path

import duckdb
import orjson
import pytest

from dagster_project.settings import DEFAULT_REFERENCE_DIR, PROJECT_ROOT, Settings
from dagster_project.warehouse.calendar import AFTER_ALL, BEFORE_ALL
from dagster_project.warehouse.dbt import (
    DBT_PROJECT_DIR,
    DbtProject,
    NodeResult,
    daily_tables,
    dbt_arguments,
    discovered_vars,
    project_dir,
    window_vars,
)
from tests.integration.small_company import SmallCompany


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return SmallCompany.found(tmp_path / "company").settings


def _option(arguments: list[str], name: str) -> str:
    return arguments[arguments.index(name) + 1]


# ---- arguments


def test_window_vars_are_iso_dates():
    assert window_vars(date(2026, 3, 3), date(2026, 3, 5)) == {"min_date": "2026-03-03", "max_date": "2026-03-05"}
    assert window_vars(BEFORE_ALL, AFTER_ALL) == {"min_date": "1970-01-01", "max_date": "9999-12-30"}


def test_window_vars_refuse_a_window_that_ends_before_it_begins():
    with pytest.raises(ValueError, match="ends on 2026-03-02, before it begins on 2026-03-03"):
        window_vars(date(2026, 3, 3), date(2026, 3, 2))


def test_discovered_vars_name_the_staging_models_that_exist():
    found = discovered_vars()
    assert found == {
        "usage_models": [
            "stg_bedrock_logs__invocations",
            "stg_otlp_files__spans",
            "stg_table_files__calls",
            "stg_usage_payloads__calls",
        ],
        "invoice_models": [
            "stg_anthropic_costs__costs",
            "stg_aws_cur_files__line_items",
            "stg_azure_cost_files__charges",
            "stg_focus_files__charges",
            "stg_gcp_billing_files__charges",
            "stg_invoice_files__lines",
            "stg_openai_costs__costs",
        ],
        "report_models": [
            "stg_anthropic_usage__buckets",
            "stg_azure_openai_usage__buckets",
            "stg_openai_usage__buckets",
        ],
        "rate_models": ["stg_genai_prices__rates", "stg_litellm_prices__rates", "stg_llm_prices__rates"],
        "multiplier_models": ["stg_litellm_prices__multipliers"],
        "allowance_models": ["stg_litellm_prices__allowances"],
        "measurement_tables": [
            "raw_azure_ptu__measurements",
            "raw_bedrock_model_units__measurements",
            "raw_gpu_utilization_files__measurements",
            "raw_prometheus_gpus__measurements",
            "raw_vertex_gsus__measurements",
        ],
        "deployment_tables": [
            "raw_azure_ptu__deployments",
            "raw_bedrock_model_units__deployments",
            "raw_inventory_files__deployments",
            "raw_vertex_gsus__deployments",
        ],
    }
    staging = {path.stem for path in (DBT_PROJECT_DIR / "models" / "staging").rglob("*.sql")}
    assert {model for name, models in found.items() if name.endswith("_models") for model in models} <= staging


def test_dbt_arguments_keep_everything_that_is_written_in_the_state_directory(settings: Settings):
    arguments = dbt_arguments("build", settings=settings)
    for option in ("--project-dir", "--profiles-dir", "--target-path", "--log-path"):
        assert Path(_option(arguments, option)).is_relative_to(settings.state_dir)
    assert "--no-send-anonymous-usage-stats" in arguments


def test_dbt_arguments_carry_selection_and_vars(settings: Settings):
    arguments = dbt_arguments(
        "build", settings=settings, select=["a", "b"], exclude=["c"], variables={"max_date": "2026-03-05", "n": 1}
    )
    assert arguments[arguments.index("--select") + 1 : arguments.index("--exclude")] == ["a", "b"]
    assert _option(arguments, "--exclude") == "c"
    assert orjson.loads(_option(arguments, "--vars")) == {"max_date": "2026-03-05", "n": 1}
    assert "--select" not in dbt_arguments("parse", settings=settings)


# ---- results


@pytest.mark.parametrize(
    ("status", "is_ok"),
    [("success", True), ("pass", True), ("warn", True), ("fail", False), ("error", False), ("skipped", False)],
)
def test_node_is_ok_when_it_did_what_it_should(status: str, is_ok: bool):
    node = NodeResult("model.tokenledger.a", "a", "model", status, None, "", 0.1, "")
    assert node.is_ok == is_ok


def test_daily_tables_are_the_incremental_models_of_a_stage():
    def model(name: str, stage: str, **config: str) -> dict[str, object]:
        return {"name": name, "resource_type": "model", "fqn": ["tokenledger", stage, "x", name], "config": config}

    nodes = [
        model("fct_calls", "marts", materialized="incremental", day_column="event_date"),
        model(
            "fct_use_case_instances",
            "marts",
            materialized="incremental",
            day_column="started_date",
            rebuild_days_around="instance_horizon_days",
        ),
        model("dim_models", "marts", materialized="table"),
        model("int_capacity__call_work", "intermediate", materialized="incremental", day_column="event_date"),
    ]
    found = daily_tables({"nodes": {str(index): node for index, node in enumerate(nodes)}}, "marts")
    assert {name: (table.day_column, table.rebuilt_days_around) for name, table in found.items()} == {
        "fct_calls": ("event_date", 0),
        "fct_use_case_instances": ("started_date", 2),
    }


# ---- the project itself


def test_project_copy_holds_the_companys_own_seeds(settings: Settings):
    assert not settings.reference_dir.is_relative_to(PROJECT_ROOT)
    DbtProject(settings).prepare()
    copied = project_dir(settings).parent / "seeds" / "seed_commitments.csv"
    assert copied.read_bytes() == (settings.reference_dir / "seed_commitments.csv").read_bytes()


def test_reference_file_that_the_company_lacks_has_no_rows_unless_it_is_the_same_for_everybody(settings: Settings):
    assert not (settings.reference_dir / "seed_rate_confirmations.csv").exists()
    DbtProject(settings).prepare()
    seeds = project_dir(settings).parent / "seeds"
    header = (DEFAULT_REFERENCE_DIR / "seed_rate_confirmations.csv").read_text(encoding="utf-8").splitlines()[0] + "\n"
    assert (seeds / "seed_rate_confirmations.csv").read_text(encoding="utf-8") == header
    for name in ("seed_unit_kinds.csv", "seed_charge_classes.csv", "seed_tag_keys.csv"):
        assert (seeds / name).read_bytes() == (DEFAULT_REFERENCE_DIR / name).read_bytes()


def test_project_is_parsed_once_and_again_when_what_is_parsed_changes(settings: Settings):
    parsed_at = DbtProject(settings).prepare().stat().st_mtime_ns
    assert DbtProject(settings).prepare().stat().st_mtime_ns == parsed_at
    other = settings.model_copy(update={"min_priced_call_share": 0.5})
    assert DbtProject(other).prepare().stat().st_mtime_ns > parsed_at


def test_changed_reference_data_are_copied_without_parsing_the_project_again(settings: Settings):
    project = DbtProject(settings)
    parsed_at, before = project.prepare().stat().st_mtime_ns, project.fingerprint()
    seed = settings.reference_dir / "seed_budgets.csv"
    seed.write_text(seed.read_text(encoding="utf-8") + "b-1,team,millers,2026-03-01,10\n", encoding="utf-8")
    assert DbtProject(settings).prepare().stat().st_mtime_ns == parsed_at
    assert (project_dir(settings).parent / "seeds" / "seed_budgets.csv").read_bytes() == seed.read_bytes()
    assert DbtProject(settings).fingerprint() != before


def test_state_directory_may_move(settings: Settings, tmp_path: Path):
    DbtProject(settings).prepare()
    moved = settings.model_copy(update={"state_dir": tmp_path / "moved"})
    settings.state_dir.rename(moved.state_dir)
    seeds = [node for node in DbtProject(moved).build_folder(["resource_type:seed"]) if node.resource_type == "seed"]
    assert {node.name for node in seeds if node.is_ok} == {path.stem for path in DEFAULT_REFERENCE_DIR.glob("*.csv")}


def test_folder_is_built_with_its_tests_and_nothing_else(settings: Settings):
    project = DbtProject(settings)
    whole = project.build(["resource_type:seed"], exclude=["resource_type:unit_test"])
    part = project.build_folder(["resource_type:seed"])
    assert {node.unique_id for node in part} == {node.unique_id for node in whole}
    assert any(node.resource_type == "test" for node in part)
    fewer = project.build_folder(["resource_type:seed"], left_out_tags=["needs_seed_kpis"])
    assert {node.unique_id for node in fewer} < {node.unique_id for node in part}


def test_build_reports_every_node_and_leaves_environment_and_file_free(settings: Settings):
    environment = dict(os.environ)
    results = DbtProject(settings).build(["resource_type:seed"], exclude=["resource_type:unit_test"])
    seeds = {node.name: node for node in results if node.resource_type == "seed"}
    assert set(seeds) == {path.stem for path in DEFAULT_REFERENCE_DIR.glob("*.csv")}
    assert {node.name: node.message for node in seeds.values() if not node.is_ok} == {}
    assert dict(os.environ) == environment
    with duckdb.connect(str(settings.warehouse_path)) as con:
        assert con.execute("select bought_units from reference.seed_commitments").fetchall() == [(2,)]
