"""The one assembly path: what a configuration becomes, without running it."""

from datetime import UTC, date, datetime
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.definitions.assets.graph.asset_graph import AssetGraph

from dagster_project.build import build_defs, configured_parts, daily_partitions
from dagster_project.gates.gate import is_gate_name
from dagster_project.settings import Settings
from dagster_project.sources.bedrock_model_units import BedrockModelUnitsOptions
from dagster_project.warehouse.dbt import filled_seeds
from tests.conventions.test_dbt_grammar import FOLDERS_OVER_THE_LEDGER
from tests.integration.small_company import SmallCompany


@pytest.fixture(scope="module")
def company(tmp_path_factory: pytest.TempPathFactory) -> SmallCompany:
    return SmallCompany.found(tmp_path_factory.mktemp("small") / "company")


@pytest.fixture(scope="module")
def graph(company: SmallCompany) -> AssetGraph:
    return build_defs(settings=company.settings).resolve_asset_graph()


def _with(settings: Settings, **changes: object) -> Settings:
    return settings.model_copy(update=changes)


def test_partitions_are_the_days_up_to_the_as_of_instant(company: SmallCompany):
    keys = daily_partitions(company.settings).get_partition_keys()
    assert keys == [f"2026-03-0{day}" for day in range(2, 9)]
    later = _with(company.settings, as_of=datetime(2026, 3, 9, 0, 0, 1, tzinfo=UTC))
    assert daily_partitions(later).get_partition_keys()[-1] == "2026-03-09"


def test_partitions_without_an_as_of_instant_reach_today(company: SmallCompany):
    today = datetime.now(UTC).date()
    keys = daily_partitions(_with(company.settings, as_of=None, start_date=date(2026, 3, 2))).get_partition_keys()
    assert keys[0] == "2026-03-02"
    assert keys[-1] in {today.isoformat(), datetime.now(UTC).date().isoformat()}


def test_parts_are_what_sources_and_reference_data_feed(company: SmallCompany, tmp_path: Path):
    of_sources = {"usage", "table_files", "rates", "contract_files", "invoices", "focus_files", "kpis", "kpi_files"}
    of_reference = {"use_cases", "commitments", "deployments", "deployed_capacity"}
    filled = filled_seeds(company.settings.reference_dir)
    assert configured_parts(company.settings) == of_sources | of_reference | filled
    only_usage = company.settings.sources[:1]
    settings = _with(company.settings, sources=only_usage, reference_dir=tmp_path)
    assert configured_parts(settings) == {"usage", "table_files"}
    other = SmallCompany(tmp_path)
    other.write("seed_commitments.csv", ["commitment_id", ""])
    other.write("seed_use_cases.csv", ["use_case_id", "support"])
    assert configured_parts(settings) == {"usage", "table_files", "use_cases", "seed_use_cases"}


@pytest.mark.parametrize(
    ("commitments", "deployments", "parts"),
    [
        ([], [], set()),
        (["pool"], [], {"commitments"}),
        ([], ["paid-as-it-goes,"], {"deployments"}),
        (["pool"], ["paid-as-it-goes,"], {"commitments", "deployments"}),
        (["pool"], ["paid-as-it-goes,", "ptu,pool"], {"commitments", "deployments", "deployed_capacity"}),
    ],
)
def test_capacity_is_deployed_when_a_deployment_draws_on_a_commitment(
    company: SmallCompany, tmp_path: Path, commitments: list[str], deployments: list[str], parts: set[str]
):
    other = SmallCompany(tmp_path)
    other.write("seed_commitments.csv", ["commitment_id", *commitments])
    other.write("seed_deployments.csv", ["deployment_id,commitment_id", *deployments])
    sources = company.settings.sources
    settings = _with(company.settings, sources=sources[:1], reference_dir=tmp_path)
    others = {"usage", "table_files", "seed_commitments", "seed_deployments"}
    assert configured_parts(settings) - others == parts
    without_usage = _with(settings, sources=sources[2:3])
    assert configured_parts(without_usage) - {"invoices", "focus_files", *others} == parts - {"deployed_capacity"}


