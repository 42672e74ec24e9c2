"""The ROI fan: simulated cost, value and return of a use case, and how well such fans held.

A path draws, together: the present unit cost and benefit (Bayesian bootstrap over recent days), how volume,
unit cost and benefit then drift (log-ratio residuals that use cases really showed after past forecast dates,
pooled), and what a success is worth. Resampling calls alone is no forecast: such an interval was measured to
hold 1 % of the time where 80 % was claimed. The price of a pinned model stays flat. Belongs here: the
simulation and its back-test. Does not belong here: reading history from marts, storing forecasts.
"""

import math
import zlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal
from typing import Literal

import numpy as np
from scipy.stats import norm
from scipy.stats import t as student_t

from dagster_project.statistics._money import usd_from_estimate
from dagster_project.statistics.log_histogram import FloatArray, IntArray

MIN_HISTORY_DAY_COUNT = 14
"""Shortest history of the forecast use case: one week to measure a level, one to see how a level holds."""

BASELINE_DAY_COUNT = 7
"""Days that set the present level; whole weeks, so that weekends do not move it."""

MAX_BLOCK_DAY_COUNT = 28
"""Longest stretch of observed drift that is replayed at once; longer horizons chain stretches."""

MIN_WINDOW_COUNT = 20
"""Past forecast dates wanted behind a fan; the replayed stretch is shortened until there are so many."""

FEWEST_WINDOW_COUNT = 7
"""Past forecast dates below which there is no fan at all, even with one-day stretches."""

VOLUME_CAP_MULTIPLE = 3.0
"""A simulated day never exceeds this multiple of the busiest day seen; uncapped chains of ratios run away."""

PROBABILITY_DEFINITION = (
    "Share of simulated paths whose net present value over the horizon (value minus cost, fixed and upfront "
    "cost included, discounted to the forecast date) is below zero."
)

_PROFILE_DAY_COUNT = 28
_PROFILE_PRIOR_WEEK_COUNT = 0.5
_VOLATILITY_PRIOR_DAY_COUNT = 7.0
_VOLATILITY_RATIO_LIMIT = 2.0
_LOG_RATIO_LIMIT = 3.0
_DAYS_PER_WEEK = 7
_DAYS_PER_YEAR = 365.0

Pool = Literal["past", "other_use_cases"]


@dataclass(frozen=True)
class UseCaseDay:
    """One UTC day of a use case.

    Attributes:
        started_date: The day on which its instances started.
        instance_count: Instances, zero or more.
        success_count: Successful instances; None when outcomes are unknown.
        cost_usd: Cost of the instances; None when any of it is unpriced.
        value_usd: Value by the use case's value equation; None when there is none.
    """

    started_date: date
    instance_count: int
    success_count: int | None
    cost_usd: Decimal | None
    value_usd: Decimal | None

    def __post_init__(self) -> None:
        is_success_possible = self.success_count is None or 0 <= self.success_count <= self.instance_count
        if self.instance_count < 0 or not is_success_possible or (self.cost_usd is not None and self.cost_usd < 0):
            raise ValueError(
                f"Reading a day of a use case: got {self}; expected instance_count >= 0, success_count "
                "from 0 to instance_count, cost_usd >= 0."
            )


@dataclass(frozen=True)
class UseCaseHistory:
    """Consecutive days of a use case, oldest first.

    Attributes:
        use_case_id: The use case.
        days: One entry per calendar day without gaps; see `daily_history` to fill days without instances.
    """

    use_case_id: str
    days: tuple[UseCaseDay, ...]

    def __post_init__(self) -> None:
        for earlier, later in zip(self.days, self.days[1:], strict=False):
            if later.started_date - earlier.started_date != timedelta(days=1):
                raise ValueError(
                    f"Reading the history of {self.use_case_id}: {later.started_date} follows "
                    f"{earlier.started_date}, expected consecutive days. Build it with daily_history."
                )


@dataclass(frozen=True)
class ValueRange:
    """What one success is worth, as a three-point estimate (a triangular distribution).

    Attributes:
        low_usd: Smallest plausible value.
        likely_usd: Most likely value.
        high_usd: Largest plausible value.
    """

    low_usd: Decimal
    likely_usd: Decimal
    high_usd: Decimal

    def __post_init__(self) -> None:
        if not 0 <= self.low_usd <= self.likely_usd <= self.high_usd:
            raise ValueError(f"Reading the value of a success: got {self}, expected 0 <= low <= likely <= high.")


