"""What changes restates exactly the days that it touches, and the result is that of a rebuild from nothing.

One story: the small company is built, then one thing after another changes. No change touches a day of a change
before it, so that a day which should have been built again and was not still differs at the end.
"""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from dagster_project.build import build_defs
from dagster_project.runner import RunOutcome
from dagster_project.schedules import INGEST_SOURCES
from dagster_project.warehouse.connection import writer_lock
from tests.integration.small_company import (
    ALL_DAYS,
    COMMITMENT,
    LAST_DAY,
    QUIET_DAY,
    SmallCompany,
    call,
    calls_of,
    differing_tables,
    list_price,
    query,
    scores_of,
)

pytestmark = pytest.mark.integration

MONDAY, TUESDAY, WEDNESDAY, THURSDAY = (date(2026, 3, day) for day in (2, 3, 4, 5))
SATURDAY, SUNDAY = date(2026, 3, 7), LAST_DAY

# 1,000 tokens in at 2.00 and 100 out at 10.00 USD per million.
CALL_COST = Decimal("0.003")
Range = tuple[date, date]


@dataclass(frozen=True)
class Chapter:
    """One change and what came of it.

    Attributes:
        requested: What the sensor asked for after the pull; a text when it skipped.
        outcome: What the main job then did.
        before: The serving file before the change.
        after: The serving file after it.
    """

    requested: list[Range] | str
    outcome: RunOutcome
    before: Path
    after: Path

    def changed_days(self, table: str, columns: str, day: str = "event_date") -> set[date]:
        """The days on which a published table differs from what it was."""
        rows: list[set[tuple[Any, ...]]] = [
            set(query(path, f"select {day}, {columns} from marts.{table}")) for path in (self.before, self.after)
        ]
        return {row[0] for row in rows[0] ^ rows[1]}


def _of_instance(columns: str, instance: str) -> str:
    return f"select {columns} from marts.fct_use_case_instances where use_case_instance_id = '{instance}'"


def _requested(company: SmallCompany) -> list[Range] | str:
    """Pull the sources as the schedule does, then ask the sensor as the daemon does."""
    defs = build_defs(settings=company.settings)
    with dg.DagsterInstance.ephemeral() as instance:
        assert defs.resolve_job_def(INGEST_SOURCES).execute_in_process(instance=instance).success
    return _sensed(defs)


def _sensed(defs: dg.Definitions) -> list[Range] | str:
    sensor = defs.get_sensor_def("restatement_sensor")
    with dg.DagsterInstance.ephemeral() as instance:
        data = sensor.evaluate_tick(dg.build_sensor_context(instance=instance, definitions=defs))
    if data.skip_message:
        return data.skip_message
    tags = [request.tags for request in data.run_requests]
    assert len({request.run_key for request in data.run_requests}) == len(tags)
    return [
        (
            date.fromisoformat(item["dagster/asset_partition_range_start"]),
            date.fromisoformat(item["dagster/asset_partition_range_end"]),
        )
        for item in tags
    ]


class Story:
    """The chapters as they happen, each kept with the files before and after."""

    def __init__(self, company: SmallCompany, shelf: Path) -> None:
        self.company = company
        self.chapters: dict[str, Chapter] = {}
        self._shelf = shelf
        self._last = self._keep("beginning")

    def tell(self, name: str, change: Callable[[SmallCompany], object]) -> None:
        """Change something, pull, ask the sensor, run the main job."""
        change(self.company)
        requested = _requested(self.company)
        outcome = self.company.run()
        before, self._last = self._last, self._keep(name)
        self.chapters[name] = Chapter(requested, outcome, before, self._last)

    def _keep(self, name: str) -> Path:
        return Path(shutil.copy(self.company.settings.serving_path, self._shelf / f"{name}.duckdb"))


