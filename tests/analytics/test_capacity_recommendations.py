"""Right-sizing between the warehouse and the statistics, on four weeks that are worked out by hand.

One deployment of 4 units at 0.60 USD an hour, 1,000 tokens a minute each, so 0.01 USD a minute and unit. In 12 hours
of the day every minute asks for 3,000 tokens, in the other 12 for 500. On demand a token costs 0.00002 USD: a full
unit-minute 0.02, so a unit pays from 0.01 / 0.02 = 50 % of its minutes. Unit 1 is used by (1 + 0.5) / 2 = 75 %, units
2 and 3 by 50 %, unit 4 by none: 3 units.
"""

from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from typing import Any

import duckdb
import pytest

from dagster_project.analytics.capacity_recommendations import (
    Recommendation,
    model_changes,
    read_demand,
    read_deployments,
    read_prices,
    recommend,
    store,
)

FIRST, LAST = date(2026, 8, 1), date(2026, 8, 31)

TABLES = """
    create schema marts; create schema reference; create schema analytics; set timezone = 'America/Los_Angeles';
    create table marts.dim_commitments as from (values
        ('pool', 'azure', 'PTU', cast(6 as bigint), cast(0.60 as decimal(18, 9)), timestamptz '2026-01-01 00:00:00Z',
            timestamptz '2027-01-01 00:00:00Z'),
        ('spare', 'azure', 'PTU', 2, 0.60, timestamptz '2026-01-01 00:00:00Z', timestamptz '2027-01-01 00:00:00Z')
    ) as t (commitment_id, provider_name, unit_name, bought_count, usd_per_unit_hour, starts_at, ends_at);
    create table marts.dim_deployments as from (values
        ('busy', 'pool', 'gpt-4.1', cast(4 as bigint), cast(1000 as bigint), cast(4 as decimal(9, 3)),
            timestamptz '2026-01-01 00:00:00Z', timestamptz '2027-01-01 00:00:00Z'),
        ('gone', 'pool', 'gpt-4.1', 1, 1000, 4, timestamptz '2026-01-01 00:00:00Z',
            timestamptz '2026-08-20 00:00:00Z')
    ) as t (deployment_id, commitment_id, model_id, allocated_count, input_tokens_per_minute_per_unit,
        output_token_weight, starts_at, ends_at);
    create table reference.seed_capacity_throughputs as from (values
        ('azure', 'PTU', 'gpt-4.1', cast(null as varchar), cast(1000 as bigint), cast(4 as decimal(9, 3)),
            cast(1 as bigint), cast(1 as bigint), cast(60 as bigint), date '2026-01-01', cast(null as date)),
        ('azure', 'PTU', 'gpt-5', null, 2000, 8, 1, 1, 60, date '2026-01-01', null),
        ('azure', 'PTU', 'gpt-3', null, 2000, 8, 1, 1, 60, date '2025-01-01', date '2026-01-01'),
        ('google', 'PTU', 'gemini', null, 2000, 8, 1, 1, 60, date '2026-01-01', null)
    ) as t (provider_name, unit_name, model_id, direction, input_tokens_per_minute_per_unit, output_token_weight,
        minimum_units, unit_increment, enforcement_window_s, valid_from, valid_to);
    create table reference.seed_unit_kinds as from (values
        ('input', 'input'), ('cache_read', 'input'), ('output', 'output')
    ) as t (unit_kind, direction_type);
    -- The days of July are older than four weeks and twice as busy.
    create table marts.fct_capacity_minutes as
    select 'busy' as deployment_id, 'pool' as commitment_id, minute_at,
        cast(minute_at at time zone 'UTC' as date) as event_date,
        cast(case when minute_at < timestamptz '2026-08-03 00:00:00Z' then 6000
            when hour(minute_at at time zone 'UTC') < 12 then 3000 else 500 end as bigint) as demand_tokens,
        cast(2000 as bigint) as used_tokens
    from range(timestamptz '2026-07-25 00:00:00Z', timestamptz '2026-08-31 00:00:00Z', interval 1 minute)
        as minutes (minute_at);
"""
# The served calls of four weeks: 28 x 1,440 x 2,000 = 80,640,000 tokens used, at 0.00002 USD 1,612.80. In input-token
# equivalents at weight 4: 60,480,000 of input + 4 x 5,040,000 of output. Cache reads are part of the price alone.
CHARGES = """
    create table marts.fct_calls as from (values
        ('log', 'c-1', date '2026-08-10', 'busy', 'provisioned', cast(1 as decimal(38, 15))),
        ('log', 'c-2', date '2026-08-10', 'std', 'priced', 1),
        ('log', 'c-3', date '2026-07-25', 'busy', 'provisioned', 1)
    ) as t (source_name, call_id, event_date, deployment_id, pricing_status_type, list_cost_usd);
    create table marts.fct_call_charges as from (values
        ('log', 'c-1', date '2026-08-10', 'input', cast(60480000 as decimal(18, 3)),
            cast(0.00001 as decimal(18, 15))),
        ('log', 'c-1', date '2026-08-10', 'output', 5040000, 0.0002),
        ('log', 'c-1', date '2026-08-10', 'cache_read', 960000, 0.000005),
        ('log', 'c-2', date '2026-08-10', 'input', 1000000, 1),
        ('log', 'c-3', date '2026-07-25', 'input', 1000000, 1)
    ) as t (source_name, call_id, event_date, unit_kind_type, quantity_units, contracted_usd_per_unit);
"""