@dataclass(frozen=True)
class RoiAssumptions:
    """What a fan assumes beyond history.

    Attributes:
        horizon_day_count: Days forecast, at least 1.
        path_count: Simulated paths, at least 100.
        seed: Same seed, same fan.
        value_per_success: When given, value is successes x a draw of it; otherwise history's value per
            instance.
        annual_discount_share: Discount rate per year for net present value.
        upfront_cost_usd: Paid on the forecast date.
        fixed_cost_usd_per_day: Paid every day whatever the volume (licences, review, operation).
    """

    horizon_day_count: int = 90
    path_count: int = 10_000
    seed: int = 0
    value_per_success: ValueRange | None = None
    annual_discount_share: Decimal = Decimal(0)
    upfront_cost_usd: Decimal = Decimal(0)
    fixed_cost_usd_per_day: Decimal = Decimal(0)

    def __post_init__(self) -> None:
        if self.horizon_day_count < 1 or self.path_count < 100 or self.seed < 0:  # noqa: PLR2004  stated above
            raise ValueError(f"Reading ROI assumptions: got {self}; expected horizon >= 1, paths >= 100, seed >= 0.")
        if self.annual_discount_share <= -1 or min(self.upfront_cost_usd, self.fixed_cost_usd_per_day) < 0:
            raise ValueError(f"Reading ROI assumptions: got {self}; expected a rate above -1 and costs >= 0.")


@dataclass(frozen=True)
class UsdBand:
    """P10, P50 and P90 over paths, in USD."""

    p10_usd: Decimal
    p50_usd: Decimal
    p90_usd: Decimal


@dataclass(frozen=True)
class ShareBand:
    """P10, P50 and P90 over paths, as shares (0.35 = 35 %)."""

    p10_share: float
    p50_share: float
    p90_share: float


@dataclass(frozen=True)
class FanPoint:
    """The fan at the end of one day; everything is cumulative from the first forecast day.

    Attributes:
        day: 1 for the first forecast day.
        forecast_date: Its date.
        cost: Cost so far, fixed and upfront cost included.
        value: Value so far; None when value is unknown.
        net: Value minus cost so far; None when value is unknown.
        roi: (value - cost) / cost so far; None when value is unknown or a path has no cost yet.
    """

    day: int
    forecast_date: date
    cost: UsdBand
    value: UsdBand | None
    net: UsdBand | None
    roi: ShareBand | None


@dataclass(frozen=True)
class RoiFan:
    """A simulated forecast.

    Attributes:
        use_case_id: The use case.
        origin_date: Last day of history; the forecast starts the day after.
        points: One per day of the horizon.
        npv: Net present value over the horizon; None when value is unknown.
        npv_negative_probability_share: See `PROBABILITY_DEFINITION`; None when value is unknown.
        value_reason: Why value is unknown; None otherwise.
        history_day_count: Days of the use case's own history.
        block_day_count: Length of the replayed stretches of drift.
        window_count: Past forecast dates that the drift was drawn from, over all use cases.
        assumptions: What was assumed.
    """

    use_case_id: str
    origin_date: date
    points: tuple[FanPoint, ...]
    npv: UsdBand | None
    npv_negative_probability_share: float | None
    value_reason: str | None
    history_day_count: int
    block_day_count: int
    window_count: int
    assumptions: RoiAssumptions


@dataclass(frozen=True)
class RoiForecast:
    """A fan, or the reason why there is none.

    Attributes:
        fan: The forecast; None when history does not carry one.
        reason: Why it is None; None otherwise.
    """

    fan: RoiFan | None
    reason: str | None


@dataclass(frozen=True)
class Calibration:
    """How often the P10-P90 interval of cost held in the past.

    Attributes:
        horizon_day_count: Length of the total that was forecast.
        window_count: Forecasts scored.
        covered_share: Share of realised totals within P10-P90; None without a scored forecast. Nominal: 0.8.
        below_share: Share of realised totals below P10 (nominal 0.1); None without a scored forecast.
        above_share: Share of realised totals above P90 (nominal 0.1); None without a scored forecast.
        median_abs_log_error: Median |ln(P50 / realised)| where something was spent; None without a scored
            forecast.
        skipped_window_count: Forecast dates that could not be scored (no fan, or an unknown cost).
    """

    horizon_day_count: int
    window_count: int
    covered_share: float | None
    below_share: float | None
    above_share: float | None
    median_abs_log_error: float | None
    skipped_window_count: int


