"""Which kinds feed the warehouse, when sources come and go."""

from pathlib import Path

import pytest

from dagster_project.settings import FormerSource, Settings
from dagster_project.sources import discover
from dagster_project.sources._connector import SourceOptions
from dagster_project.sources.manual_scores import Entry, Journal
from dagster_project.warehouse.dbt_assets import folders, kinds_read
from dagster_project.warehouse.feeds import fed_kinds, fed_parts
from dagster_project.warehouse.landing import LandingZone, pull_source
from tests.integration.small_company import SmallCompany
from tests.sources.pulling import NOW


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """The small company, its sources pulled and then all but the calls taken out of the configuration."""
    company = SmallCompany.found(tmp_path / "company").settings
    zone = LandingZone(company.landing_dir)
    for options in company.sources:
        pull_source(zone, discover()[options.kind], options, now=NOW)
    return company.model_copy(update={"sources": company.sources[:1]})


def _former(settings: Settings, *items: tuple[str, str, str]) -> Settings:
    former = tuple(
        FormerSource.model_validate({"name": name, "kind": kind, "landings": landings})
        for name, kind, landings in items
    )
    return settings.model_copy(update={"former_sources": former})


def test_kinds_are_those_configured_before_anything_landed(tmp_path: Path):
    settings = SmallCompany.found(tmp_path / "company").settings
    assert fed_kinds(settings) == ["table_files", "contract_files", "focus_files", "kpi_files"]


def test_kind_that_is_not_configured_any_more_feeds_while_its_landings_count(settings: Settings):
    assert fed_kinds(settings) == ["table_files", "contract_files", "focus_files", "kpi_files"]
    feeds = {"usage", "rates", "invoices", "kpis"}
    assert fed_parts(settings) == {*feeds, "table_files", "contract_files", "focus_files", "kpi_files"}
    assert fed_kinds(_former(settings, ("invoices", "focus_files", "kept"))) == fed_kinds(settings)


def test_kind_whose_sources_are_all_withdrawn_feeds_no_more(settings: Settings):
    withdrawn = _former(settings, ("invoices", "focus_files", "withdrawn"))
    assert fed_kinds(withdrawn) == ["table_files", "contract_files", "kpi_files"]
    LandingZone(settings.landing_dir).withdraw("focus_files", "invoices", now=NOW)
    assert fed_kinds(settings) == fed_kinds(withdrawn)


def test_kind_without_a_connector_is_left_out(settings: Settings):
    folder = settings.landing_dir / "_manifest"
    (folder / "focus_files").rename(folder / "abandoned_kind")
    assert "abandoned_kind" not in fed_kinds(settings)


def _sources(*sources: dict[str, object]) -> tuple[SourceOptions, ...]:
    return tuple(discover()[str(item["kind"])].options.model_validate(item) for item in sources)


def test_kind_without_staging_of_its_own_feeds_that_of_another(settings: Settings):
    proxy = {"name": "proxy", "kind": "litellm_spend_logs", "database": {"url": "postgresql://u:p@h/d"}}
    asked = settings.model_copy(update={"sources": _sources(proxy), "state_dir": settings.state_dir / "new"})
    assert fed_parts(asked) == {"litellm_spend_logs", "usage_payloads", "usage"}


def test_kind_that_may_be_empty_feeds_once_it_has_records(settings: Settings, tmp_path: Path):
    by_hand = {"name": "by_hand", "kind": "manual_scores", "path": str(tmp_path / "scores")}
    entered = settings.model_copy(update={"sources": _sources(by_hand), "state_dir": tmp_path / "new"})
    assert fed_parts(entered) == {"manual_scores"}
    entry = Entry("csat", "support", None, "run", 4.0, NOW, "attested", "m.curie", "Phone survey")
    Journal(tmp_path / "scores").add(entry, now=NOW)
    pull_source(LandingZone(entered.landing_dir), discover()["manual_scores"], entered.sources[0], now=NOW)
    assert fed_parts(entered) == {"manual_scores", "kpi_files", "kpis"}


def test_folder_of_models_reads_every_kind_that_it_stages():
    assert kinds_read("kpi_files") == ["kpi_api", "kpi_files", "kpi_query", "manual_scores"]


def test_folder_that_stages_a_configured_kind_has_an_op_of_its_own():
    names = ("capacity", "kpi_files", "table_files", "usage_payloads")
    models = {
        name: {"resource_type": "model", "fqn": ["tokenledger", "staging", name, f"stg_{name}"], "config": {"meta": {}}}
        for name in names
    }
    # Neither kind has a folder of its name, and neither has to have a record.
    found = folders({"nodes": models}, frozenset({"azure_ptu", "manual_scores"}))
    assert {folder.name: folder.selectors for folder in found if folder.stage == "staging"} == {
        "capacity": ("fqn:tokenledger.staging.capacity",),
        "kpi_files": ("fqn:tokenledger.staging.kpi_files",),
        "without_source": ("fqn:tokenledger.staging.table_files", "fqn:tokenledger.staging.usage_payloads"),
    }
