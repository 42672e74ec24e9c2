"""Bought capacity: how well it is used, what demand past it costs, and how much to buy.

Demand is in input-equivalent tokens per period (input not read from a cache, plus the weight of output times
output). The period has to be the provider's enforcement window (a minute for provisioned throughput): hourly
means hide most of the spill-over. Periods may be weighted, which turns sums into expectations: recent days can
count more, and forecast paths can be stacked. Belongs here: arithmetic on a demand series. Does not belong here:
the ledger of commitment hours, and options other than buying units (`deployment_options.py`).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

import numpy as np
import numpy.typing as npt

MINUTES_PER_DAY = 24 * 60
TOKENS_PER_MTOK = 1_000_000
MIN_HISTORY_DAYS = 7
"""A whole week: a load curve without a weekend has another shape."""

HALF_LIVES_DAYS: tuple[int | None, ...] = (None, 4, 2, 1)
"""Half-lives of a day's weight that a back-test chooses from; None weighs every day alike, and wins a tie."""

_BACK_TEST_ORIGINS = 5
_TIE_SHARE = 1e-9

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class CapacityOffer:
    """What a unit of capacity gives and costs, and what demand past it costs.

    Attributes:
        unit_tokens_per_period: Tokens that one unit serves in a period, above 0.
        unit_usd_per_period: Price of one unit for a period, used or not.
        on_demand_usd_per_token: Price of a token past the capacity, above 0.
    """

    unit_tokens_per_period: Decimal
    unit_usd_per_period: Decimal
    on_demand_usd_per_token: Decimal

    def __post_init__(self) -> None:
        if min(self.unit_tokens_per_period, self.on_demand_usd_per_token) <= 0 or self.unit_usd_per_period < 0:
            raise ValueError(
                "Describing capacity: expected unit_tokens_per_period and on_demand_usd_per_token above 0 "
                f"and unit_usd_per_period at least 0, got {self}."
            )


@dataclass(frozen=True)
class UnitPurchase:
    """How many units a provider sells: none, or a minimum and whole increments on top of it.

    Attributes:
        minimum_units: The smallest count other than none, above 0.
        unit_increment: The step between counts, above 0.
    """

    minimum_units: int = 1
    unit_increment: int = 1

    def __post_init__(self) -> None:
        if min(self.minimum_units, self.unit_increment) < 1:
            raise ValueError(f"Describing a purchase: expected a minimum and an increment of 1 or more, got {self}.")

    def unit_count(self, step: int) -> int:
        """Return the count after a number of steps up from none."""
        return self.minimum_units + (step - 1) * self.unit_increment if step else 0

    def steps_to(self, units: float) -> int:
        """Return how many steps reach at least this many units."""
        if units <= 0:
            return 0
        return 1 + max(0, math.ceil((units - self.minimum_units) / self.unit_increment))


@dataclass(frozen=True)
class CapacityOutcome:
    """A demand series served by a number of units.

    Attributes:
        unit_count: Units bought.
        capacity_tokens: What the units could have served.
        used_tokens: What they served.
        idle_tokens: capacity_tokens - used_tokens.
        spillover_tokens: Demand past the capacity, priced on demand.
        utilization_share: used / capacity; None without capacity.
        commitment_cost_usd: Price of the units.
        spillover_cost_usd: Price of the spill-over.
        cost_usd: Both.
        blended_usd_per_token: cost / demand; None without demand.
        provisioned_usd_per_token: commitment cost / used tokens; None when nothing was used.

    With weights, tokens and costs are expectations over as many periods as the series has.
    """

    unit_count: int
    capacity_tokens: Decimal
    used_tokens: Decimal
    idle_tokens: Decimal
    spillover_tokens: Decimal
    utilization_share: float | None
    commitment_cost_usd: Decimal
    spillover_cost_usd: Decimal
    cost_usd: Decimal
    blended_usd_per_token: Decimal | None
    provisioned_usd_per_token: Decimal | None


@dataclass(frozen=True)
class CommitmentSplit:
    """The cost of a commitment by what became of it; the three parts sum to the cost exactly.

    Attributes:
        used_cost_usd: Spread over the calls that used it.
        idle_cost_usd: Allocated to a deployment and not used.
        unallocated_cost_usd: Bought and not allocated.
    """

    used_cost_usd: Decimal
    idle_cost_usd: Decimal
    unallocated_cost_usd: Decimal