def daily_history(use_case_id: str, days: Iterable[UseCaseDay], *, first_date: date, last_date: date) -> UseCaseHistory:
    """Return consecutive days, a day without an entry being a day with zero instances, cost and value.

    Use it only where the telemetry of the whole range is known to be complete: there, absence is a zero.

    Args:
        use_case_id: The use case.
        days: Its days in any order, each at most once.
        first_date: First day of the history.
        last_date: Last day of the history, complete.

    Returns:
        The history, from `first_date` to `last_date`.

    Raises:
        ValueError: A day is repeated or outside the range.
    """
    by_date: dict[date, UseCaseDay] = {}
    for day in days:
        if day.started_date in by_date or not first_date <= day.started_date <= last_date:
            raise ValueError(
                f"Building the history of {use_case_id}: {day.started_date} is repeated or outside "
                f"{first_date} to {last_date}, expected each day once and inside."
            )
        by_date[day.started_date] = day
    # A use case without any value equation has no value on idle days either: unknown is not zero.
    idle_value = None if all(day.value_usd is None for day in by_date.values()) else Decimal(0)
    idle_success = None if all(day.success_count is None for day in by_date.values()) else 0
    dates = (first_date + timedelta(days=offset) for offset in range((last_date - first_date).days + 1))
    return UseCaseHistory(
        use_case_id,
        tuple(by_date.get(day) or UseCaseDay(day, 0, idle_success, Decimal(0), idle_value) for day in dates),
    )


def roi_fan(
    histories: Sequence[UseCaseHistory], use_case_id: str, assumptions: RoiAssumptions | None = None
) -> RoiForecast:
    """Forecast one use case, learning how forecasts miss from all of them.

    Per path and day: instances = level x weekday profile x volume ratio; cost = instances x unit cost x
    unit-cost ratio; value = instances x benefit x benefit ratio (x value per success). Levels are those of
    the last seven days; the ratios replay what was realised over what those same rules would have said, from
    one past date of one use case at a time, so that volume, unit cost and benefit keep their dependence.
    Ratios of calm use cases are raised to the power of the volatility of this one over theirs (0.5 to 2).
    Cost and value totals therefore spread as past totals did, widened as Student's interval is when there
    were few of them.

    Args:
        histories: All use cases that ought to inform the drift, the forecast one included.
        use_case_id: Which one to forecast.
        assumptions: Horizon, paths, seed, values; the defaults when None.

    Returns:
        The fan, or the reason why there is none: history shorter than 14 days, an unpriced or idle last week,
        or too few past windows. A fan without known value still forecasts cost and says why the value is
        missing.

    Raises:
        ValueError: `use_case_id` is not among the histories, or is there twice.
    """
    assumptions = assumptions or RoiAssumptions()
    matches = [history for history in histories if history.use_case_id == use_case_id]
    if len(matches) != 1:
        known = ", ".join(sorted({history.use_case_id for history in histories})) or "none"
        raise ValueError(
            f"Forecasting {use_case_id}: found {len(matches)} histories of it, expected one (given: {known})."
        )
    history = matches[0]
    if len(history.days) < MIN_HISTORY_DAY_COUNT:
        reason = f"{len(history.days)} days of history; a forecast needs {MIN_HISTORY_DAY_COUNT}"
        return RoiForecast(None, reason)
    benefit_kind: _BenefitKind = "value" if assumptions.value_per_success is None else "success"
    pool = _ResidualPool([_Series.of(each, benefit_kind) for each in histories])
    target = _Series.of(history, benefit_kind)
    simulation = _simulate(target, len(target), pool.before(target.ordinal_at(len(target))), assumptions)
    if isinstance(simulation, str):
        return RoiForecast(None, simulation)
    return RoiForecast(_summarise(history, simulation, assumptions), None)


