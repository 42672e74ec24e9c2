"""Publishing as assets: which days a publication replaces and judges, which months are exported anew."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import duckdb
import pytest

from dagster_project.gates.expectations import Suite
from dagster_project.gates.gate import GateRun, Verdict, result_of
from dagster_project.gates.ledger import LEDGER_GATES
from dagster_project.gates.results import record
from dagster_project.publish import assets
from dagster_project.publish.exports import export_period
from dagster_project.settings import Settings
from dagster_project.warehouse import restatement
from dagster_project.warehouse.calendar import AFTER_ALL, BEFORE_ALL, Calendar, Window
from dagster_project.warehouse.connection import open_warehouse
from dagster_project.warehouse.dbt import DailyTable
from tests.integration.small_company import SmallCompany
from tests.publish.test_exports import SERVING_SQL

CALENDAR = Calendar(date(2026, 3, 2), date(2026, 4, 8), datetime(2026, 4, 9, tzinfo=UTC))
TABLES = {"fct_calls": DailyTable("event_date", 0), "fct_use_case_instances": DailyTable("started_date", 2)}
NOON = datetime(2026, 4, 9, 12, tzinfo=UTC)


def _days(table: str, window: Window) -> tuple[str, str] | None:
    replaced = assets._replaced_days(TABLES, window, CALENDAR).get(table)
    return (replaced.first_date.isoformat(), replaced.last_date.isoformat()) if replaced else None


# ---- days


@pytest.mark.parametrize(
    ("window", "calls", "instances"),
    [
        (
            CALENDAR.window(date(2026, 3, 10), date(2026, 3, 11)),
            ("2026-03-10", "2026-03-11"),
            ("2026-03-08", "2026-03-13"),
        ),
        (
            CALENDAR.window(date(2026, 4, 7), date(2026, 4, 8)),
            ("2026-04-07", AFTER_ALL.isoformat()),
            ("2026-04-05", AFTER_ALL.isoformat()),
        ),
        (
            CALENDAR.window(date(2026, 3, 2), date(2026, 3, 3)),
            (BEFORE_ALL.isoformat(), "2026-03-03"),
            (BEFORE_ALL.isoformat(), "2026-03-05"),
        ),
    ],
)
def test_publication_replaces_the_days_that_the_build_replaced(
    window: Window, calls: tuple[str, str], instances: tuple[str, str]
):
    assert (_days("fct_calls", window), _days("fct_use_case_instances", window)) == (calls, instances)


def test_publication_of_everything_replaces_whole_tables():
    assert assets._replaced_days(TABLES, CALENDAR.window(date(2026, 3, 2), date(2026, 4, 8)), CALENDAR) == {}


@pytest.mark.parametrize(
    ("table", "first", "last", "window"),
    [
        # The window has rows: it is judged, with the days around it that the build replaced.
        ("fct_calls", 10, 11, (date(2026, 3, 10), date(2026, 3, 12))),
        ("fct_use_case_instances", 10, 11, (date(2026, 3, 8), date(2026, 3, 14))),
        # It has none: the latest day before its end that has rows is judged, for judging nothing fails.
        ("fct_calls", 20, 21, (date(2026, 3, 12), date(2026, 3, 22))),
    ],
)
def test_serving_suite_judges_what_was_built(table: str, first: int, last: int, window: tuple[date, date]):
    day_column = TABLES[table].day_column
    suite = Suite(stage="serving", subject=table, relation=f"marts.{table}", specs=(), day_column=day_column)
    with duckdb.connect() as con:
        con.execute("create schema marts")
        con.execute(
            f"create table marts.{table} as "
            f"select date '2026-03-01' + cast(n as integer) as {day_column} from range(12) as t (n)"
        )
        built = Window(date(2026, 3, first), date(2026, 3, last))
        assert assets._over_window(con, suite, built, TABLES) == suite.over_window(*window)


def test_suite_without_a_day_is_judged_whole():
    suite = Suite(stage="serving", subject="dim_models", relation="marts.dim_models", specs=())
    with duckdb.connect() as con:
        assert assets._over_window(con, suite, Window(BEFORE_ALL, AFTER_ALL), TABLES) is suite


# ---- exports


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A ledger of March and April, with an invoice of February for charges of March; both published at noon."""
    settings = SmallCompany.found(tmp_path / "company").settings.model_copy(update={"as_of": CALENDAR.end_at})
    settings.serving_path.parent.mkdir(parents=True)
    with duckdb.connect(str(settings.serving_path)) as con:
        con.execute(SERVING_SQL)
        con.execute("update marts.rpt_daily_spend set event_date = date '2026-03-31'")
        con.execute("update marts.rpt_daily_spend set event_date = date '2026-04-01' where use_case_id = 'b'")
        con.execute("update marts.rpt_use_case_unit_economics set started_date = date '2026-03-31'")
        con.execute("update marts.rpt_reconciliation set billing_period_start_date = date '2026-02-01'")
        con.execute("update marts.rpt_billing_periods set billing_period_start_date = date '2026-02-01'")
        con.execute("update marts.fct_invoice_lines set billing_period_start_date = date '2026-02-01'")
    with open_warehouse(settings) as con:
        restatement.note_days(con, calendar=CALENDAR, now=NOON - timedelta(hours=1))
        restatement.close_requests(con, Window(BEFORE_ALL, AFTER_ALL), requested_until=NOON, built_at=NOON)
    return settings