def serve_demand(
    demand_tokens: npt.ArrayLike, offer: CapacityOffer, unit_count: int, *, weights: npt.ArrayLike | None = None
) -> CapacityOutcome:
    """Return what happens to a demand series with a number of units.

    Args:
        demand_tokens: Tokens demanded per period, zero or more.
        offer: The capacity on offer.
        unit_count: Units bought for all periods, zero or more.
        weights: How much each period counts, shaped as the demand; None counts all alike.

    Returns:
        Tokens and cost over all periods. Tokens are exact up to 2^53 per sum without weights.

    Raises:
        ValueError: Demand is empty, negative or not finite, weights do not fit it, or `unit_count` is negative.
    """
    demand, shares = _checked_demand(demand_tokens, weights)
    if unit_count < 0:
        raise ValueError(f"Serving demand: unit_count is {unit_count}, expected zero or more.")
    limit = float(offer.unit_tokens_per_period) * unit_count
    used = _decimal_sum(np.minimum(demand, limit), shares)
    spillover = _decimal_sum(np.maximum(demand - limit, 0.0), shares)
    capacity = offer.unit_tokens_per_period * unit_count * demand.size
    commitment_cost = offer.unit_usd_per_period * unit_count * demand.size
    spillover_cost = spillover * offer.on_demand_usd_per_token
    cost = commitment_cost + spillover_cost
    return CapacityOutcome(
        unit_count=unit_count,
        capacity_tokens=capacity,
        used_tokens=used,
        idle_tokens=capacity - used,
        spillover_tokens=spillover,
        utilization_share=float(used / capacity) if capacity else None,
        commitment_cost_usd=commitment_cost,
        spillover_cost_usd=spillover_cost,
        cost_usd=cost,
        blended_usd_per_token=cost / (used + spillover) if used + spillover else None,
        provisioned_usd_per_token=commitment_cost / used if used else None,
    )


def break_even_utilization_share(offer: CapacityOffer) -> Decimal:
    """Return u* = unit price / (unit tokens x on-demand price): the utilisation above which a unit pays.

    Above 1 no utilisation pays; such capacity buys latency or a service level, not a lower price.

    Args:
        offer: The capacity on offer.

    Returns:
        The share, possibly above 1.
    """
    return offer.unit_usd_per_period / (offer.unit_tokens_per_period * offer.on_demand_usd_per_token)


def marginal_utilization_share(
    demand_tokens: npt.ArrayLike, offer: CapacityOffer, unit: int, *, weights: npt.ArrayLike | None = None
) -> float:
    """Return the utilisation of the unit-th unit alone: mean(min((D - (k-1)q)⁺, q)) / q.

    Args:
        demand_tokens: Tokens demanded per period, any shape; forecast paths may be stacked.
        offer: The capacity on offer.
        unit: Which unit, from 1.
        weights: How much each period counts, shaped as the demand; None counts all alike.

    Returns:
        The share, 0 to 1; it falls as `unit` grows.

    Raises:
        ValueError: Demand is empty, negative or not finite, weights do not fit it, or `unit` is below 1.
    """
    if unit < 1:
        raise ValueError(f"Reading a unit's utilisation: unit is {unit}, expected 1 or more.")
    return _step_utilization_share(*_checked_demand(demand_tokens, weights), offer, unit - 1, unit)


def recommended_unit_count(
    demand_tokens: npt.ArrayLike,
    offer: CapacityOffer,
    *,
    purchase: UnitPurchase | None = None,
    weights: npt.ArrayLike | None = None,
) -> int:
    """Return the count of units, of those that can be bought, with the lowest expected cost.

    The marginal-duration rule: a step up is bought while the utilisation of its units alone is at least u*.
    Utilisation falls with every step, so the rule gives the same cost as trying every count; it is the
    newsvendor's critical ratio, F⁻¹(1 - u*), in whole units.

    Args:
        demand_tokens: Tokens demanded per period, any shape. With stacked forecast paths the expected cost is
            lowest.
        offer: The capacity on offer.
        purchase: Which counts are sold; default every whole number.
        weights: How much each period counts, shaped as the demand; None counts all alike.

    Returns:
        Units: none, or a count that is sold. The larger of two counts that cost the same.

    Raises:
        ValueError: Demand is empty, negative or not finite, or weights do not fit it.
    """
    demand, shares = _checked_demand(demand_tokens, weights)
    return _recommended(demand, shares, offer, purchase or UnitPurchase())