def calibration(
    histories: Sequence[UseCaseHistory],
    *,
    horizon_day_count: int,
    pool: Pool = "past",
    path_count: int = 1000,
    seed: int = 0,
) -> Calibration:
    """Back-test the cost fan: forecast from every past date, count how often the total lay in P10-P90.

    Measured on ServeGen (10 days; the 43 clients busy every day, learning from the other clients): 24, 48 and
    72 hour totals covered 0.79, 0.80 and 0.81. Learning only from the two or three days past, 24 and 48 hour
    totals covered 0.67 and 0.70: a few calendar days are few, however many clients they show. On simulated
    sets of eight use cases with wandering levels, 90 days: 0.73 to 0.84 up to 28 days, 0.62 to 0.84 at 45
    days, where stretches are chained. One use case alone, with no others to learn from: 0.83 up to 7 days and
    0.60 at 28.

    Args:
        histories: Use cases to forecast and to learn the drift from.
        horizon_day_count: Length of the forecast total, at least 1.
        pool: `past` learns, at each date, only from windows that had ended by then, of all use cases: what a
            forecast on that date would have known. `other_use_cases` learns from other use cases at any time,
            for histories too short to hold a past.
        path_count: Paths per forecast, at least 100.
        seed: Same seed, same result.

    Returns:
        Coverage and bias over all scored forecasts. They overlap in time, so the standard error of the
        coverage is larger than that of as many independent forecasts.
    """
    assumptions = RoiAssumptions(horizon_day_count=horizon_day_count, path_count=path_count, seed=seed)
    residuals = _ResidualPool([_Series.of(history, "value") for history in histories])
    positions: list[float] = []
    log_errors: list[float] = []
    skipped_count = 0
    for index, series in enumerate(residuals.series):
        first_origin = MIN_HISTORY_DAY_COUNT if pool == "past" else BASELINE_DAY_COUNT
        for origin in range(first_origin, len(series) - horizon_day_count + 1):
            windows = residuals.before(series.ordinal_at(origin)) if pool == "past" else residuals.without(index)
            realised = float(series.cost[origin : origin + horizon_day_count].sum())
            simulation = _simulate(series, origin, windows, assumptions)
            if isinstance(simulation, str) or math.isnan(realised):
                skipped_count += 1
                continue
            low, middle, high = np.quantile(simulation.cost.sum(axis=1), (0.1, 0.5, 0.9))
            positions.append(-1.0 if realised < low else 1.0 if realised > high else 0.0)
            if realised > 0 and middle > 0:
                log_errors.append(abs(math.log(middle / realised)))
    outcome = np.asarray(positions)
    return Calibration(
        horizon_day_count=horizon_day_count,
        window_count=len(positions),
        covered_share=float((outcome == 0).mean()) if positions else None,
        below_share=float((outcome < 0).mean()) if positions else None,
        above_share=float((outcome > 0).mean()) if positions else None,
        median_abs_log_error=float(np.median(log_errors)) if log_errors else None,
        skipped_window_count=skipped_count,
    )


_BenefitKind = Literal["value", "success"]


@dataclass(frozen=True, eq=False)
class _Series:
    """A history as arrays over days; unknown is nan."""

    use_case_id: str
    first_ordinal: int
    volume: FloatArray
    cost: FloatArray
    benefit: FloatArray
    benefit_kind: _BenefitKind

    @classmethod
    def of(cls, history: UseCaseHistory, benefit_kind: _BenefitKind) -> "_Series":
        benefits = [day.value_usd if benefit_kind == "value" else day.success_count for day in history.days]
        return cls(
            use_case_id=history.use_case_id,
            first_ordinal=history.days[0].started_date.toordinal() if history.days else 0,
            volume=np.asarray([day.instance_count for day in history.days], dtype=np.float64),
            cost=_floats(day.cost_usd for day in history.days),
            benefit=_floats(benefits),
            benefit_kind=benefit_kind,
        )

    def __len__(self) -> int:
        return len(self.volume)

    def ordinal_at(self, index: int) -> int:
        """Return the date ordinal of a day, which may lie after the last one."""
        return self.first_ordinal + index

    def weekday_profile(self, origin: int) -> FloatArray:
        """Return the expected volume of each weekday over the mean, from up to four weeks before `origin`.

        Shrunk to 1 as if half a flat week had been seen as well, and 1 below two weeks.
        """
        start = max(0, origin - _PROFILE_DAY_COUNT)
        volume = self.volume[start:origin]
        if len(volume) < 2 * _DAYS_PER_WEEK or not volume.any():
            return np.ones(_DAYS_PER_WEEK)
        weekdays = (self.first_ordinal + np.arange(start, origin)) % _DAYS_PER_WEEK
        sums = np.bincount(weekdays, volume / volume.mean(), minlength=_DAYS_PER_WEEK)
        counts = np.bincount(weekdays, minlength=_DAYS_PER_WEEK)
        profile = (sums + _PROFILE_PRIOR_WEEK_COUNT) / (counts + _PROFILE_PRIOR_WEEK_COUNT)
        return np.asarray(profile / profile.mean())

    def weekday_factors(self, origin: int, day_count: int) -> FloatArray:
        """Return the profile on each of the `day_count` days from `origin` on."""
        weekdays = (self.first_ordinal + origin + np.arange(day_count)) % _DAYS_PER_WEEK
        return self.weekday_profile(origin)[weekdays]


