"""What runs when: pulls by feed, builds of exactly what changed, exports on the first working day."""

from datetime import UTC, date, datetime
from pathlib import Path

import dagster as dg
import pytest

from dagster_project.build import build_defs
from dagster_project.schedules import (
    BUILD_WAREHOUSE,
    EXPORT_TABLES,
    INGEST_SOURCES,
    is_first_working_day,
    range_request,
)
from tests.integration.small_company import SmallCompany


@pytest.fixture(scope="module")
def defs(tmp_path_factory: pytest.TempPathFactory) -> dg.Definitions:
    return build_defs(settings=SmallCompany.found(tmp_path_factory.mktemp("small") / "company").settings)


@pytest.mark.parametrize(
    ("day", "is_first"),
    [
        (date(2026, 10, 1), True),  # Thursday
        (date(2026, 10, 2), False),  # Friday after it
        (date(2026, 8, 1), False),  # Saturday
        (date(2026, 8, 2), False),  # Sunday
        (date(2026, 8, 3), True),  # the Monday after a weekend that began the month
        (date(2026, 11, 1), False),  # Sunday
        (date(2026, 11, 2), True),  # the Monday after it
        (date(2026, 11, 3), False),
        (date(2026, 10, 30), False),
    ],
)
def test_first_working_day_is_the_first_that_is_no_saturday_or_sunday(day: date, is_first: bool):
    assert is_first_working_day(day) == is_first


def test_every_month_has_one_first_working_day_among_its_first_three():
    for month in range(1, 13):
        days = [day for day in range(1, 29) if is_first_working_day(date(2027, month, day))]
        assert len(days) == 1
        assert days[0] <= 3


def test_range_request_names_its_days():
    request = range_request(date(2026, 3, 3), date(2026, 3, 5), run_key="k")
    assert request.run_key == "k"
    assert request.tags == {
        "dagster/asset_partition_range_start": "2026-03-03",
        "dagster/asset_partition_range_end": "2026-03-05",
    }


def test_every_feed_is_pulled_on_its_own_schedule(defs: dg.Definitions):
    schedules = {schedule.name: schedule for schedule in defs.schedules or ()}
    assert {name: schedule.cron_schedule for name, schedule in schedules.items()} == {
        "ingest_invoices_daily": "37 5 * * *",
        "ingest_kpis_daily": "37 5 * * *",
        "ingest_rates_daily": "37 5 * * *",
        "ingest_usage_hourly": "7 * * * *",
        "export_tables_monthly": "0 6 1-3 * *",
    }
    assert {schedule.execution_timezone for schedule in schedules.values()} == {"UTC"}


def test_ingest_jobs_pull_and_do_not_build(defs: dg.Definitions):
    def assets(job: str) -> set[str]:
        return {key.to_user_string() for key in defs.resolve_job_def(job).asset_layer.executable_asset_keys}

    assert assets("ingest_usage") == {"raw_table_files__calls"}
    assert assets("ingest_kpis") == {"raw_kpi_files__scores"}
    raw = {"raw_contract_files__terms", "raw_focus_files__charges", "raw_kpi_files__scores", "raw_table_files__calls"}
    assert assets(INGEST_SOURCES) == raw
    assert assets(BUILD_WAREHOUSE).isdisjoint(raw)
    assert {"seed_kpis", "fct_calls", "serving_warehouse", "finance_exports"} <= assets(BUILD_WAREHOUSE)
    assert assets(EXPORT_TABLES) == {"finance_exports"}


@pytest.mark.parametrize(("day", "is_run"), [(date(2026, 10, 1), True), (date(2026, 10, 2), False)])
def test_exports_run_on_the_first_working_day_only(defs: dg.Definitions, day: date, is_run: bool):
    schedule = defs.resolve_schedule_def("export_tables_monthly")
    at = datetime(day.year, day.month, day.day, 6, tzinfo=UTC)
    data = schedule.evaluate_tick(dg.build_schedule_context(scheduled_execution_time=at))
    assert [request.run_key for request in data.run_requests or ()] == ([day.isoformat()] if is_run else [])
    assert bool(data.skip_message) != is_run


def test_sensor_asks_for_nothing_before_anything_was_pulled(tmp_path: Path):
    defs = build_defs(settings=SmallCompany.found(tmp_path / "company").settings)
    with dg.DagsterInstance.ephemeral() as instance:
        context = dg.build_sensor_context(instance=instance, definitions=defs)
        data = defs.resolve_sensor_def("restatement_sensor").evaluate_tick(context)
    assert data.skip_message == "No day changed since it was built."
