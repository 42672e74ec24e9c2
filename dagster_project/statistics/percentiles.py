"""Which percentiles of a cost may be published, with which interval, and what to say when none may.

Belongs here: the publication rule, order-statistic intervals, and the shrunken estimate for small samples,
which is always tagged as modelled. Does not belong here: the histogram itself, and where percentiles are
stored.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Literal

import numpy as np
from scipy.stats import binom

from dagster_project.statistics._money import usd_from_estimate
from dagster_project.statistics.log_histogram import (
    LOG_GAMMA,
    FloatArray,
    LogHistogram,
    bucket_edges_usd,
)

PUBLISHED_QUANTILES = (0.5, 0.9, 0.95, 0.99)
"""Quantiles that the marts show."""

MIN_TAIL_COUNT = 5
"""Expected observations beyond a published quantile. Measured: with 0.5 beyond P99 (n = 50) a nominal 95 %
order-statistic interval covered 36 %, with 2 (n = 200) 86 %, with 10 (n = 1000) 98 %."""

MIN_SIBLING_COUNT = 3
"""Siblings needed to estimate how siblings differ."""

MIN_SIBLING_OBSERVATION_COUNT = 20
"""Positive observations from which a sibling's own shape is worth pooling."""

MIN_MODELLED_OBSERVATION_COUNT = 2
"""Positive observations from which a sample has a spread of its own to shrink."""

Provenance = Literal["observed", "modelled", "unavailable"]


@dataclass(frozen=True)
class Percentile:
    """One percentile of a cost, or the reason why there is none.

    Attributes:
        quantile: From 0 to 1, such as 0.95.
        value_usd: The percentile; None when unavailable.
        low_usd: Lower end of the confidence interval; None when modelled or unavailable.
        high_usd: Upper end of the confidence interval; None when modelled or unavailable.
        provenance: `observed` (an order statistic), `modelled` (shrunken towards siblings) or `unavailable`.
        reason: Why it is unavailable or modelled; None when observed.
    """

    quantile: float
    value_usd: Decimal | None
    low_usd: Decimal | None
    high_usd: Decimal | None
    provenance: Provenance
    reason: str | None


def publish_percentiles(
    histogram: LogHistogram,
    *,
    quantiles: Sequence[float] = PUBLISHED_QUANTILES,
    confidence_share: float = 0.95,
) -> tuple[Percentile, ...]:
    """Return the percentiles that the sample can carry: those with n·min(q, 1-q) >= 5.

    The interval is distribution-free: the number of observations at or below the true quantile is binomial(n,
    q), so two order statistics enclose it (David & Nagaraja, Order Statistics, §7.1). Its ends are widened to
    the edges of their buckets, so that binning never narrows it.

    Args:
        histogram: The observations.
        quantiles: Quantiles strictly between 0 and 1.
        confidence_share: Nominal coverage of the interval, strictly between 0 and 1.

    Returns:
        One `Percentile` per quantile, in the given order, `observed` or `unavailable`.

    Raises:
        ValueError: A quantile or the confidence is not strictly between 0 and 1.
    """
    _check_open_share("confidence_share", confidence_share)
    return tuple(_observed_percentile(histogram, quantile, confidence_share) for quantile in quantiles)


def is_publishable(count: int, quantile: float) -> bool:
    """Return whether `count` observations carry this quantile: count·min(q, 1-q) >= `MIN_TAIL_COUNT`."""
    # str() keeps 0.9 as 9/10: in floats 50 x (1 - 0.9) is 4.999..., and the boundary case would be refused.
    exact = Fraction(str(quantile))
    return count * min(exact, 1 - exact) >= MIN_TAIL_COUNT


def modelled_percentiles(
    histogram: LogHistogram,
    siblings: Sequence[LogHistogram],
    *,
    quantiles: Sequence[float] = PUBLISHED_QUANTILES,
) -> tuple[Percentile, ...]:
    """Return empirical-Bayes percentiles for a sample too small for its own, tagged `modelled`.

    With m, s the mean and sd of ln x over the n positive observations: ln s is shrunk to the siblings' mean
    of ln s, weighing 1/(2(n-1)) against the variance between siblings, m likewise with s²/n, and the
    q-quantile is exp(m + s·z_q), z_q being that of the siblings' pooled standardised residuals, each sibling
    weighing the same. Better than the sample's own percentile up to about n = 50, worse beyond; no interval
    is claimed. Siblings should be use cases of the same model tier, or else differ by price.

    Args:
        histogram: The small sample.
        siblings: Histograms of comparable use cases, the sample's own excluded.
        quantiles: Quantiles strictly between 0 and 1.

    Returns:
        One `Percentile` per quantile, in the given order, `modelled` or `unavailable`.

    Raises:
        ValueError: A quantile is not strictly between 0 and 1.
    """
    for quantile in quantiles:
        _check_open_share("quantile", quantile)
    usable = [sibling for sibling in siblings if sibling.positive_count >= MIN_SIBLING_OBSERVATION_COUNT]
    if len(usable) < MIN_SIBLING_COUNT:
        reason = (
            f"{len(usable)} siblings with at least {MIN_SIBLING_OBSERVATION_COUNT} paid observations; "
            f"a modelled percentile needs {MIN_SIBLING_COUNT}"
        )
        return tuple(_unavailable(quantile, reason) for quantile in quantiles)
    if histogram.positive_count < MIN_MODELLED_OBSERVATION_COUNT:
        reason = (
            f"{histogram.positive_count} paid observations; "
            f"a modelled percentile needs {MIN_MODELLED_OBSERVATION_COUNT}"
        )
        return tuple(_unavailable(quantile, reason) for quantile in quantiles)
    mean_log, sd_log = _shrunken_moments(histogram, usable)
    residuals, weights = _pooled_residuals(usable)
    reason = f"{histogram.positive_count} paid observations shrunk towards {len(usable)} siblings"
    zero_share = histogram.zero_share or 0.0
    results: list[Percentile] = []
    for quantile in quantiles:
        value = 0.0
        if quantile > zero_share:
            residual = _weighted_quantile(residuals, weights, (quantile - zero_share) / (1 - zero_share))
            value = math.exp(mean_log + sd_log * residual)
        results.append(Percentile(quantile, usd_from_estimate(value), None, None, "modelled", reason))
    return tuple(results)