@dataclass(frozen=True)
class _Window:
    """What followed one past forecast date, over what the rules would have said: three ratios per day."""

    series_index: int
    origin_ordinal: int
    volume_ratio: FloatArray
    unit_cost_ratio: FloatArray
    benefit_ratio: FloatArray
    is_benefit_known: bool

    def day_count_until(self, ordinal: int) -> int:
        """Return how many days of the window had passed before a date."""
        return max(0, min(len(self.volume_ratio), ordinal - self.origin_ordinal))


@dataclass(frozen=True)
class _KnownWindows:
    """Windows as far as they are known on a forecast date, and how volatile each use case was in them.

    Attributes:
        windows: The windows.
        day_counts: Known days of each window.
        volatility: rms of the one-day log ratio of cost, by use case id; shrunk to that of all.
        pooled_volatility: The rms over all windows.
    """

    windows: list[_Window]
    day_counts: IntArray
    volatility: dict[str, float]
    pooled_volatility: float
    series: list[_Series]

    def block_day_count(self, horizon_day_count: int) -> int:
        """Return the longest stretch up to the horizon that enough windows have; 1 when none has."""
        for day_count in range(min(horizon_day_count, MAX_BLOCK_DAY_COUNT), 1, -1):
            if int((self.day_counts >= day_count).sum()) >= MIN_WINDOW_COUNT:
                return day_count
        return 1

    def stretches(self, block_day_count: int, target_id: str) -> "_Stretches":
        """Return the windows' first days as arrays, with the exponents that fit them to the target."""
        chosen = [
            window
            for window, known_count in zip(self.windows, self.day_counts.tolist(), strict=True)
            if known_count >= block_day_count
        ]
        own = self.volatility.get(target_id, self.pooled_volatility)
        donors = np.asarray([self.volatility[self.series[window.series_index].use_case_id] for window in chosen])
        return _Stretches(
            volume=_stacked([window.volume_ratio for window in chosen], block_day_count),
            unit_cost=_stacked([window.unit_cost_ratio for window in chosen], block_day_count),
            benefit=_stacked([window.benefit_ratio for window in chosen], block_day_count),
            benefit_known=np.flatnonzero([window.is_benefit_known for window in chosen]),
            exponents=_small_sample_factor(chosen, block_day_count)
            * np.clip(own / donors, 1 / _VOLATILITY_RATIO_LIMIT, _VOLATILITY_RATIO_LIMIT),
        )


@dataclass(frozen=True)
class _Stretches:
    """Ratios to replay: arrays of windows x days, the rows with a known benefit, one exponent per window."""

    volume: FloatArray
    unit_cost: FloatArray
    benefit: FloatArray
    benefit_known: IntArray
    exponents: FloatArray

    def __len__(self) -> int:
        return len(self.exponents)

    def with_known_benefit(self, drawn: IntArray, rng: np.random.Generator) -> IntArray:
        """Return the drawn rows, those without a known benefit redrawn among those with one."""
        if not len(self.benefit_known):
            return drawn
        redrawn = self.benefit_known[rng.integers(len(self.benefit_known), size=len(drawn))]
        return np.where(np.isin(drawn, self.benefit_known), drawn, redrawn)


