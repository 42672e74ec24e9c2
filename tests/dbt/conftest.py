"""An empty warehouse with every relation of the dbt project, and dbt bound to it."""

from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from dagster_project.settings import Settings, load_settings
from dagster_project.sources import discover
from dagster_project.warehouse.connection import open_warehouse
from dagster_project.warehouse.dbt import DbtProject
from dagster_project.warehouse.landing import LandingZone
from dagster_project.warehouse.raw import refresh_views

CONFIG = """\
organization: Nobody
start_date: 2026-07-01
as_of: 2026-08-01T00:00:00Z
sources:
  - {name: list_prices, kind: genai_prices}
"""


@pytest.fixture(scope="session")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A company whose one source is never pulled: nothing ever lands."""
    folder = tmp_path_factory.mktemp("dbt")
    config = folder / "tokenledger.yaml"
    config.write_text(CONFIG, encoding="utf-8")
    return load_settings(config_path=config, state_dir=folder / "state", environ={})


@pytest.fixture(scope="session")
def project(settings: Settings) -> DbtProject:
    """The dbt project, its seeds loaded and its models built over raw tables that hold nothing."""
    with open_warehouse(settings) as con:
        refresh_views(con, LandingZone(settings.landing_dir), discover().values())
    bound = DbtProject(settings)
    nodes = bound.build(
        ["resource_type:seed", "resource_type:model"], exclude=["resource_type:test", "resource_type:unit_test"]
    )
    assert [(node.name, node.message) for node in nodes if not node.is_ok] == []
    return bound


@pytest.fixture
def con(tmp_path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """A database of its own, in UTC as the pipeline's."""
    with duckdb.connect(str(tmp_path / "tiny.duckdb")) as connection:
        connection.execute("set timezone = 'UTC'")
        yield connection