def _recommended(demand: FloatArray, shares: FloatArray, offer: CapacityOffer, purchase: UnitPurchase) -> int:
    # Means of floats: a step that pays exactly must not fail in its last bits.
    threshold = float(break_even_utilization_share(offer)) * (1 - _TIE_SHARE)
    # Free units are bought as far as they are used; the utilisation is monotone, so bisection finds the last step.
    low, high = 0, purchase.steps_to(math.ceil(demand.max() / float(offer.unit_tokens_per_period)))
    while low < high:
        middle = (low + high + 1) // 2
        below, above = purchase.unit_count(middle - 1), purchase.unit_count(middle)
        if _step_utilization_share(demand, shares, offer, below, above) >= threshold:
            low = middle
        else:
            high = middle - 1
    return purchase.unit_count(low)


def service_level_unit_count(
    demand_tokens: npt.ArrayLike,
    unit_tokens_per_period: Decimal,
    *,
    spillover_period_share: float,
    purchase: UnitPurchase | None = None,
) -> int:
    """Return the smallest count that is sold with which at most a share of the periods spills over.

    k >= ⌈Q(1-ε) of demand / q⌉, the quantile being an observed demand, never one between two. What is to be
    bought is the larger of this and `recommended_unit_count`.

    Args:
        demand_tokens: Tokens demanded per enforcement window of the provider.
        unit_tokens_per_period: Tokens that one unit serves in a window, above 0.
        spillover_period_share: ε, the share of windows that may spill over, 0 to below 1.
        purchase: Which counts are sold; default every whole number.

    Returns:
        Units, zero when no window that counts has demand.

    Raises:
        ValueError: Demand is empty, negative or not finite, or an argument is out of its range.
    """
    if unit_tokens_per_period <= 0:
        raise ValueError(
            f"Sizing for a service level: unit_tokens_per_period is {unit_tokens_per_period}, expected above 0."
        )
    peak = peak_demand_tokens(demand_tokens, spillover_period_share=spillover_period_share)
    sold = purchase or UnitPurchase()
    return sold.unit_count(sold.steps_to(math.ceil(peak / float(unit_tokens_per_period))))


def peak_demand_tokens(demand_tokens: npt.ArrayLike, *, spillover_period_share: float) -> float:
    """Return the demand that at most a share of the periods exceeds, as one that was observed.

    Args:
        demand_tokens: Tokens demanded per period.
        spillover_period_share: The share, 0 to below 1.

    Raises:
        ValueError: Demand is empty, negative or not finite, or the share is out of its range.
    """
    demand, _ = _checked_demand(demand_tokens, None)
    if not 0 <= spillover_period_share < 1:
        raise ValueError(f"Reading a peak: spillover_period_share is {spillover_period_share}, expected 0 to below 1.")
    return float(np.quantile(demand, 1 - spillover_period_share, method="inverted_cdf"))


def cost_curve(
    demand_tokens: npt.ArrayLike,
    offer: CapacityOffer,
    *,
    purchase: UnitPurchase,
    shown_unit_counts: Sequence[int] = (),
    max_point_count: int = 40,
    weights: npt.ArrayLike | None = None,
) -> list[CapacityOutcome]:
    """Return what happens to a demand series over the counts that are sold, from none to the highest demand.

    Args:
        demand_tokens: Tokens demanded per period.
        offer: The capacity on offer.
        purchase: Which counts are sold.
        shown_unit_counts: Counts that the curve holds whatever else it leaves out, sold or not.
        max_point_count: About how many counts to return besides; evenly spaced ones when there are more.
        weights: How much each period counts; None counts all alike.

    Returns:
        Outcomes by ascending count.

    Raises:
        ValueError: Demand is empty, negative or not finite, or weights do not fit it.
    """
    demand, shares = _checked_demand(demand_tokens, weights)
    last_step = purchase.steps_to(float(demand.max()) / float(offer.unit_tokens_per_period))
    steps = np.unique(np.linspace(0, last_step, min(max_point_count, last_step + 1)).round().astype(int))
    counts = sorted({*(purchase.unit_count(int(step)) for step in steps), *shown_unit_counts})
    return [serve_demand(demand, offer, count, weights=shares) for count in counts]


def recency_weights(day_numbers: npt.ArrayLike, half_life_days: int | None) -> FloatArray:
    """Weigh periods by the age of their day: half as much for every half-life before the last day.

    Whole days are weighed, so that every hour of the day keeps its share.

    Args:
        day_numbers: The day of each period, as a number that grows by one per day.
        half_life_days: Days after which a day counts half; None counts all alike.

    Returns:
        Weights up to 1, shaped as the days.
    """
    days = np.asarray(day_numbers, dtype=np.float64)
    if half_life_days is None:
        return np.ones_like(days)
    return np.asarray(0.5 ** ((days.max() - days) / half_life_days))


