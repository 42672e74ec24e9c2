"""Investment arithmetic: net present value, internal rate of return, payback, ROI, rates per month.

Exact where the arithmetic is exact (Decimal), None where the question has no single answer. Belongs here:
textbook definitions on given cash flows. Does not belong here: forecasting the flows (`roi`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

import numpy as np
from scipy.optimize import brentq

_MAX_PERIOD_RATE = 1e9
_REAL_ROOT_TOLERANCE = 1e-7


@dataclass(frozen=True)
class InternalRate:
    """An internal rate of return per period, or the reason why there is none.

    Attributes:
        rate_share: The rate per period (0.15 = 15 %), above -1; None when not unique.
        reason: Why it is None; None otherwise.
    """

    rate_share: float | None
    reason: str | None


def npv_usd(cash_flows_usd: Sequence[Decimal], period_rate_share: Decimal) -> Decimal:
    """Return the net present value Σ cf_t / (1 + r)^t; the first flow is at t = 0 and is not discounted.

    Args:
        cash_flows_usd: Net flow per period, t = 0, 1, ...; costs are negative.
        period_rate_share: Discount rate per period, above -1 (0.10 = 10 %).

    Returns:
        USD at t = 0, in the precision of the decimal context.

    Raises:
        ValueError: The rate is -1 or less.
    """
    if period_rate_share <= -1:
        raise ValueError(f"Discounting cash flows: period_rate_share is {period_rate_share}, expected above -1.")
    factor = 1 / (1 + period_rate_share)
    total = Decimal(0)
    for flow in reversed(cash_flows_usd):
        total = flow + total * factor
    return total


def irr(cash_flows_usd: Sequence[Decimal]) -> InternalRate:
    """Return the rate per period at which the net present value is zero, when there is exactly one.

    One sign change in the flows means exactly one rate (Descartes). With more, the real roots of the
    polynomial in 1/(1+r) decide; several rates give None, for which net present value is the answer to use.

    Args:
        cash_flows_usd: Net flow per period, t = 0, 1, ...

    Returns:
        The rate, or None and the reason.
    """
    flows = np.asarray([float(flow) for flow in cash_flows_usd], dtype=np.float64)
    signs = np.sign(flows[flows != 0])
    change_count = int(np.count_nonzero(signs[1:] != signs[:-1]))
    if change_count == 0:
        return InternalRate(None, "all cash flows have one sign, so no rate makes their present value zero")
    if change_count == 1:
        return _single_rate(flows)
    roots = np.roots(np.trim_zeros(flows[::-1], "f"))
    real = roots[(np.abs(roots.imag) < _REAL_ROOT_TOLERANCE) & (roots.real > 0)].real
    rates = np.unique(np.round(1 / real - 1, 9))
    if len(rates) == 1:
        return InternalRate(float(rates[0]), None)
    if len(rates) == 0:
        return InternalRate(None, "no rate above -100 % makes the present value zero")
    listed = ", ".join(f"{100 * rate:.4g} %" for rate in rates)
    return InternalRate(None, f"{len(rates)} rates make the present value zero ({listed}); use net present value")


def _single_rate(flows: np.ndarray) -> InternalRate:
    periods = np.arange(len(flows))

    def scaled_npv(log_growth: float) -> float:
        # Scaled by the largest factor: same root, no overflow at extreme rates.
        exponents = -periods * log_growth
        return float(flows @ np.exp(exponents - exponents.max()))

    bound = float(np.log(_MAX_PERIOD_RATE))
    if scaled_npv(-bound) * scaled_npv(bound) > 0:
        return InternalRate(None, f"the rate lies beyond ±{_MAX_PERIOD_RATE:g} per period")
    return InternalRate(float(np.expm1(brentq(scaled_npv, -bound, bound, xtol=1e-14))), None)


def payback_periods(cash_flows_usd: Sequence[Decimal]) -> Decimal | None:
    """Return when the cumulative undiscounted flow first reaches zero, interpolated within the period.

    Args:
        cash_flows_usd: Net flow per period, t = 0, 1, ...

    Returns:
        Periods from t = 0 (0 when nothing is ever owed), or None when it never pays back.
    """
    cumulative = Decimal(0)
    for period, flow in enumerate(cash_flows_usd):
        before, cumulative = cumulative, cumulative + flow
        if cumulative >= 0 and period == 0:
            return Decimal(0)
        if cumulative >= 0:
            return period - 1 + (-before) / flow
    return None


def roi_share(value_usd: Decimal, cost_usd: Decimal) -> Decimal | None:
    """Return (value - cost) / cost; None when there is no cost, since a return on nothing is not a number.

    Args:
        value_usd: Total (or present) value.
        cost_usd: Total (or present) cost, zero or more.

    Returns:
        0.35 for 35 %.

    Raises:
        ValueError: The cost is negative.
    """
    if cost_usd < 0:
        raise ValueError(f"Computing a return: cost_usd is {cost_usd}, expected zero or more.")
    return None if cost_usd == 0 else (value_usd - cost_usd) / cost_usd


def monthly_rate_share(annual_rate_share: Decimal) -> Decimal:
    """Return the monthly rate that compounds to the annual one: (1 + R)^(1/12) - 1.

    Args:
        annual_rate_share: Rate per year, above -1.

    Returns:
        Rate per month.

    Raises:
        ValueError: The rate is -1 or less.
    """
    if annual_rate_share <= -1:
        raise ValueError(f"Converting a rate: annual_rate_share is {annual_rate_share}, expected above -1.")
    return (1 + annual_rate_share) ** (Decimal(1) / 12) - 1


def compounded_factor(monthly_change_share: Decimal, month_count: int) -> Decimal:
    """Return (1 + change)^months: what a price that changes by the same share each month is multiplied by.

    Args:
        monthly_change_share: Change per month; -0.0667 for a fall of 6.67 %.
        month_count: Months, zero or more.

    Returns:
        The factor. It describes the cheapest model at a given quality; a pinned model's price stays flat.
    """
    return (1 + monthly_change_share) ** month_count


def triangular_mean(low: Decimal, likely: Decimal, high: Decimal) -> Decimal:
    """Return (low + likely + high) / 3, the risk-adjusted value of a three-point estimate.

    Args:
        low: Smallest plausible value.
        likely: Most likely value.
        high: Largest plausible value.

    Returns:
        The mean of the triangular distribution, in the unit of the arguments.

    Raises:
        ValueError: The three are not in order.
    """
    if not low <= likely <= high:
        raise ValueError(f"Averaging a three-point estimate: got {low}, {likely}, {high}, expected them in order.")
    return (low + likely + high) / 3
