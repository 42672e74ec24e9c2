"""What was published of a day stays known when the day is built again."""

from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import duckdb
import pytest

from dagster_project.publish.published_spend import note_spend, take_back
from dagster_project.warehouse.calendar import Window

JULY = Window(date(2026, 7, 1), date(2026, 7, 31))
BELIEVED_SQL = """
    select event_date, sum(effective_cost_usd)
    from (
        select * from ops.published_spend
        where published_at <= $instant
        qualify published_at = max(published_at) over (partition by event_date)
    )
    group by event_date order by event_date
"""


def _at(day: int, hour: int = 0) -> datetime:
    return datetime(2026, 8, day, hour, tzinfo=UTC)


@pytest.fixture
def con() -> Iterator[duckdb.DuckDBPyConnection]:
    """Two days: the first of two teams that cost 1 and 2 USD, the second of one that costs 5."""
    with duckdb.connect() as connection:
        connection.execute("set TimeZone = 'UTC'")
        connection.execute("create schema marts")
        connection.execute(
            """
            create table marts.rpt_daily_spend as
            select
                event_date, 'acme' as provider_name, 'm' as model_name, team_name, cast(1 as bigint) as call_count,
                cast(0 as bigint) as unpriced_call_count, cost as list_cost_usd, cost as contracted_cost_usd,
                cost as effective_cost_usd
            from (values
                (date '2026-07-01', 'a', cast(1 as decimal(38, 15))),
                (date '2026-07-01', 'b', 2),
                (date '2026-07-02', 'a', 5)
            ) as t (event_date, team_name, cost)
            """
        )
        yield connection


@pytest.fixture
def serving(tmp_path: Path) -> Path:
    return tmp_path / "serving.duckdb"


def _believed(con: duckdb.DuckDBPyConnection, instant: datetime) -> dict[int, Decimal | None]:
    return {day.day: cost for day, cost in con.execute(BELIEVED_SQL, {"instant": instant}).fetchall()}


def _publish(con: duckdb.DuckDBPyConnection, serving: Path, built_at: datetime) -> None:
    """Write what a published file has to say of itself."""
    serving.unlink(missing_ok=True)
    rows = con.sql("from ops.published_spend").to_arrow_table()
    with duckdb.connect(str(serving)) as published:
        published.execute("create schema ops")
        published.execute(
            "create table ops.publication as select cast($at as timestamptz) as built_at", {"at": built_at}
        )
        published.register("known_rows", rows)
        published.execute("create table ops.published_spend as from known_rows")


def test_days_are_summed_over_teams_and_added_once(con: duckdb.DuckDBPyConnection, serving: Path):
    assert note_spend(con, serving, JULY, published_at=_at(1)) == 2
    assert _believed(con, _at(1)) == {1: 3, 2: 5}
    # The same days built again with the same figures say nothing new.
    assert note_spend(con, serving, JULY, published_at=_at(2)) == 0


def test_restated_day_keeps_what_was_believed_before(con: duckdb.DuckDBPyConnection, serving: Path):
    note_spend(con, serving, JULY, published_at=_at(1))
    con.execute("update marts.rpt_daily_spend set effective_cost_usd = 7 where event_date = date '2026-07-02'")
    assert note_spend(con, serving, JULY, published_at=_at(9)) == 1
    assert _believed(con, _at(8, hour=23)) == {1: 3, 2: 5}
    assert _believed(con, _at(9)) == {1: 3, 2: 7}


def test_only_days_of_the_window_are_added(con: duckdb.DuckDBPyConnection, serving: Path):
    note_spend(con, serving, Window(date(2026, 7, 2), date(2026, 7, 2)), published_at=_at(1))
    assert _believed(con, _at(1)) == {2: 5}


def test_day_whose_calls_are_gone_is_believed_to_cost_nothing(con: duckdb.DuckDBPyConnection, serving: Path):
    note_spend(con, serving, JULY, published_at=_at(1))
    con.execute("delete from marts.rpt_daily_spend where event_date = date '2026-07-02'")
    assert note_spend(con, serving, JULY, published_at=_at(2)) == 1
    assert note_spend(con, serving, JULY, published_at=_at(3)) == 0
    gone = "select provider_name, call_count from ops.published_spend where published_at = $at"
    assert con.execute(gone, {"at": _at(2)}).fetchall() == [(None, 0)]
    assert _believed(con, _at(2)) == {1: 3, 2: None}


def test_refused_publication_leaves_nothing(con: duckdb.DuckDBPyConnection, serving: Path):
    note_spend(con, serving, JULY, published_at=_at(1))
    take_back(con, published_at=_at(1))
    assert _believed(con, _at(31)) == {}


def test_what_a_killed_run_added_is_taken_back_by_the_next(con: duckdb.DuckDBPyConnection, serving: Path):
    note_spend(con, serving, JULY, published_at=_at(1))
    _publish(con, serving, _at(1))
    con.execute("update marts.rpt_daily_spend set effective_cost_usd = 7 where event_date = date '2026-07-02'")
    note_spend(con, serving, JULY, published_at=_at(2))
    con.execute("update marts.rpt_daily_spend set effective_cost_usd = 6 where event_date = date '2026-07-02'")
    note_spend(con, serving, JULY, published_at=_at(3))
    assert (_believed(con, _at(2)), _believed(con, _at(3))) == ({1: 3, 2: 5}, {1: 3, 2: 6})


def test_warehouse_built_from_nothing_takes_over_what_was_published(con: duckdb.DuckDBPyConnection, serving: Path):
    note_spend(con, serving, JULY, published_at=_at(1))
    _publish(con, serving, _at(1))
    con.execute("drop table ops.published_spend")
    assert note_spend(con, serving, JULY, published_at=_at(2)) == 0
    assert _believed(con, _at(1)) == {1: 3, 2: 5}
