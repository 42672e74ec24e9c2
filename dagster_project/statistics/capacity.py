"""Bought capacity: how well it is used, what demand past it costs, and how much to buy.

Demand is in input-equivalent tokens per period (input not read from a cache, plus the weight of output times
output). The period has to be the provider's enforcement window (a minute for provisioned throughput): hourly
means hide most of the spill-over. Belongs here: arithmetic on a demand series. Does not belong here: the
ledger of commitment hours.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

import numpy as np
import numpy.typing as npt

MINUTES_PER_DAY = 24 * 60
TOKENS_PER_MTOK = 1_000_000


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


def serve_demand(demand_tokens: npt.ArrayLike, offer: CapacityOffer, unit_count: int) -> CapacityOutcome:
    """Return what happens to a demand series with a number of units.

    Args:
        demand_tokens: Tokens demanded per period, one-dimensional, zero or more.
        offer: The capacity on offer.
        unit_count: Units bought for all periods, zero or more.

    Returns:
        Tokens and cost over all periods. Tokens are exact up to 2^53 per sum.

    Raises:
        ValueError: Demand is empty, negative or not finite, or `unit_count` is negative.
    """
    demand = _checked_demand(demand_tokens)
    if unit_count < 0:
        raise ValueError(f"Serving demand: unit_count is {unit_count}, expected zero or more.")
    limit = float(offer.unit_tokens_per_period) * unit_count
    used = _decimal_sum(np.minimum(demand, limit))
    spillover = _decimal_sum(np.maximum(demand - limit, 0.0))
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


def marginal_utilization_share(demand_tokens: npt.ArrayLike, offer: CapacityOffer, unit: int) -> float:
    """Return the utilisation of the unit-th unit alone: mean(min((D - (k-1)q)⁺, q)) / q.

    Args:
        demand_tokens: Tokens demanded per period, any shape; forecast paths may be stacked.
        offer: The capacity on offer.
        unit: Which unit, from 1.

    Returns:
        The share, 0 to 1; it falls as `unit` grows.

    Raises:
        ValueError: Demand is empty, negative or not finite, or `unit` is below 1.
    """
    demand = _checked_demand(demand_tokens)
    if unit < 1:
        raise ValueError(f"Reading a unit's utilisation: unit is {unit}, expected 1 or more.")
    size = float(offer.unit_tokens_per_period)
    return float(np.clip(demand - (unit - 1) * size, 0.0, size).mean() / size)


def recommended_unit_count(demand_tokens: npt.ArrayLike, offer: CapacityOffer) -> int:
    """Return the number of units with the lowest expected cost, by the marginal-duration rule.

    Unit k is bought while its own utilisation is at least u*. Utilisation falls with k, so the rule gives the
    same count as trying every count; it is the newsvendor's critical ratio, F⁻¹(1 - u*), in whole units.

    Args:
        demand_tokens: Tokens demanded per period, any shape. With stacked forecast paths the expected cost is
            lowest.
        offer: The capacity on offer.

    Returns:
        Units, zero or more, before any minimum or increment of the provider.

    Raises:
        ValueError: Demand is empty, negative or not finite.
    """
    demand = _checked_demand(demand_tokens)
    threshold = float(break_even_utilization_share(offer))
    last_useful = int(np.ceil(demand.max() / float(offer.unit_tokens_per_period)))
    # Free units are bought as far as they are used; the utilisation is monotone, so bisection finds the last
    # one.
    low, high = 0, last_useful
    while low < high:
        middle = (low + high + 1) // 2
        if marginal_utilization_share(demand, offer, middle) >= threshold:
            low = middle
        else:
            high = middle - 1
    return low


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


def lowest_cost_unit_count(
    demand_tokens: npt.ArrayLike, offer: CapacityOffer, allowed_unit_counts: Sequence[int]
) -> int:
    """Return the allowed number of units with the lowest cost, for offers with a minimum or an increment.

    Args:
        demand_tokens: Tokens demanded per period.
        offer: The capacity on offer.
        allowed_unit_counts: Counts that can be bought; include 0 when buying none is allowed.

    Returns:
        The cheapest; the smaller one on a tie.

    Raises:
        ValueError: No count is allowed, or demand is empty, negative or not finite.
    """
    if not allowed_unit_counts:
        raise ValueError("Choosing a number of units: allowed_unit_counts is empty, expected at least one.")
    return min(sorted(allowed_unit_counts), key=lambda count: serve_demand(demand_tokens, offer, count).cost_usd)


def _checked_demand(demand_tokens: npt.ArrayLike) -> npt.NDArray[np.float64]:
    demand = np.asarray(demand_tokens, dtype=np.float64)
    if demand.size == 0 or not bool(np.all(np.isfinite(demand) & (demand >= 0))):
        raise ValueError("Reading demand: expected at least one period and only finite values of zero or more.")
    return demand


def _decimal_sum(values: npt.NDArray[np.float64]) -> Decimal:
    return Decimal(repr(float(values.sum())))
