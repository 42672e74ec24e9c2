"""ROI forecasts between the warehouse and the statistics: unknown stays unknown on the way in and out."""

from collections.abc import Iterator
from datetime import date, timedelta
from decimal import Decimal

import duckdb
import pytest

from dagster_project.analytics.roi_forecasts import read_histories, store
from dagster_project.statistics.roi import RoiAssumptions, calibration, roi_fan

FIRST = date(2026, 7, 1)
COLUMNS = (
    "use_case_id, use_case_version, started_date, instance_count, success_count, costed_instance_count, cost_usd, "
    "valued_instance_count, value_usd"
)


@pytest.fixture
def con() -> Iterator[duckdb.DuckDBPyConnection]:
    """`steady` earns on every day of six weeks, `young` has three days, `unpriced` has one call without a price."""
    with duckdb.connect() as connection:
        connection.execute("create schema marts")
        connection.execute("create schema analytics")
        connection.execute(
            f"""
            create table marts.rpt_use_case_unit_economics as
            select * from (
                select 'steady', version, date '2026-07-01' + cast(n as integer), 5, 4, 5,
                    cast(1.5 as decimal(38, 15)), 5, cast(6 as decimal(38, 9))
                from range(42) as days (n) cross join (values ('1'), ('2')) as versions (version)
                union all
                select 'young', '1', date '2026-08-09' + cast(n as integer), 2, 1, 2, 0.5, 0, null
                from range(3) as days (n)
                union all
                select 'unpriced', '1', date '2026-07-01' + cast(n as integer), 3, 1, case n when 4 then 2 else 3 end,
                    0.9, 3, 1
                from range(42) as days (n)
            ) as t ({COLUMNS})
            """
        )
        yield connection


def test_history_adds_up_the_versions_of_each_day(con: duckdb.DuckDBPyConnection):
    histories = {history.use_case_id: history for history in read_histories(con)}
    assert list(histories) == ["steady", "unpriced", "young"]
    day = histories["steady"].days[0]
    assert (day.started_date, day.instance_count, day.success_count) == (FIRST, 10, 8)
    assert (day.cost_usd, day.value_usd) == (Decimal(3), Decimal(12))


def test_history_reaches_the_last_day_that_any_use_case_has(con: duckdb.DuckDBPyConnection):
    last = FIRST + timedelta(days=41)
    assert {history.days[-1].started_date for history in read_histories(con)} == {last}


def test_day_with_an_unpriced_instance_has_no_cost_and_day_without_value_no_value(con: duckdb.DuckDBPyConnection):
    histories = {history.use_case_id: history for history in read_histories(con)}
    costs = [day.cost_usd for day in histories["unpriced"].days]
    assert [index for index, cost in enumerate(costs) if cost is None] == [4]
    assert {day.value_usd for day in histories["young"].days} == {None}


def test_instance_that_nobody_scored_is_worth_what_the_scored_ones_of_its_day_are(con: duckdb.DuckDBPyConnection):
    con.execute(
        f"""
        insert into marts.rpt_use_case_unit_economics ({COLUMNS})
        values
            ('sampled', '1', date '2026-07-01', 8, 0, 8, 1, 2, 6),
            ('sampled', '2', date '2026-07-01', 2, 0, 2, 1, 2, 2)
        """
    )
    [day] = [history.days[0] for history in read_histories(con) if history.use_case_id == "sampled"]
    # 4 of 10 instances were scored, at 8.00 in all: 2.00 each, 20.00 for ten.
    assert day.value_usd == Decimal(20)


def test_empty_ledger_has_no_history(con: duckdb.DuckDBPyConnection):
    con.execute("delete from marts.rpt_use_case_unit_economics")
    assert read_histories(con) == []


def test_stored_forecast_has_a_row_per_day_and_a_reason_where_there_is_none(con: duckdb.DuckDBPyConnection):
    histories = read_histories(con)
    assumptions = RoiAssumptions(horizon_day_count=7, path_count=200)
    forecasts = [(item.use_case_id, roi_fan(histories, item.use_case_id, assumptions)) for item in histories]
    backtest = calibration(histories, horizon_day_count=7, path_count=100)
    rows = store(con, forecasts, backtest)
    found = {
        use_case: (count, first, last, without_reason)
        for use_case, count, first, last, without_reason in con.execute(
            """
            select use_case_id, count(forecast_date), min(forecast_date), max(forecast_date),
                count(*) filter (where p50_cost_usd is null and unavailable_reason is null)
            from analytics.roi_forecasts group by all
            """
        ).fetchall()
    }
    assert rows == con.execute("select count(*) from analytics.roi_forecasts").fetchall()[0][0]
    assert found["steady"] == (7, date(2026, 8, 12), date(2026, 8, 18), 0)
    assert set(found) == {"steady", "unpriced", "young"}
    assert {entry[3] for entry in found.values()} == {0}
    # 20 instances a day cost 3.00 and earn 12.00: (12 - 3) / 3 = 3 times the cost, whatever path is drawn.
    [(roi,)] = con.execute(
        "select p50_roi_share from analytics.roi_forecasts where use_case_id = 'steady' and day_count = 7"
    ).fetchall()
    assert roi == pytest.approx(3, rel=0.01)
    calibrated = con.execute("select horizon_day_count, window_count from analytics.roi_calibration").fetchall()
    assert calibrated == [(7, backtest.window_count)]


def test_storing_replaces_what_was_stored(con: duckdb.DuckDBPyConnection):
    histories = read_histories(con)
    backtest = calibration(histories, horizon_day_count=7, path_count=100)
    assumptions = RoiAssumptions(horizon_day_count=7, path_count=200)
    store(con, [("steady", roi_fan(histories, "steady", assumptions))], backtest)
    assert store(con, [], backtest) == 0
    assert con.execute("select count(*) from analytics.roi_forecasts").fetchall() == [(0,)]
    assert con.execute("select count(*) from analytics.roi_calibration").fetchall() == [(1,)]
