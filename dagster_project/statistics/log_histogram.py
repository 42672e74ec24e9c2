"""The stored sufficient statistic of a cost distribution: counts on a 1 % logarithmic grid.

One histogram answers every question on the shape of a cost (quantiles, fits, intervals), merges exactly over
days, teams and versions, and is one `group by` in SQL. Belongs here: the grid, the histogram, what can be
read off it without a model. Does not belong here: fitted models (`lognormal_mixture`) and publication rules
(`percentiles`).
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from functools import cached_property
from typing import Self

import numpy as np
import numpy.typing as npt

from dagster_project.statistics._money import usd_from_estimate

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

GAMMA = 1.01
"""Ratio of a bucket's upper edge to its lower edge."""

LOG_GAMMA = math.log(GAMMA)
"""Width of a bucket in ln USD."""

RELATIVE_ERROR_SHARE = (GAMMA - 1) / (GAMMA + 1)
"""Largest relative error of a bucket's representative value, 0.4975 %; with Masson et al., DDSketch, VLDB
2019."""

_SUM_SLACK_SHARE = 1e-6


def bucket_ids(values_usd: npt.ArrayLike) -> IntArray:
    """Return the bucket of each positive value: `ceil(ln x / ln 1.01)`.

    Bucket k holds 1.01^(k-1) < x <= 1.01^k, so 1 USD is in bucket 0 and 0.0058125 USD in bucket -517.

    Args:
        values_usd: Positive values in USD, any shape.

    Returns:
        Bucket ids, the same shape.

    Raises:
        ValueError: A value is zero, negative or not finite; zeros are counted apart.
    """
    values = np.asarray(values_usd, dtype=np.float64)
    if not bool(np.all(np.isfinite(values) & (values > 0))):
        raise ValueError(
            "Putting values on the log grid: got a value that is not positive and finite, expected x > 0. "
            "Count zeros in zero_count and reject negative amounts first."
        )
    return np.ceil(np.log(values) / LOG_GAMMA).astype(np.int64)


def bucket_sql(column: str) -> str:
    """Return the SQL expression for the bucket of a positive column; the same grid as `bucket_ids`.

    DuckDB's `ln` and numpy's `log` may differ in the last bit, so a value within 1e-15 of an edge may fall
    one bucket apart. Both buckets then represent it within `RELATIVE_ERROR_SHARE`, and one engine computes
    all stored histograms.

    Args:
        column: A SQL expression in USD; rows with zero or negative values are to be filtered before.

    Returns:
        An expression of type bigint.
    """
    return f"cast(ceil(ln(cast({column} as double)) / ln(cast(1.01 as double))) as bigint)"


