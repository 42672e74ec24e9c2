"""Jobs, schedules and sensors: what runs when.

Usage is pulled hourly, the other feeds daily. A pull only notes which days changed; the restatement sensor
requests a build of exactly those days, and again after a pause when it failed. Exports follow on the first working day
of the month.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition
from dagster._core.storage.dagster_run import FINISHED_STATUSES
from filelock import Timeout

from dagster_project.demo_assets import demo_assets
from dagster_project.publish.assets import EXPORTS
from dagster_project.settings import Settings
from dagster_project.sources import discover
from dagster_project.warehouse import restatement
from dagster_project.warehouse.calendar import Window
from dagster_project.warehouse.connection import open_warehouse, writer_lock
from dagster_project.warehouse.raw_assets import DEMO_FEEDS, RAW_GROUP
from dagster_project.warehouse.run_window import range_tags, run_window

INGEST_SOURCES = "ingest_sources"
BUILD_WAREHOUSE = "build_warehouse"
EXPORT_TABLES = "export_tables"
BUILT_GROUPS = ("reference", "staging", "intermediate", "marts", "analytics", "publish")

_HOURLY = "7 * * * *"
_DAILY = "37 5 * * *"
_MONTH_BEGIN = "0 6 1-3 * *"
_SATURDAY = 5

_FIRST_PAUSE = timedelta(minutes=2)
_LONGEST_PAUSE = timedelta(hours=1)


def jobs(settings: Settings) -> list[UnresolvedAssetJobDefinition]:
    """Give the jobs: everything that is pulled, each feed's pull, the build, the exports."""
    demo = dg.AssetSelection.assets(DEMO_FEEDS) if demo_assets(settings) else None
    pulled = dg.AssetSelection.groups(RAW_GROUP)
    return [
        dg.define_asset_job(
            INGEST_SOURCES,
            selection=pulled | demo if demo else pulled,
            description="Pull every configured source, land it, judge it, and note which days changed.",
        ),
        *(
            dg.define_asset_job(
                f"ingest_{feed}",
                selection=dg.AssetSelection.tag("feed", feed),
                description=f"Pull the {feed} sources.",
            )
            for feed in _feeds(settings)
        ),
        dg.define_asset_job(
            BUILD_WAREHOUSE,
            selection=dg.AssetSelection.groups(*BUILT_GROUPS),
            description="Build, judge and publish a range of days.",
        ),
        dg.define_asset_job(
            EXPORT_TABLES,
            selection=dg.AssetSelection.assets(EXPORTS),
            description="Write the finance exports.",
        ),
    ]


def schedules(settings: Settings) -> list[dg.ScheduleDefinition]:
    """Give the schedules: usage hourly, the other feeds daily, exports on the month's first working day."""
    pulls = [
        dg.ScheduleDefinition(
            name=f"ingest_{feed}_{'hourly' if feed == 'usage' else 'daily'}",
            job_name=f"ingest_{feed}",
            cron_schedule=_HOURLY if feed == "usage" else _DAILY,
            execution_timezone="UTC",
        )
        for feed in _feeds(settings)
    ]
    return [*pulls, _export_schedule()]


def is_first_working_day(day: date) -> bool:
    """Whether a day is the first of its month that is no Saturday or Sunday."""
    return day.weekday() < _SATURDAY and all(
        day.replace(day=earlier).weekday() >= _SATURDAY for earlier in range(1, day.day)
    )