def _observed_percentile(histogram: LogHistogram, quantile: float, confidence_share: float) -> Percentile:
    _check_open_share("quantile", quantile)
    if not is_publishable(histogram.count, quantile):
        needed = math.ceil(MIN_TAIL_COUNT / min(Fraction(str(quantile)), 1 - Fraction(str(quantile))))
        reason = (
            f"{histogram.count} observations; P{100 * quantile:g} needs {needed}, "
            f"so that {MIN_TAIL_COUNT} lie beyond it"
        )
        return _unavailable(quantile, reason)
    tail = (1 - confidence_share) / 2
    low_rank = int(binom.ppf(tail, histogram.count, quantile))
    high_rank = int(binom.ppf(1 - tail, histogram.count, quantile)) + 1
    if low_rank < 1 or high_rank > histogram.count:
        reason = f"{histogram.count} observations hold no {100 * confidence_share:g} % interval of P{100 * quantile:g}"
        return _unavailable(quantile, reason)
    low_bucket, high_bucket = histogram.bucket_at_rank(low_rank), histogram.bucket_at_rank(high_rank)
    return Percentile(
        quantile=quantile,
        value_usd=histogram.quantile_usd(quantile),
        low_usd=Decimal(0) if low_bucket is None else usd_from_estimate(float(bucket_edges_usd(low_bucket)[0])),
        high_usd=Decimal(0) if high_bucket is None else usd_from_estimate(float(bucket_edges_usd(high_bucket)[1])),
        provenance="observed",
        reason=None,
    )


def _unavailable(quantile: float, reason: str) -> Percentile:
    return Percentile(quantile, None, None, None, "unavailable", reason)


def _check_open_share(name: str, value: float) -> None:
    if not 0 < value < 1:
        raise ValueError(f"Computing percentiles: {name} is {value}, expected strictly between 0 and 1.")


def _middles_and_counts(histogram: LogHistogram) -> tuple[FloatArray, FloatArray]:
    middles = (np.asarray(histogram.buckets, dtype=np.float64) - 0.5) * LOG_GAMMA
    return middles, np.asarray(histogram.counts, dtype=np.float64)


def _log_moments(histogram: LogHistogram) -> tuple[float, float]:
    """Return mean and sd of ln x over positive observations; the sd is at least one bucket wide."""
    middles, counts = _middles_and_counts(histogram)
    total = counts.sum()
    mean = float(middles @ counts / total)
    variance = float(((middles - mean) ** 2) @ counts / max(total - 1, 1))
    return mean, max(math.sqrt(variance), LOG_GAMMA)


def _shrunken_moments(histogram: LogHistogram, siblings: Sequence[LogHistogram]) -> tuple[float, float]:
    count = histogram.positive_count
    mean_log, sd_log = _log_moments(histogram)
    moments = np.asarray([_log_moments(sibling) for sibling in siblings])
    sizes = np.asarray([sibling.positive_count for sibling in siblings], dtype=np.float64)

    log_sds = np.log(moments[:, 1])
    log_sd = _shrink(math.log(sd_log), 1 / (2 * (count - 1)), log_sds, 1 / (2 * (sizes - 1)))
    sd_hat = math.exp(log_sd)
    mean_hat = _shrink(mean_log, sd_hat**2 / count, moments[:, 0], moments[:, 1] ** 2 / sizes)
    return mean_hat, sd_hat


def _shrink(own: float, own_variance: float, siblings: FloatArray, sibling_variances: FloatArray) -> float:
    """Return the posterior mean of `own` under a normal prior fitted to the siblings by moments."""
    prior_mean = float(siblings.mean())
    # Sampling noise is taken out of the spread between siblings; what is left is how they really differ.
    prior_variance = max(float(siblings.var(ddof=1) - sibling_variances.mean()), 1e-12)
    return (own / own_variance + prior_mean / prior_variance) / (1 / own_variance + 1 / prior_variance)


def _pooled_residuals(siblings: Sequence[LogHistogram]) -> tuple[FloatArray, FloatArray]:
    """Return standardised residuals in increasing order and their weights, which sum to 1."""
    residuals: list[FloatArray] = []
    weights: list[FloatArray] = []
    for sibling in siblings:
        mean, sd = _log_moments(sibling)
        middles, counts = _middles_and_counts(sibling)
        residuals.append((middles - mean) / sd)
        weights.append(counts / counts.sum() / len(siblings))
    pooled, pooled_weights = np.concatenate(residuals), np.concatenate(weights)
    order = np.argsort(pooled, kind="stable")
    return pooled[order], pooled_weights[order]


def _weighted_quantile(sorted_values: FloatArray, weights: FloatArray, quantile: float) -> float:
    position = int(np.searchsorted(np.cumsum(weights), quantile))
    return float(sorted_values[min(position, len(sorted_values) - 1)])
