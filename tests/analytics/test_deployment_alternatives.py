"""Alternatives of a use case, on a week of calls that is worked out by hand.

On each of seven days one call per minute: 600 input, 100 cache reads, 100 output, at an effective 0.01 USD. A day
has 1,440: 864,000 input, 144,000 reads, 144,000 output, 14.40 USD.
"""

from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from typing import Any

import duckdb
import pytest

from dagster_project.analytics.deployment_alternatives import (
    alternative,
    read_candidates,
    read_loads,
    read_rates,
    store,
)

LAST = date(2026, 8, 7)
TABLES = """
    create schema marts; create schema reference; create schema analytics; set timezone = 'America/Los_Angeles';
    create table reference.seed_deployment_candidates as from (values
        ('chat', 'mini', 'closed_api', 'openai', 'gpt-mini', cast(null as decimal(18, 9)),
            cast(null as decimal(18, 3)), cast(null as decimal(9, 3)), cast(null as bigint), cast(null as bigint),
            cast(null as decimal(18, 2)), cast(0.01 as decimal(9, 8))),
        ('chat', 'nobody', 'closed_api', 'openai', 'gpt-none', null, null, null, null, null, null, null),
        ('chat', 'own', 'self_hosted', 'self_hosted', 'llama', 0.10, 10, 4, 1, 1, 1.20, 0.01),
        ('quiet', 'mini', 'closed_api', 'openai', 'gpt-mini', null, null, null, null, null, null, null)
    ) as t (use_case_id, candidate_id, candidate_type, provider_name, model_id, usd_per_instance_hour,
        input_tokens_per_s_per_instance, output_token_weight, minimum_instance_count, spare_instance_count,
        operations_usd_per_day, expected_failover_share);
    create table marts.fct_calls as
    select 'chat' as use_case_id, called_at, cast(called_at at time zone 'UTC' as date) as event_date,
        cast(600 as bigint) as input_tokens, cast(0 as bigint) as cache_write_5m_tokens,
        cast(0 as bigint) as cache_write_1h_tokens, cast(100 as bigint) as cache_read_tokens,
        cast(60 as bigint) as output_tokens, cast(40 as bigint) as reasoning_tokens,
        cast(0 as bigint) as embedding_tokens, cast(0.01 as decimal(38, 15)) as effective_cost_usd,
        'priced' as pricing_status_type
    from range(timestamptz '2026-08-01 00:00:00Z', timestamptz '2026-08-08 00:00:00Z', interval 1 minute)
        as minutes (called_at);
    insert into marts.fct_calls select * replace (500 as embedding_tokens) from marts.fct_calls limit 10;
    create table marts.rpt_daily_spend as select distinct event_date from marts.fct_calls;
    create table marts.dim_rates as
    select 'openai' as provider_name, 'gpt-mini' as model_id, kind as unit_kind_type, source as source_name,
        cast(price as decimal(18, 15)) as accepted_unit_price, tier as service_tier, cast(null as varchar) as region_id,
        'USD' as pricing_currency, false as is_held, cast(context as bigint) as context_over_tokens,
        0 as week_minute_from, timestamptz '2026-01-01 00:00:00Z' as valid_from_at,
        timestamptz '9999-12-31 00:00:00Z' as valid_to_at, timestamptz '2026-01-01 00:00:00Z' as known_from_at,
        timestamptz '9999-12-31 00:00:00Z' as known_to_at
    from (values ('input', 'list', 0.000002, 'standard', -1), ('output', 'list', 0.000008, 'standard', -1),
        ('input', 'list', 0.000009, 'standard', 200000), ('input', 'list', 0.000001, 'batch', -1),
        ('input', 'other', 0.5, 'standard', -1), ('output', 'other', 0.5, 'standard', -1)
    ) as t (kind, source, price, tier, context);
"""


@pytest.fixture
def con() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        connection.execute(TABLES)
        yield connection