class _ResidualPool:
    """All windows of all use cases, cut to what a forecast may know."""

    def __init__(self, series: list[_Series]) -> None:
        self.series = series
        self._windows = [
            window
            for index, each in enumerate(series)
            for origin in range(BASELINE_DAY_COUNT, len(each))
            if (window := _window_at(each, index, origin)) is not None
        ]

    def before(self, ordinal: int) -> _KnownWindows:
        """Return what was known before a date: windows cut at it."""
        return self._known([(window, window.day_count_until(ordinal)) for window in self._windows])

    def without(self, series_index: int) -> _KnownWindows:
        """Return the windows of the other use cases, whole."""
        return self._known(
            [(window, len(window.volume_ratio)) for window in self._windows if window.series_index != series_index]
        )

    def _known(self, cut: list[tuple[_Window, int]]) -> _KnownWindows:
        known = [(window, day_count) for window, day_count in cut if day_count > 0]
        squares: dict[str, list[float]] = {}
        for window, _ in known:
            ratio = float(window.volume_ratio[0] * window.unit_cost_ratio[0])
            log_ratio = -_LOG_RATIO_LIMIT if ratio <= 0 else math.log(ratio)
            clipped = min(abs(log_ratio), _LOG_RATIO_LIMIT)
            squares.setdefault(self.series[window.series_index].use_case_id, []).append(clipped**2)
        everything = [square for each in squares.values() for square in each]
        # A floor keeps the quotient of two perfectly calm use cases defined.
        pooled = max(float(np.mean(everything)), 1e-12) if everything else 1.0
        prior = _VOLATILITY_PRIOR_DAY_COUNT
        return _KnownWindows(
            windows=[window for window, _ in known],
            day_counts=np.asarray([day_count for _, day_count in known], dtype=np.int64),
            volatility={
                use_case_id: math.sqrt((sum(each) + prior * pooled) / (len(each) + prior))
                for use_case_id, each in squares.items()
            },
            pooled_volatility=math.sqrt(pooled),
            series=self.series,
        )


def _window_at(series: _Series, index: int, origin: int) -> _Window | None:
    """Return what followed `origin`, up to the first unknown cost; None without a level before it."""
    baseline = slice(origin - BASELINE_DAY_COUNT, origin)
    volume, cost, benefit = series.volume[baseline], series.cost[baseline], series.benefit[baseline]
    end = min(len(series), origin + MAX_BLOCK_DAY_COUNT)
    unknown = np.flatnonzero(np.isnan(series.cost[origin:end]))
    day_count = int(unknown[0]) if unknown.size else end - origin
    if day_count == 0 or not volume.sum() > 0 or not cost.sum() > 0:
        return None
    days = slice(origin, origin + day_count)
    expected = volume.mean() * series.weekday_factors(origin, day_count)
    benefit_rate = _known_rate(benefit, volume)
    return _Window(
        series_index=index,
        origin_ordinal=series.ordinal_at(origin),
        volume_ratio=series.volume[days] / expected,
        unit_cost_ratio=_unit_ratio(series.cost[days], series.volume[days], cost.sum() / volume.sum()),
        benefit_ratio=_unit_ratio(series.benefit[days], series.volume[days], benefit_rate),
        is_benefit_known=benefit_rate > 0,
    )


def _small_sample_factor(windows: list[_Window], block_day_count: int) -> float:
    """Return how much wider a prediction from few windows has to be than the windows themselves.

    Student's prediction interval over the normal one at P90: t(n-1)·sqrt(1 + 1/n) / z. Windows that overlap
    repeat one another, so n counts the disjoint ones, at least 2.
    """
    per_series = Counter(window.series_index for window in windows)
    disjoint_count = max(2, sum(math.ceil(count / block_day_count) for count in per_series.values()))
    tail = float(student_t.ppf(0.9, disjoint_count - 1)) / float(norm.ppf(0.9))
    return tail * math.sqrt(1 + 1 / disjoint_count)


def _unit_ratio(amount: FloatArray, volume: FloatArray, baseline: float) -> FloatArray:
    """Return amount per instance over the baseline; an idle or unknown day repeats the ratio before it."""
    if not baseline > 0:
        return np.ones(len(amount))
    ratio = np.full(len(amount), np.nan)
    np.divide(amount, volume * baseline, out=ratio, where=volume > 0)
    known = np.where(np.isnan(ratio), -1, np.arange(len(ratio)))
    last_known = np.maximum.accumulate(known)
    return np.where(last_known >= 0, np.maximum(ratio[np.maximum(last_known, 0)], 0.0), 1.0)


def _known_rate(amount: FloatArray, volume: FloatArray) -> float:
    """Return amount per instance over the days on which the amount is known; nan when there is none."""
    is_known = ~np.isnan(amount)
    total = float(volume[is_known].sum())
    return float(amount[is_known].sum()) / total if total > 0 else math.nan


@dataclass(frozen=True)
class _Simulation:
    """Paths x days; benefit is value or successes, None when unknown."""

    cost: FloatArray
    benefit: FloatArray | None
    value_reason: str | None
    block_day_count: int
    window_count: int
    rng: np.random.Generator = field(repr=False)