def _export(settings: Settings, period: str, built_at: datetime) -> None:
    export_period(
        serving_path=settings.serving_path, exports_dir=settings.exports_dir, period=period, built_at=built_at
    )


def _publish(settings: Settings, change: str) -> None:
    with duckdb.connect(str(settings.serving_path)) as con:
        con.execute(change)


def test_published_periods_are_the_months_with_calls_or_invoices(settings: Settings):
    with duckdb.connect(str(settings.serving_path), read_only=True) as con:
        assert assets.published_periods(con) == ["2026-02", "2026-03", "2026-04"]


def test_nothing_is_stale_before_anything_is_published(tmp_path: Path):
    assert assets.stale_periods(SmallCompany.found(tmp_path / "company").settings) == []


def test_months_without_an_export_or_with_an_older_one_are_stale(settings: Settings):
    _export(settings, "2026-03", NOON - timedelta(seconds=1))
    _export(settings, "2026-04", NOON + timedelta(seconds=1))
    assert assets.stale_periods(settings) == ["2026-02", "2026-03"]


def test_day_that_is_published_again_makes_its_month_stale_and_no_other(settings: Settings):
    for period in ("2026-02", "2026-03", "2026-04"):
        _export(settings, period, NOON + timedelta(seconds=1))
    assert assets.stale_periods(settings) == []
    later = NOON + timedelta(hours=1)
    with open_warehouse(settings) as con:
        con.execute("insert into ops.restatements (event_date, built_at) values (date '2026-04-08', ?)", [later])
    assert assets.stale_periods(settings) == ["2026-04"]


def test_month_before_the_first_day_is_built_with_it(settings: Settings):
    for period in ("2026-02", "2026-03", "2026-04"):
        _export(settings, period, NOON + timedelta(seconds=1))
    later = NOON + timedelta(hours=1)
    with open_warehouse(settings) as con:
        con.execute("insert into ops.restatements (event_date, built_at) values (date '2026-03-02', ?)", [later])
    assert assets.stale_periods(settings) == ["2026-02", "2026-03"]


@pytest.mark.parametrize(
    ("change", "stale"),
    [
        # What is billed in February was charged for a day of March, on which nothing was built.
        ("update marts.fct_invoice_lines set billed_cost_usd = 1 where invoice_line_id = 'l-3'", ["2026-02"]),
        ("update marts.fct_invoice_lines set billing_period_start_date = date '2026-04-01'", ["2026-02", "2026-04"]),
        ("delete from marts.fct_invoice_lines", ["2026-02"]),
        ("update marts.rpt_billing_periods set status_type = 'restated'", ["2026-02"]),
        # An instance of 31 March lasts into April.
        ("update marts.rpt_use_case_unit_economics set cost_usd = 3", ["2026-03"]),
        ("update marts.rpt_use_case_leaderboard set cost_usd = 3", []),
    ],
)
def test_month_whose_figures_change_by_the_days_of_another_is_stale(settings: Settings, change: str, stale: list[str]):
    for period in ("2026-02", "2026-03", "2026-04"):
        _export(settings, period, NOON + timedelta(seconds=1))
    _publish(settings, change)
    assert assets.stale_periods(settings) == stale
    for period in stale:
        _export(settings, period, NOON + timedelta(seconds=2))
    assert assets.stale_periods(settings) == []


def test_export_that_lacks_a_file_or_has_other_columns_is_stale(settings: Settings):
    for period in ("2026-02", "2026-03", "2026-04"):
        _export(settings, period, NOON + timedelta(seconds=1))
    (settings.exports_dir / "2026-02" / "invoice_lines.parquet").unlink()
    with duckdb.connect() as con:
        path = settings.exports_dir / "2026-04" / "unit_economics.parquet"
        con.execute(f"copy (select 1 as instance_count) to '{path}' (format parquet)")
    assert assets.stale_periods(settings) == ["2026-02", "2026-04"]


# ---- gates


def test_earlier_results_are_the_runs_own_and_the_latest_of_each_raw_gate():
    raw = next(item.gate for item in LEDGER_GATES)
    with duckdb.connect() as con:
        for run_id, hour, violations in (("old", 1, 1), ("new", 2, 0)):
            run = GateRun(run_id=run_id, checked_at=NOON + timedelta(hours=hour))
            for stage in ("raw", "marts"):
                gate = type(raw)(stage=stage, subject="calls", predicate="present", rule="r", why="w", tool="sql")
                record(con, [result_of(gate, Verdict(1, violations), run)])
        found = [(item.run_id, item.stage, item.is_passed) for item in assets._earlier_results(con, "old")]
    assert sorted(found) == [("new", "raw", True), ("old", "marts", False)]


def test_publication_waits_for_days_that_another_build_left_unfinished():
    with duckdb.connect() as con:
        con.execute("create schema ops")
        restatement.note_days(con, calendar=CALENDAR, now=NOON)
        march = Window(date(2026, 3, 10), date(2026, 3, 11))
        assets._require_finished(con, march)
        restatement.note_attempt(con, Window(date(2026, 3, 20), date(2026, 3, 21)), now=NOON)
        with pytest.raises(Exception, match=r"2 other days \(2026-03-20 to 2026-03-21\)"):
            assets._require_finished(con, march)
        assets._require_finished(con, Window(date(2026, 3, 10), date(2026, 3, 21)))