def test_capacity_is_deployed_when_a_source_of_deployments_names_a_commitment(company: SmallCompany, tmp_path: Path):
    other = SmallCompany(tmp_path)
    other.write("seed_commitments.csv", ["commitment_id", "units"])
    given = {"name": "units", "kind": "bedrock_model_units", "path": "x.json"}
    named = BedrockModelUnitsOptions.model_validate({**given, "commitments": {"claims": "units"}})
    unnamed = BedrockModelUnitsOptions.model_validate({**given, "commitment_id": "another"})
    usage = company.settings.sources[0]
    parts = [
        configured_parts(_with(company.settings, sources=(usage, options), reference_dir=tmp_path))
        for options in (named, unnamed)
    ]
    assert ["deployed_capacity" in found for found in parts] == [True, False]
    # Nothing has landed that could be judged.
    assert "capacity" not in parts[0]


def test_every_asset_belongs_to_a_stage_and_says_what_it_is(graph: AssetGraph):
    groups = {graph.get(key).group_name for key in graph.materializable_asset_keys}
    assert groups == {"raw", "reference", "staging", "intermediate", "marts", "analytics", "publish"}
    undescribed = {key.to_user_string() for key in graph.materializable_asset_keys if not graph.get(key).description}
    assert undescribed == set()


def test_serving_waits_for_every_mart_and_exports_for_serving(graph: AssetGraph):
    marts = {key for key in graph.materializable_asset_keys if graph.get(key).group_name == "marts"}
    serving = graph.get(dg.AssetKey("serving_warehouse"))
    assert marts <= serving.parent_keys
    assert graph.get(dg.AssetKey("finance_exports")).parent_keys == {dg.AssetKey("serving_warehouse")}


def test_data_flow_one_way_through_the_stages(graph: AssetGraph):
    over_the_ledger = tuple(f"int_{folder}__" for folder in FOLDERS_OVER_THE_LEDGER)
    order = ["raw", "reference", "staging", "intermediate", "marts", "analytics", "publish"]
    backwards = {
        (parent.to_user_string(), key.to_user_string())
        for key in graph.materializable_asset_keys
        for parent in graph.get(key).parent_keys & graph.materializable_asset_keys
        if order.index(str(graph.get(parent).group_name)) > order.index(str(graph.get(key).group_name))
        and not key.to_user_string().startswith(over_the_ledger)
    }
    assert backwards == set()


def test_every_check_is_named_like_a_gate(graph: AssetGraph):
    names = {key.name for key in graph.asset_check_keys}
    assert len(names) == len(graph.asset_check_keys)
    assert {name for name in names if not is_gate_name(name)} == set()


def test_feed_that_is_not_configured_has_no_gate(company: SmallCompany, tmp_path: Path):
    other = company.copy_without_state(tmp_path / "company")
    text = (other.root / "company.yaml").read_text(encoding="utf-8")
    without = [line for line in text.splitlines() if "invoices" not in line]
    other.write("company.yaml", without)
    checks = build_defs(settings=other.settings).resolve_asset_graph().asset_check_keys
    of_invoices = ("invoice_lines", "focus_files", "focus_invoice_detail", "lines_reconciled", "bills_reconciled")
    assert {key.name for key in checks if any(part in key.name for part in of_invoices)} == set()


def test_staging_that_no_source_feeds_is_built_by_one_op(company: SmallCompany):
    assets = build_defs(settings=company.settings).resolve_asset_graph().assets_defs
    ops = {
        key.to_user_string(): definition.op.name
        for definition in assets
        if definition.is_executable
        for key in definition.keys
        if key.to_user_string().startswith("stg_")
    }
    assert ops["stg_table_files__calls"] == "dbt_staging_table_files"
    assert ops["stg_kpi_files__scores"] == "dbt_staging_kpi_files"
    without = {ops[f"stg_{name}"] for name in ("otlp_files__spans", "litellm_prices__rates", "openai_costs__costs")}
    assert without == {"dbt_staging_without_source"}


def test_company_without_a_demo_section_has_no_demo_asset(graph: AssetGraph):
    assert dg.AssetKey("novaspark_feeds") not in graph.materializable_asset_keys