def _simulate(target: _Series, origin: int, known: _KnownWindows, assumptions: RoiAssumptions) -> _Simulation | str:
    """Simulate from `origin` on; a string is the reason why it cannot be done."""
    baseline = slice(origin - BASELINE_DAY_COUNT, origin)
    volume, cost, benefit = target.volume[baseline], target.cost[baseline], target.benefit[baseline]
    reason = _unusable_reason(volume, cost, len(known.windows))
    if reason is not None:
        return reason
    # Salting with the id makes the paths of two use cases independent and each reproducible alone.
    rng = np.random.default_rng([assumptions.seed, zlib.crc32(target.use_case_id.encode())])
    block_day_count = known.block_day_count(assumptions.horizon_day_count)
    stretches = known.stretches(block_day_count, target.use_case_id)
    recent = _RecentDays.drawn(volume, cost, benefit, rng, assumptions.path_count)
    factors = target.weekday_factors(origin, assumptions.horizon_day_count)
    volume_cap = VOLUME_CAP_MULTIPLE * float(target.volume[:origin].max())
    benefit_cap = 1.0 if target.benefit_kind == "success" else math.inf
    volumes, costs, benefits = [], [], []
    for start in range(0, assumptions.horizon_day_count, block_day_count):
        block = recent.replay(stretches, factors[start : start + block_day_count], volume_cap, benefit_cap, rng)
        volumes.append(block.volume)
        costs.append(block.volume * block.unit_cost)
        benefits.append(block.volume * block.unit_benefit)
        recent = recent.followed_by(block)
    value_reason = None
    if math.isnan(_known_rate(benefit, volume)):
        what = "no value equation gave a value" if target.benefit_kind == "value" else "no outcome is known"
        value_reason = f"{what} on the last {BASELINE_DAY_COUNT} days"
    return _Simulation(
        cost=np.concatenate(costs, axis=1),
        benefit=None if value_reason else np.concatenate(benefits, axis=1),
        value_reason=value_reason,
        block_day_count=block_day_count,
        window_count=len(stretches),
        rng=rng,
    )


def _unusable_reason(volume: FloatArray, cost: FloatArray, window_count: int) -> str | None:
    if np.isnan(cost).any():
        unknown_count = int(np.isnan(cost).sum())
        return f"cost is unknown on {unknown_count} of the last {BASELINE_DAY_COUNT} days (unpriced calls)"
    if not volume.sum() > 0:
        return f"no instance on the last {BASELINE_DAY_COUNT} days"
    if window_count < FEWEST_WINDOW_COUNT:
        return f"{window_count} past forecast dates to learn drift from; a forecast needs {FEWEST_WINDOW_COUNT}"
    return None


@dataclass(frozen=True)
class _RecentDays:
    """The last seven days of each path (paths x days): what sets the level of the next stretch."""

    volume: FloatArray
    unit_cost: FloatArray
    unit_benefit: FloatArray

    @classmethod
    def drawn(
        cls,
        volume: FloatArray,
        cost: FloatArray,
        benefit: FloatArray,
        rng: np.random.Generator,
        path_count: int,
    ) -> "_RecentDays":
        """Return history's last days; a Bayesian bootstrap over them moves unit cost and benefit together."""
        weights = rng.standard_exponential((path_count, len(volume)))
        benefit_volume = np.where(np.isnan(benefit), 0.0, volume)
        unit_cost = weights @ cost / (weights @ volume)
        unit_benefit = np.zeros(path_count)
        if benefit_volume.sum() > 0:
            unit_benefit = (weights @ np.nan_to_num(benefit)) / (weights @ benefit_volume)
        shape = (path_count, len(volume))
        return cls(
            volume=np.broadcast_to(volume, shape),
            unit_cost=np.broadcast_to(unit_cost[:, None], shape),
            unit_benefit=np.broadcast_to(unit_benefit[:, None], shape),
        )

    def replay(
        self,
        stretches: _Stretches,
        factors: FloatArray,
        volume_cap: float,
        benefit_cap: float,
        rng: np.random.Generator,
    ) -> "_RecentDays":
        """Return the next days, as many as `factors`, one drawn stretch per path."""
        day_count = len(factors)
        drawn = rng.integers(len(stretches), size=len(self.volume))
        exponents = stretches.exponents[drawn][:, None]
        level = self.volume.mean(axis=1, keepdims=True)
        volume = level * factors * stretches.volume[drawn, :day_count] ** exponents
        unit_cost = self._weighted(self.unit_cost) * stretches.unit_cost[drawn, :day_count] ** exponents
        benefit_drawn = stretches.with_known_benefit(drawn, rng)
        unit_benefit = self._weighted(self.unit_benefit) * stretches.benefit[benefit_drawn, :day_count]
        return _RecentDays(np.minimum(volume, volume_cap), unit_cost, np.minimum(unit_benefit, benefit_cap))

    def followed_by(self, block: "_RecentDays") -> "_RecentDays":
        """Return the last seven days after a stretch."""
        parts = (
            np.concatenate((before, after), axis=1)[:, -BASELINE_DAY_COUNT:]
            for before, after in (
                (self.volume, block.volume),
                (self.unit_cost, block.unit_cost),
                (self.unit_benefit, block.unit_benefit),
            )
        )
        return _RecentDays(*parts)

    def _weighted(self, unit: FloatArray) -> FloatArray:
        total = self.volume.sum(axis=1)
        weighted = (unit * self.volume).sum(axis=1)
        return np.where(total > 0, weighted / np.where(total > 0, total, 1.0), unit.mean(axis=1))[:, None]


