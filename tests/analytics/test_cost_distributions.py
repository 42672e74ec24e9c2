"""Cost distributions between the warehouse and the statistics: what is stored is what is read, exactly."""

from collections.abc import Iterator
from decimal import Decimal

import duckdb
import orjson
import pytest

from dagster_project.analytics import cost_distributions
from dagster_project.analytics.cost_distributions import read_distributions, read_histograms, store

# 100 instances from 0.0100 to 0.0199 USD, two that cost nothing, one whose cost is unknown; another use case of three;
# and four instances of a third, of which no cost is known.
INSTANCES = """
    create table marts.fct_use_case_instances as
    select 'support' as use_case_id, '1' as use_case_version, cast(0.01 + n * 0.0001 as decimal(38, 15)) as cost_usd,
        n % 2 = 0 as is_success
    from range(100) as t (n)
    union all
    select 'support', '1', 0, null from range(2)
    union all
    select 'support', '1', null, true
    union all
    select 'search', null, 2.5, null from range(3)
    union all
    select 'translation', '1', null, true from range(4)
"""


@pytest.fixture
def con() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        connection.execute("create schema marts")
        connection.execute("create schema analytics")
        connection.execute(INSTANCES)
        connection.execute(cost_distributions._HISTOGRAMS_SQL)
        yield connection


def test_histogram_counts_every_known_cost_and_sums_them_exactly(con: duckdb.DuckDBPyConnection):
    histograms = read_histograms(con)
    assert list(histograms) == [("search", "unversioned"), ("support", "1"), ("translation", "1")]
    support = histograms["support", "1"]
    # 100 x 0.01 + 0.0001 x (0 + 1 + ... + 99) = 1 + 0.495
    assert (support.count, support.zero_count, support.sum_usd) == (102, 2, Decimal("1.495"))
    assert sum(support.counts) == 100
    assert histograms["search", "unversioned"].sum_usd == Decimal("7.5")


def test_stored_successes_are_those_of_the_instances(con: duckdb.DuckDBPyConnection):
    found = con.execute(
        "select use_case_id, sum(success_count) from analytics.cost_log_histograms group by 1 order by 1"
    ).fetchall()
    # The instance of unknown cost succeeded too.
    assert found == [("search", 0), ("support", 51), ("translation", 4)]


def test_percentiles_that_the_sample_does_not_carry_are_null_with_their_reason(con: duckdb.DuckDBPyConnection):
    fitted = read_distributions(con)
    assert store(con, fitted) == con.execute("select count(*) from analytics.cost_distributions").fetchall()[0][0]
    rows = con.execute(
        """
        select quantile_share, quantile_cost_usd is null, unavailable_reason is not null
        from analytics.cost_distributions where use_case_id = 'search'
        """
    ).fetchall()
    assert rows
    assert all(is_null == has_reason for _, is_null, has_reason in rows)
    assert {is_null for share, is_null, _ in rows if share >= 0.5} == {True}


def test_median_lies_where_half_of_the_costs_lie_below(con: duckdb.DuckDBPyConnection):
    fitted = read_distributions(con)
    store(con, fitted)
    [(median, low, high, mixture)] = con.execute(
        """
        select quantile_cost_usd, low_cost_usd, high_cost_usd, mixture_json from analytics.cost_distributions
        where use_case_id = 'support' and quantile_share = 0.5
        """
    ).fetchall()
    # Of 102 costs the 51st is 0.0148 and the 52nd 0.0149; a bucket is 1 % wide.
    assert float(median) == pytest.approx(0.01485, rel=0.015)
    assert low <= median <= high
    assert orjson.loads(mixture)["zero_share"] == pytest.approx(2 / 102)


def test_instances_of_unknown_cost_are_counted_and_cost_nothing_known(con: duckdb.DuckDBPyConnection):
    store(con, read_distributions(con))
    found = con.execute(
        """
        select distinct use_case_id, costed_instance_count, uncosted_instance_count, zero_cost_instance_count, cost_usd,
            mean_cost_usd
        from analytics.cost_distributions order by 1
        """
    ).fetchall()
    assert found == [
        ("search", 3, 0, 0, Decimal("7.5"), Decimal("2.5")),
        # 1.495 / 102 = 0.014656862745098, with 15 decimals
        ("support", 102, 1, 2, Decimal("1.495"), Decimal("0.014656862745098")),
        ("translation", 0, 4, 0, None, None),
    ]
    assert con.execute(
        "select distinct quantile_cost_usd, provenance_type from analytics.cost_distributions "
        "where use_case_id = 'translation'"
    ).fetchall() == [(None, "unavailable")]


def test_storing_replaces_what_was_stored(con: duckdb.DuckDBPyConnection):
    fitted = read_distributions(con)
    store(con, fitted)
    store(con, fitted[:1])
    assert con.execute("select distinct use_case_id from analytics.cost_distributions").fetchall() == [("search",)]
    assert store(con, []) == 0
    assert con.execute("select count(*) from analytics.cost_distributions").fetchall() == [(0,)]