def _bring_late_calls(company: SmallCompany) -> None:
    """Two calls of Wednesday arrive late: one of an instance of that day, one that began an instance of Thursday."""
    company.write_calls(
        "late.csv",
        [
            call(f"{WEDNESDAY}T11:00:00Z", "late-1", f"run-{WEDNESDAY}-10"),
            call(f"{WEDNESDAY}T23:50:00Z", "late-2", f"run-{THURSDAY}-10"),
        ],
    )


def _change_a_price(company: SmallCompany) -> None:
    """From Sunday on, input costs 4.00 instead of 2.00; the former price ends there."""
    company.write_terms(
        "rates.csv",
        [
            list_price("input", "2.00", valid_to=SUNDAY.isoformat()),
            list_price("input", "4.00", valid_from=SUNDAY.isoformat()),
            list_price("output", "10.00"),
        ],
    )


def _correct_a_file_and_score_late(company: SmallCompany) -> None:
    """Tuesday's first call had 9,000 tokens in; on Saturday it shows that Monday's solved question was not."""
    rows = calls_of(TUESDAY)
    rows[0] = call(f"{TUESDAY}T10:00:00Z", f"{TUESDAY}-10-0", f"run-{TUESDAY}-10", tokens_in=9_000)
    company.write_calls(f"{TUESDAY}.csv", rows)
    company.write_scores(
        f"{SATURDAY}.csv", [*scores_of(SATURDAY), f"{SATURDAY}T17:00:00Z,resolved,0,support,run-{MONDAY}-10"]
    )


def _buy_dearer_capacity(company: SmallCompany) -> None:
    """Each unit costs 2.50 instead of 1.50 USD an hour."""
    company.write_seed("seed_commitments", [COMMITMENT.replace(",1.50,", ",2.50,")])


@pytest.fixture(scope="module")
def story(built_company: SmallCompany, tmp_path_factory: pytest.TempPathFactory) -> Story:
    folder = tmp_path_factory.mktemp("story")
    told = Story(built_company.copy_to(folder / "company"), folder)
    told.tell("nothing", lambda _: None)
    told.tell("late calls", _bring_late_calls)
    told.tell("price", _change_a_price)
    told.tell("correction", _correct_a_file_and_score_late)
    return told


@pytest.fixture(scope="module")
def rebuilt(story: Story, tmp_path_factory: pytest.TempPathFactory) -> SmallCompany:
    """The company as it is at the end of the story, built from nothing."""
    company = story.company.copy_without_state(tmp_path_factory.mktemp("rebuilt") / "company")
    outcome = company.run()
    assert outcome.is_success, outcome
    assert outcome.ranges == ALL_DAYS
    return company


def test_run_without_anything_new_builds_and_publishes_nothing(story: Story):
    chapter = story.chapters["nothing"]
    assert chapter.requested == "No day changed since it was built."
    assert chapter.outcome.is_success
    assert chapter.outcome.ranges == []
    assert chapter.before.read_bytes() == chapter.after.read_bytes()


def test_every_change_is_built_without_a_failed_gate(story: Story):
    assert {name: chapter.outcome.is_success for name, chapter in story.chapters.items()} == dict.fromkeys(
        story.chapters, True
    )
    assert [check for chapter in story.chapters.values() for check in chapter.outcome.failed_checks] == []


def test_late_record_restates_its_own_day_and_no_other(story: Story):
    chapter = story.chapters["late calls"]
    assert chapter.requested == chapter.outcome.ranges == [(WEDNESDAY, WEDNESDAY)]
    assert chapter.changed_days("fct_calls", "columns(*)") == {WEDNESDAY}
    assert chapter.changed_days("rpt_daily_spend", "columns(*)") == {WEDNESDAY}
    assert chapter.changed_days("fct_capacity_hours", "columns(*)") == set()
    instance = _of_instance("call_count, cost_usd", f"run-{WEDNESDAY}-10")
    assert query(chapter.before, instance) == [(3, 3 * CALL_COST)]
    assert query(chapter.after, instance) == [(4, 4 * CALL_COST)]


