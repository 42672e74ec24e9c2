"""The main job of a small company without Dagster, gates and publication, for tests that need the ledger alone.

The steps are the job's own: pull, note what landed, note which days are priced otherwise, build each range that waits.
"""

from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta

from dagster_project.sources import discover
from dagster_project.warehouse import restatement
from dagster_project.warehouse.calendar import Calendar
from dagster_project.warehouse.connection import open_warehouse
from dagster_project.warehouse.dbt import DbtProject
from dagster_project.warehouse.dbt_assets import build_vars
from dagster_project.warehouse.landing import LandingZone, SourceFailure, pull_source
from dagster_project.warehouse.raw import refresh_views
from dagster_project.warehouse.raw_assets import show_landings
from dagster_project.warehouse.repricing import request_repriced_days
from tests.integration.small_company import SmallCompany

FOLDERS = ("staging", "intermediate.usage", "intermediate.pricing", "intermediate.capacity", "marts.core", "marts.cost")
SELECTED = ["resource_type:seed", *(f"fqn:tokenledger.{folder}" for folder in FOLDERS)]
TESTS = ["resource_type:test", "resource_type:unit_test"]


@dataclass
class Ledger:
    """A company whose feeds are pulled and whose waiting days are built.

    Attributes:
        company: The company.
        ranges: Of each run, the ranges of days that it built.
        failures: Of each run, what could not be landed.
    """

    company: SmallCompany
    ranges: list[list[tuple[date, date]]] = field(default_factory=list)
    failures: list[list[str]] = field(default_factory=list)

    def run(self) -> None:
        """Pull, note, and build each range of days that waits."""
        config = self.company.settings
        project = DbtProject(config)
        self._pull()
        request_repriced_days(config, project)
        with open_warehouse(config) as con:
            ranges = restatement.pending_ranges(con)
        self.ranges.append(ranges)
        for first, last in ranges:
            begun_at = datetime.now(UTC)
            window = Calendar.of(config).window(first, last)
            with open_warehouse(config) as con:
                refresh_views(con, LandingZone(config.landing_dir), discover().values())
                restatement.note_attempt(con, window, now=begun_at)
            nodes = project.build(SELECTED, exclude=TESTS, variables=build_vars(config, window))
            assert [f"{node.name}: {node.message}" for node in nodes if not node.is_ok] == []
            with open_warehouse(config) as con:
                restatement.note_new_models(con)
                restatement.close_requests(con, window, requested_until=begun_at, built_at=datetime.now(UTC))

    def _pull(self) -> None:
        config = self.company.settings
        assert config.as_of is not None
        zone = LandingZone(config.landing_dir)
        now = config.as_of + timedelta(hours=len(self.ranges))
        self.failures.append([])
        for options in config.sources:
            connector = discover()[options.kind]
            outcomes = pull_source(zone, connector, options, now=now, reference_dir=config.reference_dir)
            self.failures[-1] += [item.message for item in outcomes if isinstance(item, SourceFailure)]
            with open_warehouse(config) as con:
                show_landings(con, config, connector, zone)