@dataclass(frozen=True)
class HalfLifeChoice:
    """How much recent days count in a load curve, and how well each candidate foretold later days.

    Attributes:
        half_life_days: The chosen half-life; None counts all days alike.
        distance_shares: By candidate, mean over the origins of ∫(F - G)² / mean later demand; F is the weighted
            load curve before the origin, G the one after it.
    """

    half_life_days: int | None
    distance_shares: dict[int | None, float]


def choose_half_life(demand_tokens: npt.ArrayLike, day_numbers: npt.ArrayLike) -> HalfLifeChoice:
    """Choose how much recent days count, by back-testing load curves inside the history.

    At five origins, 2/7 to 6/7 into the history, the load curve of what came before, with every candidate of
    `HALF_LIVES_DAYS`, is held against what came after. Buying by a load curve costs a quantile loss at the
    break-even; its mean over all break-evens is the distance that is measured (Gneiting and Raftery, JASA 2007,
    §4.2), so the choice is the workload's and not the price's. A workload that grows or moves is sized by its last
    days, one that only fluctuates by all of them.

    Args:
        demand_tokens: Tokens demanded per period, in any order.
        day_numbers: The day of each period, as a whole number that grows by one per day, shaped as the demand.

    Returns:
        The choice; no distance is known where no origin has later demand.

    Raises:
        ValueError: Demand is empty, negative or not finite, or the history has fewer than `MIN_HISTORY_DAYS`.
    """
    demand, _ = _checked_demand(demand_tokens, None)
    days = np.asarray(day_numbers, dtype=np.int64).ravel()
    first_day = int(days.min())
    day_count = int(days.max()) - first_day + 1
    if day_count < MIN_HISTORY_DAYS:
        raise ValueError(
            f"Choosing a half-life: the history has {day_count} days, expected {MIN_HISTORY_DAYS} or more."
        )
    order = np.argsort(demand)
    gaps = np.diff(demand[order])
    distances: dict[int | None, list[float]] = {candidate: [] for candidate in HALF_LIVES_DAYS}
    for origin in range(_BACK_TEST_ORIGINS):
        is_known = days < first_day + round(day_count * (origin + 2) / 7)
        later_mean = float(demand[~is_known].mean())
        if not later_mean:
            continue
        for candidate, found in distances.items():
            shares = np.where(is_known, 0.0, -1 / np.count_nonzero(~is_known))
            weights = recency_weights(days[is_known], candidate)
            shares[is_known] = weights / weights.sum()
            # The running sum of the one's shares less the other's is the difference of their curves.
            found.append(float(np.cumsum(shares[order])[:-1] ** 2 @ gaps) / later_mean)
    # Rounded, so that what differs in the last bits of a float is a tie.
    means = {candidate: round(float(np.mean(found)), 12) for candidate, found in distances.items() if found}
    return HalfLifeChoice(min(means, key=means.__getitem__) if means else None, means)


def bundle_usd_per_mtok(usd_per_unit_day: Decimal, tokens_per_minute: Decimal) -> Decimal:
    """Return the price per million tokens of a daily throughput bundle that is used in full.

    Args:
        usd_per_unit_day: Price of one bundle for a day.
        tokens_per_minute: Throughput of one bundle, above 0.

    Returns:
        USD per million tokens, the lowest that the bundle can reach.

    Raises:
        ValueError: The throughput is not above 0.
    """
    if tokens_per_minute <= 0:
        raise ValueError(f"Pricing a bundle: tokens_per_minute is {tokens_per_minute}, expected above 0.")
    return usd_per_unit_day * TOKENS_PER_MTOK / (tokens_per_minute * MINUTES_PER_DAY)


def split_commitment_cost(
    cost_usd: Decimal, *, bought_units: Decimal, allocated_units: Decimal, utilization_share: Decimal
) -> CommitmentSplit:
    """Split the cost of a commitment into used, idle and unallocated.

    Args:
        cost_usd: Cost of the commitment for the period.
        bought_units: Units bought, above 0.
        allocated_units: Units allocated to deployments, 0 to `bought_units`.
        utilization_share: Share of the allocated capacity that calls used, 0 to 1.

    Returns:
        Three parts that sum to `cost_usd`; the idle part takes the rounding.

    Raises:
        ValueError: An argument is out of its range.
    """
    if bought_units <= 0 or not 0 <= allocated_units <= bought_units or not 0 <= utilization_share <= 1:
        raise ValueError(
            f"Splitting a commitment: got {bought_units} units bought, {allocated_units} allocated and "
            f"a utilisation of {utilization_share}; expected bought > 0, allocated from 0 to bought, "
            "utilisation from 0 to 1."
        )
    unallocated = cost_usd * (bought_units - allocated_units) / bought_units
    used = cost_usd * allocated_units / bought_units * utilization_share
    return CommitmentSplit(used, cost_usd - used - unallocated, unallocated)