def test_late_first_call_moves_its_instance_to_the_day_before(story: Story):
    chapter = story.chapters["late calls"]
    moved = _of_instance("started_date, call_count, cost_usd", f"run-{THURSDAY}-10")
    assert query(chapter.before, moved) == [(THURSDAY, 3, 3 * CALL_COST)]
    assert query(chapter.after, moved) == [(WEDNESDAY, 4, 4 * CALL_COST)]
    assert chapter.changed_days("fct_use_case_instances", "columns(*)", "started_date") == {WEDNESDAY, THURSDAY}


def test_changed_price_restates_the_days_from_its_validity_on_and_no_other(story: Story):
    chapter = story.chapters["price"]
    assert chapter.requested == chapter.outcome.ranges == [(SUNDAY, SUNDAY)]
    assert chapter.changed_days("fct_calls", "call_id, list_cost_usd, effective_cost_usd") == {SUNDAY}
    spend = f"select sum(list_cost_usd) from marts.fct_calls where event_date = '{SUNDAY}'"
    assert query(chapter.before, spend) == [(6 * CALL_COST,)]
    assert query(chapter.after, spend) == [(6 * Decimal("0.005"),)]


def test_corrected_file_restates_its_days_and_replaces_what_it_said(story: Story):
    chapter = story.chapters["correction"]
    assert chapter.changed_days("fct_calls", "columns(*)") == {TUESDAY}
    first = f"select input_tokens, list_cost_usd from marts.fct_calls where call_id = '{TUESDAY}-10-0'"
    assert query(chapter.before, first) == [(1_000, CALL_COST)]
    assert query(chapter.after, first) == [(9_000, Decimal("0.019"))]
    assert query(chapter.after, f"select count(*) from marts.fct_calls where event_date = '{TUESDAY}'") == [(7,)]


def test_late_score_restates_its_day_and_the_day_of_its_instance(story: Story):
    chapter = story.chapters["correction"]
    assert chapter.requested == chapter.outcome.ranges == [(SATURDAY, SATURDAY), (MONDAY, TUESDAY)]
    solved = _of_instance("is_success, value_usd", f"run-{MONDAY}-10")
    assert query(chapter.before, solved) == [(True, 6)]
    assert query(chapter.after, solved) == [(False, 0)]
    assert chapter.changed_days("fct_use_case_instances", "columns(*)", "started_date") == {MONDAY, TUESDAY}


def test_restated_tables_equal_a_rebuild_from_nothing_row_for_row(story: Story, rebuilt: SmallCompany):
    schemas = ("reference", "intermediate", "marts", "analytics")
    assert differing_tables(story.company.settings.warehouse_path, rebuilt.settings.warehouse_path, schemas) == {}
    serving = ("marts", "analytics")
    assert differing_tables(story.company.settings.serving_path, rebuilt.settings.serving_path, serving) == {}


def test_changed_reference_data_restate_every_day_also_one_without_calls(
    rebuilt: SmallCompany, tmp_path_factory: pytest.TempPathFactory
):
    company = rebuilt.copy_to(tmp_path_factory.mktemp("dearer") / "company")
    story = Story(company, company.root)
    story.tell("capacity", _buy_dearer_capacity)
    chapter = story.chapters["capacity"]
    assert chapter.requested == chapter.outcome.ranges == ALL_DAYS
    assert chapter.outcome.is_success
    quiet = f"select sum(cost_usd) from marts.fct_capacity_hours where event_date = '{QUIET_DAY}'"
    assert query(chapter.before, quiet) == [(Decimal("72.00"),)]
    assert query(chapter.after, quiet) == [(Decimal("120.00"),)]


def test_sensor_skips_while_the_warehouse_is_written(built_company: SmallCompany, tmp_path: Path):
    company = built_company.copy_to(tmp_path / "company")
    defs = build_defs(settings=company.settings)
    lock = writer_lock(company.settings)
    other = type(lock)(lock.lock_file, is_singleton=False)
    with other:
        assert "The warehouse is being written" in str(_sensed(defs))
    assert _sensed(defs) == "No day changed since it was built."