@pytest.fixture
def con() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        connection.execute(TABLES)
        connection.execute(CHARGES)
        yield connection


def sized(con: duckdb.DuckDBPyConnection, last: date = date(2026, 8, 30)) -> tuple[int, int]:
    deployments = read_deployments(con, first_date=date(2026, 7, 1), last_whole_date=last)
    prices = read_prices(con, deployments)
    found = [
        (recommend(item, demand, prices.get((item.deployment_id, item.commitment_id))), demand)
        for item in deployments
        for demand in [read_demand(con, item)]
    ]
    return store(con, [item for item, _ in found], model_changes(con, found))


def row(con: duckdb.DuckDBPyConnection, scope: str, *columns: str) -> tuple[Any, ...]:
    [found] = con.execute(
        f"select {', '.join(columns)} from analytics.capacity_recommendations where scope_id = $scope", {"scope": scope}
    ).fetchall()
    return tuple(found)


def test_deployment_is_sized_on_its_last_four_whole_weeks(con: duckdb.DuckDBPyConnection):
    sized(con)
    # 60,480,000 x 0.00001 + 5,040,000 x 0.0002 + 960,000 x 0.000005 = 604.80 + 1,008 + 4.80 = 1,617.60 over 80,640,000.
    [price] = row(con, "busy", "on_demand_usd_per_mtok")
    assert price == round(Decimal("1617.6") / Decimal("80.64"), 9)
    assert row(con, "busy", "first_date", "last_date", "history_day_count") == (date(2026, 8, 3), date(2026, 8, 30), 28)
    assert row(con, "busy", "current_units", "recommended_units", "service_level_units") == (4, 3, 3)
    assert row(con, "busy", "half_life_day_count", "unavailable_reason") == (None, None)


def test_costs_per_day_are_those_of_the_load(con: duckdb.DuckDBPyConnection):
    con.execute("update marts.fct_call_charges set contracted_usd_per_unit = 0 where unit_kind_type = 'cache_read'")
    # Without the cache reads 1,612.80 / 80,640,000 = 0.00002. A unit is 14.40 USD a day: 4 are 57.60, 3 are 43.20, and
    # none spills over. None at all: (720 x 3,000 + 720 x 500) x 0.00002 = 50.40.
    sized(con)
    costs = row(
        con,
        "busy",
        "current_usd_per_day",
        "recommended_usd_per_day",
        "on_demand_usd_per_day",
        "saving_usd_per_day",
    )
    assert costs == tuple(Decimal(text) for text in ("57.6", "43.2", "50.4", "14.4"))
    # Of 4 x 1,440,000 a day 2,520,000 are used.
    assert row(con, "busy", "utilization_share", "break_even_utilization_share") == pytest.approx((0.4375, 0.5))
    curve = con.execute(
        "select bought_units, cost_usd_per_day, is_current, is_recommended "
        "from analytics.capacity_cost_curves order by 1"
    ).fetchall()
    # One unit: 14.40 + 720 x 2,000 x 0.00002 = 43.20; two: 28.80 + 14.40 = 43.20 too.
    assert curve == [
        (0, Decimal("50.4"), False, False),
        (1, Decimal("43.2"), False, False),
        (2, Decimal("43.2"), False, False),
        (3, Decimal("43.2"), False, True),
        (4, Decimal("57.6"), True, False),
    ]


