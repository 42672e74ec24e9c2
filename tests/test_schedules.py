"""What runs when: pulls by feed, builds of exactly what changed, exports on the first working day."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.events import DagsterEvent
from dagster._core.storage.dagster_run import DagsterRun

from dagster_project.build import build_defs
from dagster_project.schedules import (
    BUILD_WAREHOUSE,
    EXPORT_TABLES,
    INGEST_SOURCES,
    is_first_working_day,
    range_request,
    retry_at,
)
from dagster_project.warehouse import restatement
from dagster_project.warehouse.calendar import Calendar, Window
from dagster_project.warehouse.connection import open_warehouse
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
    assert assets("ingest_rates") == {"raw_contract_files__terms", "repriced_days"}
    raw = {"raw_contract_files__terms", "raw_focus_files__charges", "raw_kpi_files__scores", "raw_table_files__calls"}
    assert assets(INGEST_SOURCES) == raw | {"repriced_days"}
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


# ---- failed builds


@pytest.mark.parametrize(("failures", "minutes"), [(1, 2), (2, 4), (3, 8), (5, 32), (6, 60), (7, 60), (5_000, 60)])
def test_pause_after_a_failure_doubles_up_to_an_hour(failures: int, minutes: int):
    last = datetime(2026, 3, 9, 12, tzinfo=UTC)
    ended = [last - timedelta(hours=failures - 1 - index) for index in range(failures)]
    assert retry_at(ended[::-1]) == last + timedelta(minutes=minutes)


FIRST, LAST = "2026-03-02", "2026-03-08"


class Daemon:
    """The sensor over a company whose seven days wait for a build, and the runs that came of it."""

    def __init__(self, folder: Path, instance: dg.DagsterInstance) -> None:
        self.company = SmallCompany.found(folder / "company")
        self.instance = instance
        self._defs = build_defs(settings=self.company.settings)
        self._run_count = 0
        self.note_days()

    def note_days(self, now: datetime | None = None) -> None:
        """Request every day that was never requested, a minute ago unless said otherwise."""
        with open_warehouse(self.company.settings) as con:
            now = now or datetime.now(UTC) - timedelta(minutes=1)
            restatement.note_days(con, calendar=Calendar.of(self.company.settings), now=now)

    def request_again(self, day: str) -> None:
        """Request a day as a late record does."""
        with open_warehouse(self.company.settings) as con:
            con.execute("insert into ops.restatements values (?, 'late', ?, null, null)", [day, datetime.now(UTC)])

    def tick(self) -> list[dg.RunRequest] | str:
        """What the sensor asks for, or why it does not."""
        context = dg.build_sensor_context(instance=self.instance, definitions=self._defs)
        data = self._defs.resolve_sensor_def("restatement_sensor").evaluate_tick(context)
        return data.skip_message or list(data.run_requests or ())

    def requested(self) -> dg.RunRequest:
        """The one request of a tick."""
        found = self.tick()
        assert isinstance(found, list), found
        [request] = found
        return request

    def start(self, tags: dict[str, str]) -> str:
        """Launch a build; gives its run."""
        self._run_count += 1
        run_id = f"{self._run_count:032}"
        run = DagsterRun(BUILD_WAREHOUSE, run_id, status=dg.DagsterRunStatus.STARTED, tags=tags)
        self.instance.run_storage.add_run(run)
        return run_id

    def fail(self, run_id: str, *, minutes_ago: float) -> None:
        """Let a build fail."""
        event = DagsterEvent(dg.DagsterEventType.RUN_FAILURE.value, BUILD_WAREHOUSE, message="a gate failed")
        at = datetime.now(UTC) - timedelta(minutes=minutes_ago)
        self.instance.run_storage.handle_run_event(run_id, event, at)


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield Daemon(tmp_path, instance)


def _range(first: str, last: str) -> dict[str, str]:
    return dict(range_request(date.fromisoformat(first), date.fromisoformat(last), run_key="").tags)


def _days(request: dg.RunRequest) -> dict[str, str]:
    return {name: value for name, value in request.tags.items() if "partition" in name}


def test_sensor_asks_again_for_a_failed_range_after_a_pause_that_grows(daemon: Daemon):
    keys: set[str | None] = set()
    ended: list[str] = []
    for failures, pause_minutes in enumerate([2, 4, 8], start=1):
        request = daemon.requested()
        assert _days(request) == _range(FIRST, LAST)
        keys.add(request.run_key)
        run_id = daemon.start(dict(request.tags))
        daemon.fail(run_id, minutes_ago=pause_minutes - 1)
        assert f"{FIRST}..{LAST} failed {failures} times; it is requested again at" in str(daemon.tick())
        ended.append(run_id)
        for hours, earlier in enumerate(ended[::-1]):
            daemon.fail(earlier, minutes_ago=pause_minutes + 0.1 + hours * 60)
    assert daemon.requested().run_key not in keys
    assert len(keys) == 3


def test_sensor_asks_once_for_a_range_while_nothing_came_of_the_request(daemon: Daemon):
    # Dagster launches no second run for the same key: the daemon may ask again before it has launched the first.
    assert daemon.requested().run_key == daemon.requested().run_key


@pytest.mark.parametrize(
    "tags",
    [
        _range(FIRST, LAST),
        _range("2026-03-08", "2026-03-08"),
        {"dagster/partition": "2026-03-04"},
        {},
    ],
    ids=["the range", "its last day", "one of its days", "everything"],
)
def test_sensor_waits_while_a_run_builds_days_of_the_range(daemon: Daemon, tags: dict[str, str]):
    run_id = daemon.start(tags)
    assert daemon.tick() == f"{FIRST}..{LAST} is being built"
    daemon.fail(run_id, minutes_ago=3)
    assert _days(daemon.requested()) == _range(FIRST, LAST)


def test_sensor_does_not_wait_for_runs_of_other_days(daemon: Daemon):
    window = Window(date(2026, 3, 3), date(2026, 3, 7))
    now = datetime.now(UTC)
    with open_warehouse(daemon.company.settings) as con:
        restatement.close_requests(con, window, requested_until=now, built_at=now)
    daemon.start(_range(LAST, LAST))
    daemon.fail(daemon.start(_range("2026-03-04", "2026-03-04")), minutes_ago=0)
    assert _days(daemon.requested()) == _range(FIRST, FIRST)


def test_sensor_asks_at_once_when_something_new_is_requested_after_a_failure(daemon: Daemon):
    request = daemon.requested()
    daemon.fail(daemon.start(dict(request.tags)), minutes_ago=0)
    assert "failed 1 times" in str(daemon.tick())
    daemon.request_again("2026-03-05")
    again = daemon.requested()
    assert _days(again) == _days(request)
    assert again.run_key != request.run_key