def compared(con: duckdb.DuckDBPyConnection) -> dict[tuple[str, str], dict[str, Any]]:
    loads = read_loads(con, first_date=date(2026, 1, 1), last_whole_date=LAST)
    rates = read_rates(con, precedence=["contracts", "list", "other"], at=LAST)
    rows = [
        alternative(item, loads.get(item.use_case_id), rates.get((item.provider_name, item.model_id)))
        for item in read_candidates(con)
    ]
    assert store(con, rows) == len(rows)
    found = con.execute("from analytics.deployment_alternatives")
    names = [field[0] for field in found.description or ()]
    return {(row[0], row[1]): dict(zip(names, row, strict=True)) for row in found.fetchall()}


def test_candidate_by_the_token_is_priced_by_the_first_source_that_has_it(con: duckdb.DuckDBPyConnection):
    row = compared(con)[("chat", "mini")]
    assert (row["input_tokens_per_day"], row["cache_read_tokens_per_day"], row["output_tokens_per_day"]) == (
        864_000,
        144_000,
        144_000,
    )
    # Without a price of cache reads they cost as input: (864,000 + 144,000) x 0.000002 + 144,000 x 0.000008 = 3.168.
    assert row["cost_usd_per_day"] == Decimal("3.168")
    assert (row["current_usd_per_day"], row["saving_usd_per_day"]) == (Decimal("14.4"), Decimal("11.232"))
    assert (row["instance_count"], row["unavailable_reason"]) == (None, None)
    # 1,152,000 tokens for 3.168 are 2.75 per million. As second provider 1 % of the work moves: 0.01 x (3.168 - 14.40).
    assert row["cost_usd_per_mtok"] == Decimal("2.75")
    assert row["failover_on_demand_usd_per_day"] == Decimal("-0.11232")


def test_candidate_by_the_instance_is_for_the_peak_minute_with_its_spare(con: duckdb.DuckDBPyConnection):
    row = compared(con)[("chat", "own")]
    # 600 + 4 x 100 = 1,000 a minute are 16.67 a second: two instances of 10 and a spare, 3 x 2.40 + 1.20 a day.
    assert (row["instance_count"], row["cost_usd_per_day"]) == (3, Decimal("8.4"))
    # 1,440,000 equivalents of the 3 x 864,000 that they could do.
    assert row["utilization_share"] == pytest.approx(1_440_000 / 2_592_000)
    # 14.40 over 1.44 million is 10 USD per million: 0.10 / (10 x 0.036 million an hour) = 27.8 %.
    assert row["break_even_utilization_share"] == pytest.approx(0.1 / 0.36)
    # One instance and its spare, 6.00 a day, are repaid by 600,000 tokens; one serves 864,000.
    assert row["crossover_tokens_per_day"] == 600_000
    # Standing by costs 8.40 less the 1 % of 14.40 that is not paid at the first provider.
    assert row["failover_standby_usd_per_day"] == Decimal("8.256")
    assert row["failover_on_demand_usd_per_day"] is None


def test_work_on_bought_capacity_saves_nothing_when_it_moves(con: duckdb.DuckDBPyConnection):
    con.execute("update marts.fct_calls set pricing_status_type = 'provisioned'")
    assert compared(con)[("chat", "mini")]["failover_on_demand_usd_per_day"] == Decimal("0.03168")


def test_what_cannot_be_compared_says_why(con: duckdb.DuckDBPyConnection):
    rows = compared(con)
    assert (rows[("chat", "nobody")]["cost_usd_per_day"], rows[("chat", "nobody")]["unavailable_reason"]) == (
        None,
        "no_rate",
    )
    assert rows[("quiet", "mini")]["unavailable_reason"] == "no_calls"
    con.execute("delete from marts.rpt_daily_spend where event_date < date '2026-08-02'")
    assert compared(con)[("chat", "mini")]["unavailable_reason"] == "history_too_short"


def test_call_without_a_cost_leaves_the_current_cost_unknown(con: duckdb.DuckDBPyConnection):
    con.execute(
        "update marts.fct_calls set effective_cost_usd = null, pricing_status_type = 'unpriced' "
        "where called_at = timestamptz '2026-08-01 00:00:00Z'"
    )
    row = compared(con)[("chat", "mini")]
    assert (row["current_usd_per_day"], row["saving_usd_per_day"], row["failover_on_demand_usd_per_day"]) == (
        None,
        None,
        None,
    )
    assert row["cost_usd_per_day"] == Decimal("3.168")
    assert row["costed_call_share"] == pytest.approx(10_079 / 10_080)