def test_commitment_sums_its_deployments_and_pays_for_what_nobody_holds(con: duckdb.DuckDBPyConnection):
    con.execute("update marts.fct_call_charges set contracted_usd_per_unit = 0 where unit_kind_type = 'cache_read'")
    assert sized(con)[0] == 3
    # 6 bought, 4 of them held: 57.60 + 2 x 14.40.
    assert row(con, "pool", "current_units", "recommended_units", "current_usd_per_day", "saving_usd_per_day") == (
        6,
        3,
        Decimal("86.4"),
        Decimal("43.2"),
    )
    assert row(con, "spare", "recommended_units", "unavailable_reason") == (None, "not_deployed")


def test_model_that_does_more_per_unit_frees_units(con: duckdb.DuckDBPyConnection):
    sized(con)
    # Output counts 8 instead of 4: (60.48 + 8 x 5.04) / (60.48 + 4 x 5.04) = 100.8 / 80.64 = 1.25. 3,000 x 1.25 = 3,750
    # need 2 units of 2,000; one of 3 is free, 14.40 USD a day. Other providers' and former models are not offered.
    changes = con.execute(
        "select other_model_id, work_multiplier, needed_units, other_needed_units, freed_units, freed_usd_per_day "
        "from analytics.capacity_model_changes"
    ).fetchall()
    assert changes == [("gpt-5", 1.25, 3, 2, 1, Decimal("14.4"))]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("delete from marts.fct_call_charges", "no_on_demand_price"),
        ("update marts.dim_deployments set input_tokens_per_minute_per_unit = null", "unknown_throughput"),
        ("update marts.dim_deployments set starts_at = timestamptz '2026-08-25 00:00:01Z'", "history_too_short"),
        ("update marts.fct_capacity_minutes set deployment_id = 'other'", "no_work_recorded"),
        ("delete from marts.fct_capacity_minutes", "history_too_short"),
    ],
)
def test_what_cannot_be_sized_says_why(con: duckdb.DuckDBPyConnection, change: str, reason: str):
    con.execute(change)
    sized(con)
    assert row(con, "busy", "recommended_units", "saving_usd_per_day", "unavailable_reason") == (None, None, reason)
    assert row(con, "pool", "unavailable_reason") == ("deployment_without_recommendation",)
    assert con.execute("select count(*) from analytics.capacity_cost_curves").fetchall() == [(0,)]


def test_service_level_needs_no_price(con: duckdb.DuckDBPyConnection):
    con.execute("delete from marts.fct_call_charges")
    sized(con)
    assert row(con, "busy", "service_level_units", "recommended_with_service_level_units") == (3, None)


def test_deployment_counts_from_its_first_whole_day(con: duckdb.DuckDBPyConnection):
    con.execute("update marts.dim_deployments set starts_at = timestamptz '2026-08-10 00:00:01Z'")
    sized(con)
    assert row(con, "busy", "first_date", "history_day_count") == (date(2026, 8, 11), 20)


def test_day_that_is_known_in_part_is_left_out(con: duckdb.DuckDBPyConnection):
    sized(con, last=date(2026, 8, 29))
    assert row(con, "busy", "last_date") == (date(2026, 8, 29),)


def test_bundle_of_one_direction_is_priced_by_that_direction(con: duckdb.DuckDBPyConnection):
    con.execute("update reference.seed_capacity_throughputs set direction = 'output' where model_id = 'gpt-4.1'")
    sized(con)
    # 1,008 USD of output over the 80.64 million that the bundle served.
    assert row(con, "busy", "on_demand_usd_per_mtok") == (Decimal("12.5"),)


def test_storing_replaces_what_was_stored(con: duckdb.DuckDBPyConnection):
    sized(con)
    none: list[Recommendation] = []
    assert store(con, none, []) == (2, 0)
    assert con.execute("select count(*) from analytics.capacity_model_changes").fetchall() == [(0,)]