def bucket_edges_usd(buckets: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Return the lower (exclusive) and upper (inclusive) edges of buckets, in USD, the shape of `buckets`."""
    ids = np.asarray(buckets, dtype=np.float64)
    return np.exp((ids - 1) * LOG_GAMMA), np.exp(ids * LOG_GAMMA)


def representative_usd(buckets: npt.ArrayLike) -> FloatArray:
    """Return 2·1.01^k / 2.01 per bucket: the value with the smallest worst relative error over the bucket."""
    _, upper = bucket_edges_usd(buckets)
    return upper * (2.0 / (1.0 + GAMMA))


@dataclass(frozen=True)
class LogHistogram:
    """Counts per 1 % bucket, the number of zeros, and the exact sum.

    Attributes:
        buckets: Bucket ids, strictly increasing.
        counts: Observations per bucket, each at least 1; as long as `buckets`.
        zero_count: Observations of exactly 0 USD (blocked or free calls).
        sum_usd: The exact sum of all observations, supplied from the ledger and never computed from buckets.
    """

    buckets: tuple[int, ...]
    counts: tuple[int, ...]
    zero_count: int
    sum_usd: Decimal

    def __post_init__(self) -> None:
        if len(self.buckets) != len(self.counts):
            raise ValueError(
                f"Building a histogram: got {len(self.buckets)} buckets and {len(self.counts)} counts, "
                "expected as many of each."
            )
        if any(later <= earlier for earlier, later in zip(self.buckets, self.buckets[1:], strict=False)):
            raise ValueError("Building a histogram: buckets must be strictly increasing; use from_counts to sort.")
        if self.zero_count < 0 or any(count < 1 for count in self.counts):
            raise ValueError("Building a histogram: counts must be at least 1 and zero_count at least 0.")
        self._check_sum()

    def _check_sum(self) -> None:
        lower, upper = bucket_edges_usd(self.buckets)
        counts = np.asarray(self.counts, dtype=np.float64)
        low, high = float(lower @ counts), float(upper @ counts)
        if not low * (1 - _SUM_SLACK_SHARE) <= float(self.sum_usd) <= high * (1 + _SUM_SLACK_SHARE):
            raise ValueError(
                f"Building a histogram: sum_usd is {self.sum_usd}, but its buckets can only sum to between "
                f"{low:.12g} and {high:.12g} USD. Take the sum and the buckets from the same rows."
            )

    @classmethod
    def from_counts(cls, counts: Mapping[int, int], *, zero_count: int, sum_usd: Decimal) -> Self:
        """Build from bucket → count in any order; buckets with count 0 are dropped.

        Args:
            counts: Observations per bucket id.
            zero_count: Observations of exactly 0 USD.
            sum_usd: Exact sum of the observations.

        Returns:
            The histogram.

        Raises:
            ValueError: A count is negative, or the sum contradicts the buckets.
        """
        items = sorted((bucket, count) for bucket, count in counts.items() if count != 0)
        return cls(
            buckets=tuple(bucket for bucket, _ in items),
            counts=tuple(count for _, count in items),
            zero_count=zero_count,
            sum_usd=sum_usd,
        )

    @classmethod
    def from_values(cls, values_usd: Iterable[Decimal]) -> Self:
        """Build from single observations, for pilots and tests; the warehouse uses `bucket_sql`.

        Args:
            values_usd: Observations in USD, zero or positive.

        Returns:
            The histogram; its sum is exact up to the active decimal context.

        Raises:
            ValueError: An observation is negative or not finite.
        """
        values = list(values_usd)
        positive = [value for value in values if value != 0]
        ids = bucket_ids([float(value) for value in positive])
        return cls.from_counts(
            Counter(ids.tolist()), zero_count=len(values) - len(positive), sum_usd=sum(values, Decimal(0))
        )

    @cached_property
    def positive_count(self) -> int:
        """Observations above zero."""
        return sum(self.counts)

    @property
    def count(self) -> int:
        """All observations, zeros included."""
        return self.positive_count + self.zero_count

    @property
    def zero_share(self) -> float | None:
        """Share of observations that are exactly zero; None when there are no observations."""
        return self.zero_count / self.count if self.count else None

    @property
    def mean_usd(self) -> Decimal | None:
        """The mean from the exact sum, never from buckets; None when there are no observations."""
        return self.sum_usd / self.count if self.count else None

    @cached_property
    def _cumulative_counts(self) -> IntArray:
        return self.zero_count + np.cumsum(np.asarray(self.counts, dtype=np.int64))

    def merge(self, other: "LogHistogram") -> "LogHistogram":
        """Return the histogram of both sets of observations; exact, associative and commutative."""
        counts = Counter(dict(zip(self.buckets, self.counts, strict=True)))
        counts.update(dict(zip(other.buckets, other.counts, strict=True)))
        return LogHistogram.from_counts(
            counts, zero_count=self.zero_count + other.zero_count, sum_usd=self.sum_usd + other.sum_usd
        )

    def bucket_at_rank(self, rank: int) -> int | None:
        """Return the bucket of the rank-th smallest observation.

        Args:
            rank: 1-based rank, 1 to `count`.

        Returns:
            The bucket id, or None when that observation is zero.

        Raises:
            ValueError: No observation has that rank.
        """
        if not 1 <= rank <= self.count:
            raise ValueError(f"Reading rank {rank} of a histogram: expected a rank from 1 to {self.count}.")
        if rank <= self.zero_count:
            return None
        return self.buckets[int(np.searchsorted(self._cumulative_counts, rank, side="left"))]

    def quantile_usd(self, quantile: float) -> Decimal | None:
        """Return the inverse of the empirical distribution: the ceil(n·q)-th smallest observation.

        Args:
            quantile: From 0 (smallest) to 1 (largest).

        Returns:
            USD, within `RELATIVE_ERROR_SHARE` of that observation; None when there are no observations.

        Raises:
            ValueError: The quantile is outside 0 to 1.
        """
        if not 0 <= quantile <= 1:
            raise ValueError(f"Reading a quantile: got {quantile}, expected 0 to 1 (0.95, not 95).")
        if not self.count:
            return None
        # str() keeps 0.95 as 95/100: in floats 50 x 0.9 may come out above 45 and move the rank by one.
        rank = max(1, math.ceil(Fraction(str(quantile)) * self.count))
        bucket = self.bucket_at_rank(rank)
        return Decimal(0) if bucket is None else usd_from_estimate(float(representative_usd(bucket)))

    def ecdf(self) -> tuple[FloatArray, FloatArray]:
        """Return the empirical distribution function at the upper edges of the buckets, where it is exact.

        Returns:
            Two arrays of equal length: upper edges in USD (first 0.0 when there are zeros), and the share of
            observations at or below each.
        """
        _, upper = bucket_edges_usd(self.buckets)
        cumulative = self._cumulative_counts.astype(np.float64)
        if self.zero_count:
            upper, cumulative = np.r_[0.0, upper], np.r_[float(self.zero_count), cumulative]
        return upper, cumulative / max(self.count, 1)


def merge_all(histograms: Sequence[LogHistogram]) -> LogHistogram:
    """Return one histogram of all observations; the empty histogram when there are none."""
    total: Counter[int] = Counter()
    for histogram in histograms:
        total.update(dict(zip(histogram.buckets, histogram.counts, strict=True)))
    return LogHistogram.from_counts(
        total,
        zero_count=sum(histogram.zero_count for histogram in histograms),
        sum_usd=sum((histogram.sum_usd for histogram in histograms), Decimal(0)),
    )
