"""The grid, exact merging, and the error bound of quantiles."""

import math
from decimal import Decimal

import duckdb
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dagster_project.statistics.log_histogram import (
    GAMMA,
    RELATIVE_ERROR_SHARE,
    LogHistogram,
    bucket_edges_usd,
    bucket_ids,
    bucket_sql,
    merge_all,
    representative_usd,
)

amounts = st.lists(st.integers(min_value=0, max_value=10**13).map(lambda units: Decimal(units).scaleb(-9)), max_size=40)
histograms = amounts.map(LogHistogram.from_values)


def test_bucket_ids_are_the_ceiling_of_the_logarithm():
    # ln 0.0058125 / ln 1.01 = -517.32; ln 1 = 0; ln 2 / ln 1.01 = 69.66
    assert bucket_ids([0.0058125, 1.0, 2.0]).tolist() == [-517, 0, 70]


@pytest.mark.parametrize("value", [0.0, -1.0, math.inf, math.nan])
def test_bucket_ids_refuse_what_has_no_logarithm(value: float):
    with pytest.raises(ValueError, match="expected x > 0"):
        bucket_ids([1.0, value])


def test_bucket_sql_agrees_with_bucket_ids_in_duckdb(rng: np.random.Generator):
    values = np.round(np.exp(rng.uniform(-18, 9, 50_000)), 12)
    connection = duckdb.connect()
    connection.execute("create table charges (cost_usd decimal(30, 12))")
    connection.execute("insert into charges select unnest(?)", [values.tolist()])
    rows = connection.execute(
        f"select cast(cost_usd as double), {bucket_sql('cost_usd')} from charges where cost_usd > 0"
    ).fetchnumpy()
    first, second = rows.values()
    assert len(first) > 49_000
    assert np.array_equal(second, bucket_ids(first))


@given(st.floats(min_value=1e-12, max_value=1e9))
def test_representative_lies_within_the_stated_relative_error(value: float):
    representative = float(representative_usd(bucket_ids(value)))
    assert abs(representative - value) / value <= RELATIVE_ERROR_SHARE * (1 + 1e-9)


def test_relative_error_is_half_a_percent():
    assert pytest.approx(0.004975, abs=1e-6) == RELATIVE_ERROR_SHARE


def test_bucket_edges_are_one_percent_apart():
    lower, upper = bucket_edges_usd([0, 70])
    assert upper / lower == pytest.approx([GAMMA, GAMMA])
    assert upper[0] == 1.0


def test_histogram_keeps_the_exact_sum_and_mean():
    histogram = LogHistogram.from_values([Decimal("0.1")] * 3 + [Decimal("0.2"), Decimal(0)])
    assert histogram.count == 5
    assert histogram.sum_usd == Decimal("0.5")
    assert histogram.mean_usd == Decimal("0.1")
    assert histogram.zero_share == 0.2


def test_empty_histogram_has_unknown_figures():
    empty = LogHistogram.from_values([])
    assert (empty.count, empty.mean_usd, empty.zero_share, empty.quantile_usd(0.5)) == (0, None, None, None)


@pytest.mark.parametrize(
    ("buckets", "counts", "zero_count", "sum_usd", "message"),
    [
        ((0,), (1, 2), 0, "1", "as many of each"),
        ((1, 0), (1, 1), 0, "2", "strictly increasing"),
        ((0,), (0,), 0, "0", "at least 1"),
        ((0,), (1,), -1, "1", "zero_count at least 0"),
        ((0,), (10,), 0, "10.1", "can only sum to"),
        ((0,), (10,), 0, "9.8", "can only sum to"),
    ],
)
def test_histogram_refuses_contradictions(
    buckets: tuple[int, ...], counts: tuple[int, ...], zero_count: int, sum_usd: str, message: str
):
    with pytest.raises(ValueError, match=message):
        LogHistogram(buckets, counts, zero_count, Decimal(sum_usd))


@given(histograms, histograms, histograms)
def test_merge_is_associative_commutative_and_exact(one: LogHistogram, two: LogHistogram, three: LogHistogram):
    assert one.merge(two).merge(three) == one.merge(two.merge(three)) == merge_all([three, one, two])
    assert one.merge(two) == two.merge(one)
    assert one.merge(two).sum_usd == one.sum_usd + two.sum_usd


@given(amounts, amounts)
def test_merge_equals_the_histogram_of_all_values(one: list[Decimal], two: list[Decimal]):
    merged = LogHistogram.from_values(one).merge(LogHistogram.from_values(two))
    assert merged == LogHistogram.from_values(one + two)


@given(histograms, st.floats(0, 1), st.floats(0, 1))
def test_quantile_is_monotone(histogram: LogHistogram, one: float, two: float):
    if histogram.count:
        low, high = sorted((one, two))
        assert histogram.quantile_usd(low) <= histogram.quantile_usd(high)


@given(amounts.filter(bool), st.floats(0, 1))
def test_quantile_is_within_the_error_bound_of_the_order_statistic(values: list[Decimal], quantile: float):
    rank = max(1, math.ceil(Decimal(str(quantile)) * len(values)))
    exact = sorted(values)[rank - 1]
    estimate = LogHistogram.from_values(values).quantile_usd(quantile)
    assert estimate is not None
    assert abs(estimate - exact) <= exact * Decimal(RELATIVE_ERROR_SHARE * (1 + 1e-6)) + Decimal("1e-12")


def test_quantile_counts_zeros_first():
    histogram = LogHistogram.from_values([Decimal(0)] * 9 + [Decimal(1)])
    assert histogram.quantile_usd(0.9) == 0
    assert float(histogram.quantile_usd(0.91)) == pytest.approx(1, rel=0.005)


def test_quantile_rank_is_not_moved_by_float_noise():
    # 0.55 x 100 is 55.00000000000001 in floats, which would read the 56th value.
    histogram = LogHistogram.from_values([Decimal(value) for value in range(1, 101)])
    assert float(histogram.quantile_usd(0.55)) == pytest.approx(55, rel=0.005)


@pytest.mark.parametrize("quantile", [-0.01, 95])
def test_quantile_refuses_percent(quantile: float):
    with pytest.raises(ValueError, match=r"0\.95, not 95"):
        LogHistogram.from_values([Decimal(1)]).quantile_usd(quantile)


def test_bucket_at_rank_refuses_ranks_outside():
    with pytest.raises(ValueError, match="from 1 to 2"):
        LogHistogram.from_values([Decimal(1), Decimal(2)]).bucket_at_rank(3)


def test_ecdf_is_exact_at_the_upper_edges():
    edges, shares = LogHistogram.from_values([Decimal(0), Decimal(1), Decimal(1), Decimal(2)]).ecdf()
    assert edges == pytest.approx([0, 1, 1.01**70])
    assert shares.tolist() == [0.25, 0.75, 1.0]