def _export_schedule() -> dg.ScheduleDefinition:
    @dg.schedule(
        name="export_tables_monthly",
        job_name=EXPORT_TABLES,
        cron_schedule=_MONTH_BEGIN,
        execution_timezone="UTC",
    )
    def export_tables_monthly(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        day = context.scheduled_execution_time.date()
        if is_first_working_day(day):
            return dg.RunRequest(run_key=day.isoformat())
        return dg.SkipReason(f"{day} is not the first working day of its month.")

    return export_tables_monthly


def sensors(settings: Settings) -> list[dg.SensorDefinition]:
    """Give the restatement sensor: it requests a build of the days that changed, and of no others."""

    @dg.sensor(
        name="restatement_sensor",
        job_name=BUILD_WAREHOUSE,
        minimum_interval_seconds=60,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Requests a build of exactly the days that late data, changed prices or corrections touch.",
    )
    def restatement_sensor(context: dg.SensorEvaluationContext) -> Sequence[dg.RunRequest] | dg.SkipReason:
        try:
            with writer_lock(settings).acquire(timeout=0), open_warehouse(settings) as con:
                ranges = restatement.pending_ranges(con)
                stamps = [restatement.latest_request(con, first, last) for first, last in ranges]
        except Timeout:
            return dg.SkipReason("The warehouse is being written; the days that changed are read when it is free.")
        if not ranges:
            return dg.SkipReason("No day changed since it was built.")
        builds = _builds(context.instance, settings, since=min(stamps))
        requests: list[dg.RunRequest] = []
        pauses: list[str] = []
        for (first, last), stamp in zip(ranges, stamps, strict=True):
            same_days = [
                build for build in builds if build.window.first_date <= last and first <= build.window.last_date
            ]
            ended = [build.ended_at for build in same_days if build.ended_at and build.created_at >= stamp]
            if any(build.ended_at is None for build in same_days):
                pauses.append(f"{first}..{last} is being built")
            elif ended and datetime.now(UTC) < (due_at := retry_at(ended)):
                pauses.append(
                    f"{first}..{last} failed {len(ended)} times; it is requested again at {due_at:%H:%M:%S} UTC"
                )
            else:
                requests.append(range_request(first, last, run_key=f"{first}..{last}@{stamp.isoformat()}#{len(ended)}"))
        return requests or dg.SkipReason("; ".join(pauses))

    return [restatement_sensor]


def retry_at(ended_at: Sequence[datetime]) -> datetime:
    """Say when a range is requested again whose runs ended without publishing it.

    Args:
        ended_at: When each of them ended; at least one.

    Returns:
        2, 4, 8 ... minutes after the last one, an hour at most.
    """
    doublings = min(len(ended_at) - 1, 10)
    return max(ended_at) + min(_FIRST_PAUSE * 2**doublings, _LONGEST_PAUSE)


@dataclass(frozen=True)
class _Build:
    """A run that builds the days of a window; `ended_at` is None while it waits or runs."""

    window: Window
    created_at: datetime
    ended_at: datetime | None


def _builds(instance: dg.DagsterInstance, settings: Settings, *, since: datetime) -> list[_Build]:
    """Give the builds that were asked for since an instant, and those before it that have not ended."""
    waiting_or_running = [status for status in dg.DagsterRunStatus if status not in FINISHED_STATUSES]
    records = {
        record.dagster_run.run_id: record
        for runs in (
            dg.RunsFilter(job_name=BUILD_WAREHOUSE, statuses=waiting_or_running),
            dg.RunsFilter(job_name=BUILD_WAREHOUSE, created_after=since),
        )
        for record in instance.get_run_records(runs)
    }
    return [
        _Build(run_window(record.dagster_run.tags, settings), record.create_timestamp, _ended_at(record))
        for record in records.values()
    ]


def _ended_at(record: dg.RunRecord) -> datetime | None:
    if not record.dagster_run.is_finished:
        return None
    # A run that was ended before it began has no end of its own.
    return datetime.fromtimestamp(record.end_time, UTC) if record.end_time else record.update_timestamp


def range_request(first: date, last: date, *, run_key: str) -> dg.RunRequest:
    """Give the request of one run over a range of days."""
    return dg.RunRequest(run_key=run_key, tags=range_tags(first, last))


def _feeds(settings: Settings) -> list[str]:
    connectors = discover()
    return sorted({connectors[options.kind].feed for options in settings.sources})
