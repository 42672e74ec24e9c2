"""Runs the main job in this process: pull everything, build the days that changed, publish.

Used by the command line and by tests. What the jobs are is `build.py`; what a run prints is `cli.py`.
"""

import logging
import sqlite3
from dataclasses import dataclass, field
from datetime import date

import dagster as dg
from sqlalchemy import event as engine_event
from sqlalchemy.engine import Engine

from dagster_project.build import build_defs
from dagster_project.progress import Progress
from dagster_project.publish.assets import stale_periods
from dagster_project.schedules import BUILD_WAREHOUSE, EXPORT_TABLES, INGEST_SOURCES
from dagster_project.settings import PROJECT_ROOT, Settings
from dagster_project.warehouse import restatement
from dagster_project.warehouse.connection import kept_open, open_warehouse
from dagster_project.warehouse.run_window import range_tags

_QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


@dataclass(frozen=True)
class FailedCheck:
    """A gate that failed in a run."""

    name: str
    asset: str
    evaluated_count: int
    violation_count: int
    rule: str


@dataclass
class RunOutcome:
    """What the main job did.

    Attributes:
        is_success: Whether every job of it succeeded.
        ranges: Ranges of days that were built, both ends inclusive.
        run_ids: Dagster runs, in order.
        passed_count: Gates that passed, each range's own.
        failed_checks: Gates that failed.
        failures: What stopped a step, in words.
    """

    is_success: bool = True
    ranges: list[tuple[date, date]] = field(default_factory=list)
    run_ids: list[str] = field(default_factory=list)
    passed_count: int = 0
    failed_checks: list[FailedCheck] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)


def run_main_job(settings: Settings, progress: Progress) -> RunOutcome:
    """Pull every source, then build and publish each range of days that changed.

    One run at a time writes a state directory; a second one waits for the first and then builds what is left.
    """
    outcome = RunOutcome()
    with kept_open(settings), dagster_instance(settings) as instance:
        defs = build_defs(settings=settings, resources={"progress": progress})
        _execute(defs, INGEST_SOURCES, instance, outcome, {})
        with open_warehouse(settings) as con:
            outcome.ranges = restatement.pending_ranges(con)
        for first, last in outcome.ranges:
            _execute(defs, BUILD_WAREHOUSE, instance, outcome, range_tags(first, last))
        if stale_periods(settings):
            _execute(defs, EXPORT_TABLES, instance, outcome, {})
    return outcome


def dagster_instance(settings: Settings) -> dg.DagsterInstance:
    """Give the Dagster instance of a state directory, with the project's own configuration."""
    settings.dagster_home.mkdir(parents=True, exist_ok=True)
    written = settings.dagster_home / "dagster.yaml"
    if not written.exists():
        text = (PROJECT_ROOT / "dagster.yaml").read_text(encoding="utf-8")
        written.write_text(text.replace(".tokenledger/dagster", str(settings.dagster_home)), encoding="utf-8")
    return dg.DagsterInstance.from_config(str(settings.dagster_home))


@engine_event.listens_for(Engine, "connect")
def _leave_flushing_to_the_system(connection: object, _record: object) -> None:
    """Write the run history without waiting for the disk at each of a run's thousand events.

    The history is all that this process keeps in SQLite. Killing the process loses nothing of it; a power failure may.
    """
    if isinstance(connection, sqlite3.Connection):
        connection.execute("pragma synchronous = off")


def _execute(
    defs: dg.Definitions, job: str, instance: dg.DagsterInstance, outcome: RunOutcome, tags: dict[str, str]
) -> None:
    logging.getLogger("dagster").setLevel(logging.CRITICAL)
    result = defs.resolve_job_def(job).execute_in_process(
        instance=instance, raise_on_error=False, run_config=_QUIET, tags=tags
    )
    outcome.is_success = outcome.is_success and result.success
    outcome.run_ids.append(result.run_id)
    for event in result.all_events:
        if event.is_step_failure:
            outcome.failures.append(_failure_text(event))
        if event.event_type_value == "ASSET_CHECK_EVALUATION":
            check = event.asset_check_evaluation_data
            if check.passed:
                outcome.passed_count += 1
            else:
                outcome.failed_checks.append(_failed(check))


def _failure_text(event: dg.DagsterEvent) -> str:
    data = event.step_failure_data
    if data.user_failure_data is not None and data.user_failure_data.description:
        return f"{event.step_key}: {data.user_failure_data.description}"
    error = data.error
    while error is not None and error.cause is not None:
        error = error.cause
    return f"{event.step_key}: {error.message.strip() if error else 'failed'}"


def _failed(check: dg.AssetCheckEvaluation) -> FailedCheck:
    values = {name: value.value for name, value in check.metadata.items()}
    return FailedCheck(
        name=check.check_name,
        asset=check.asset_key.to_user_string(),
        evaluated_count=int(str(values.get("evaluated", 0))),
        violation_count=int(str(values.get("violations", 0))),
        rule=str(values.get("rule", "")),
    )
