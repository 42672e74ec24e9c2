"""When a percentile may be published, its interval, and what siblings can say."""

from decimal import Decimal

import numpy as np
import pytest

from dagster_project.statistics.log_histogram import LogHistogram
from dagster_project.statistics.percentiles import (
    is_publishable,
    modelled_percentiles,
    publish_percentiles,
)
from tests.statistics.conftest import histogram_of_floats


def one_to(count: int) -> LogHistogram:
    return LogHistogram.from_values([Decimal(value) for value in range(1, count + 1)])


@pytest.mark.parametrize(
    ("quantile", "needed"), [(0.5, 10), (0.9, 50), (0.95, 100), (0.99, 500), (0.1, 50), (0.999, 5000)]
)
def test_percentile_needs_five_observations_beyond_it(quantile: float, needed: int):
    assert is_publishable(needed, quantile)
    assert not is_publishable(needed - 1, quantile)


def test_unavailable_percentile_says_how_many_observations_it_needs():
    (percentile,) = publish_percentiles(one_to(499), quantiles=[0.99])
    assert percentile.value_usd is None
    assert percentile.provenance == "unavailable"
    assert percentile.reason == "499 observations; P99 needs 500, so that 5 lie beyond it"


def test_interval_uses_the_binomial_ranks():
    # Binomial(100, 0.5): P(X <= 39) = 0.0176, P(X <= 40) = 0.0284, so the 40th and the 61st enclose the
    # median.
    (median,) = publish_percentiles(one_to(100), quantiles=[0.5])
    assert float(median.value_usd) == pytest.approx(50, rel=0.005)
    assert 40 / 1.01 <= float(median.low_usd) <= 40
    assert 61 <= float(median.high_usd) <= 61 * 1.01
    assert median.provenance == "observed"
    assert median.reason is None


@pytest.mark.parametrize(("count", "quantile"), [(1000, 0.95), (1000, 0.99), (200, 0.5)])
def test_interval_covers_the_true_percentile_as_often_as_it_says(count: int, quantile: float, rng: np.random.Generator):
    truth = np.exp(1.5 * {0.5: 0.0, 0.95: 1.6448536, 0.99: 2.3263479}[quantile] - 4)
    covered = 0
    for _ in range(300):
        sample = histogram_of_floats(np.exp(rng.normal(-4, 1.5, count)))
        (percentile,) = publish_percentiles(sample, quantiles=[quantile])
        covered += float(percentile.low_usd) <= truth <= float(percentile.high_usd)
    # Nominal 0.95, three standard errors of 300 draws are 0.04; discreteness and bucket edges only widen.
    assert 0.91 <= covered / 300 <= 1.0


def test_percentiles_keep_the_order_asked_for():
    assert [each.quantile for each in publish_percentiles(one_to(500), quantiles=[0.9, 0.5])] == [0.9, 0.5]


def test_percentile_within_the_zeros_is_zero():
    histogram = LogHistogram.from_values([Decimal(0)] * 90 + [Decimal(5)] * 10)
    (median,) = publish_percentiles(histogram, quantiles=[0.5])
    assert (median.value_usd, median.low_usd, median.high_usd) == (0, 0, 0)


def test_confidence_that_the_sample_cannot_hold_is_unavailable():
    (percentile,) = publish_percentiles(one_to(10), quantiles=[0.5], confidence_share=0.9999)
    assert percentile.reason == "10 observations hold no 99.99 % interval of P50"


@pytest.mark.parametrize(("quantile", "confidence"), [(1.0, 0.95), (0.0, 0.95), (0.5, 1.0)])
def test_percentiles_refuse_the_ends(quantile: float, confidence: float):
    with pytest.raises(ValueError, match="strictly between 0 and 1"):
        publish_percentiles(one_to(10), quantiles=[quantile], confidence_share=confidence)


def test_modelled_percentiles_are_tagged_and_shrunk_towards_siblings(rng: np.random.Generator):
    siblings = [histogram_of_floats(np.exp(rng.normal(mean, 1.0, 500))) for mean in (-4.2, -4.0, -3.8, -4.0)]
    small = LogHistogram.from_values([Decimal("0.02"), Decimal("0.021"), Decimal("0.019")])
    (p95,) = modelled_percentiles(small, siblings, quantiles=[0.95])
    assert p95.provenance == "modelled"
    assert p95.low_usd is None
    assert p95.reason == "3 paid observations shrunk towards 4 siblings"
    # Siblings' P95 is about exp(-4 + 1.645) = 0.095; the three values alone would say 0.021.
    assert 0.07 < float(p95.value_usd) < 0.13


def test_modelled_percentiles_beat_the_sample_at_n_5(rng: np.random.Generator):
    siblings = [histogram_of_floats(np.exp(rng.normal(-4 + 0.3 * step, 1.0, 500))) for step in range(-3, 4)]
    truth = np.exp(-4 + 1.6448536)
    own_errors, modelled_errors = [], []
    for _ in range(100):
        small = histogram_of_floats(np.exp(rng.normal(-4, 1.0, 5)))
        (modelled,) = modelled_percentiles(small, siblings, quantiles=[0.95])
        own_errors.append(abs(np.log(float(small.quantile_usd(0.95)) / truth)))
        modelled_errors.append(abs(np.log(float(modelled.value_usd) / truth)))
    # Published for agent costs at n = 5: 0.515 against 0.758.
    assert np.mean(modelled_errors) < 0.8 * np.mean(own_errors)


def test_modelled_percentile_within_the_zeros_is_zero(rng: np.random.Generator):
    siblings = [histogram_of_floats(np.exp(rng.normal(-4, 1.0, 50))) for _ in range(3)]
    small = LogHistogram.from_values([Decimal(0)] * 6 + [Decimal(1), Decimal(2)])
    (median,) = modelled_percentiles(small, siblings, quantiles=[0.5])
    assert median.value_usd == 0


def test_modelled_percentiles_need_siblings_and_two_observations(rng: np.random.Generator):
    sibling = histogram_of_floats(np.exp(rng.normal(-4, 1.0, 50)))
    (few_siblings,) = modelled_percentiles(one_to(5), [sibling, one_to(19), sibling], quantiles=[0.5])
    assert few_siblings.reason == ("2 siblings with at least 20 paid observations; a modelled percentile needs 3")
    (one_value,) = modelled_percentiles(one_to(1), [sibling] * 3, quantiles=[0.5])
    assert one_value.reason == "1 paid observations; a modelled percentile needs 2"