def _summarise(history: UseCaseHistory, simulation: _Simulation, assumptions: RoiAssumptions) -> RoiFan:
    day_count = assumptions.horizon_day_count
    origin_date = history.days[-1].started_date
    daily_cost = simulation.cost + float(assumptions.fixed_cost_usd_per_day)
    upfront = float(assumptions.upfront_cost_usd)
    cost = daily_cost.cumsum(axis=1) + upfront
    daily_value = _daily_value(simulation, assumptions)
    value = None if daily_value is None else daily_value.cumsum(axis=1)
    points = tuple(
        FanPoint(
            day=day + 1,
            forecast_date=origin_date + timedelta(days=day + 1),
            cost=_usd_band(cost[:, day]),
            value=None if value is None else _usd_band(value[:, day]),
            net=None if value is None else _usd_band(value[:, day] - cost[:, day]),
            roi=None if value is None else _roi_band(value[:, day], cost[:, day]),
        )
        for day in range(day_count)
    )
    npv = None
    if daily_value is not None:
        years = np.arange(1, day_count + 1) / _DAYS_PER_YEAR
        discounts = (1 + float(assumptions.annual_discount_share)) ** -years
        npv = (daily_value - daily_cost) @ discounts - upfront
    return RoiFan(
        use_case_id=history.use_case_id,
        origin_date=origin_date,
        points=points,
        npv=None if npv is None else _usd_band(npv),
        npv_negative_probability_share=None if npv is None else float((npv < 0).mean()),
        value_reason=simulation.value_reason,
        history_day_count=len(history.days),
        block_day_count=simulation.block_day_count,
        window_count=simulation.window_count,
        assumptions=assumptions,
    )


def _daily_value(simulation: _Simulation, assumptions: RoiAssumptions) -> FloatArray | None:
    value_range = assumptions.value_per_success
    if simulation.benefit is None or value_range is None:
        return simulation.benefit
    low, likely, high = (float(each) for each in (value_range.low_usd, value_range.likely_usd, value_range.high_usd))
    # One draw per path: what a success is worth is uncertain as a whole, it does not average out over days.
    shape = (assumptions.path_count, 1)
    worth = np.full(shape, likely) if low == high else simulation.rng.triangular(low, likely, high, shape)
    return np.asarray(simulation.benefit * worth)


def _usd_band(amounts: FloatArray) -> UsdBand:
    low, middle, high = np.quantile(amounts, (0.1, 0.5, 0.9))
    return UsdBand(usd_from_estimate(low), usd_from_estimate(middle), usd_from_estimate(high))


def _roi_band(value: FloatArray, cost: FloatArray) -> ShareBand | None:
    if not bool((cost > 0).all()):
        return None
    low, middle, high = np.quantile((value - cost) / cost, (0.1, 0.5, 0.9))
    return ShareBand(float(low), float(middle), float(high))


def _floats(amounts: Iterable[Decimal | int | None]) -> FloatArray:
    return np.asarray([math.nan if amount is None else float(amount) for amount in amounts], dtype=np.float64)


def _stacked(ratios: list[FloatArray], day_count: int) -> FloatArray:
    if not ratios:
        return np.empty((0, day_count))
    return np.stack([ratio[:day_count] for ratio in ratios])