def break_even_peak_hours(reserved_usd_per_hour: Decimal, on_demand_usd_per_hour: Decimal) -> Decimal:
    """Return the peak hours a day up to which buying the peak on demand is cheaper than reserving it all day.

    Args:
        reserved_usd_per_hour: Price of the extra capacity, paid 24 hours a day.
        on_demand_usd_per_hour: Price of the same capacity by the hour, above 0.

    Returns:
        Hours per day.

    Raises:
        ValueError: The on-demand price is not above 0.
    """
    if on_demand_usd_per_hour <= 0:
        raise ValueError(f"Comparing prices: on_demand_usd_per_hour is {on_demand_usd_per_hour}, expected above 0.")
    return 24 * reserved_usd_per_hour / on_demand_usd_per_hour


def needed_unit_counts(demand_tokens: npt.ArrayLike, unit_tokens_per_period: Decimal) -> FloatArray:
    """Return how many whole units each period needs.

    With an offer of one unit per period at the committed price, and a price by the hour for what is past it
    (`hourly_offer`), the marginal-duration rule then says how many units to commit to.

    Args:
        demand_tokens: Tokens demanded per period, zero or more.
        unit_tokens_per_period: Tokens that one unit serves in a period, above 0.

    Returns:
        Whole numbers, shaped as the demand.

    Raises:
        ValueError: Demand is empty, negative or not finite, or the throughput is not above 0.
    """
    if unit_tokens_per_period <= 0:
        raise ValueError(f"Counting units: unit_tokens_per_period is {unit_tokens_per_period}, expected above 0.")
    demand, _ = _checked_demand(demand_tokens, None)
    return np.ceil(demand / float(unit_tokens_per_period)).reshape(np.shape(demand_tokens))


def hourly_offer(
    committed_usd_per_unit_hour: Decimal, hourly_usd_per_unit_hour: Decimal, *, interruption_share: Decimal = Decimal(0)
) -> CapacityOffer:
    """Describe committed units against units by the hour (spot, on demand), for demand in units needed per hour.

    Work that an interruption loses is done again, so a useful spot hour costs price / (1 - interruption share).

    Args:
        committed_usd_per_unit_hour: Price of a committed unit, paid in every hour.
        hourly_usd_per_unit_hour: Price of a unit in the hours in which it is needed, above 0.
        interruption_share: Share of the hours by the hour whose work is lost, 0 to below 1.

    Returns:
        An offer whose break-even utilisation is the share of hours from which committing pays.

    Raises:
        ValueError: An argument is out of its range.
    """
    if not 0 <= interruption_share < 1:
        raise ValueError(f"Pricing spot capacity: interruption_share is {interruption_share}, expected 0 to below 1.")
    return CapacityOffer(Decimal(1), committed_usd_per_unit_hour, hourly_usd_per_unit_hour / (1 - interruption_share))


def _step_utilization_share(
    demand: FloatArray, shares: FloatArray, offer: CapacityOffer, below_units: int, above_units: int
) -> float:
    size = float(offer.unit_tokens_per_period)
    step = (above_units - below_units) * size
    return float(np.clip(demand - below_units * size, 0.0, step) @ shares / step)


def _checked_demand(demand_tokens: npt.ArrayLike, weights: npt.ArrayLike | None) -> tuple[FloatArray, FloatArray]:
    """Return demand and its weights, flat; the weights sum to 1."""
    demand = np.asarray(demand_tokens, dtype=np.float64).ravel()
    if demand.size == 0 or not bool(np.all(np.isfinite(demand) & (demand >= 0))):
        raise ValueError("Reading demand: expected at least one period and only finite values of zero or more.")
    if weights is None:
        return demand, np.full(demand.size, 1 / demand.size)
    shares = np.asarray(weights, dtype=np.float64).ravel()
    if shares.shape != demand.shape or not bool(np.all(shares >= 0)) or not 0 < shares.sum() < math.inf:
        raise ValueError(
            f"Weighing demand: got {shares.size} weights for {demand.size} periods; expected one for each, none "
            "negative and a positive sum."
        )
    return demand, shares / shares.sum()


def _decimal_sum(values: FloatArray, shares: FloatArray) -> Decimal:
    # Equal shares add nothing but rounding: a plain sum of whole tokens is exact.
    is_alike = shares[0] == shares[-1] and bool(np.all(shares == shares[0]))
    return Decimal(repr(float(values.sum() if is_alike else values @ shares * values.size)))
