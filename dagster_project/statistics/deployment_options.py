"""Where to run a workload: closed API, hosted or own instances, another model in a pool, a second provider.

Belongs here: the cost of options other than buying units for one workload as it is (`capacity.py`). Does not
belong here: prices and volumes, which the caller brings.
"""

import math
from dataclasses import dataclass
from decimal import Decimal

from dagster_project.statistics.capacity import TOKENS_PER_MTOK

SECONDS_PER_DAY = 86_400
HOURS_PER_DAY = 24


@dataclass(frozen=True)
class InstanceOffer:
    """Instances that serve a model, paid by the hour whether used or not.

    Attributes:
        usd_per_instance_hour: Price of one instance for an hour, above 0.
        tokens_per_second: Input-token equivalents that one instance serves in a second, above 0.
        minimum_instance_count: The smallest number that can run, above 0.
        spare_instance_count: Instances kept on top for when one fails (N+1 is 1).
        operations_usd_per_day: What running them costs besides, whatever their number.
    """

    usd_per_instance_hour: Decimal
    tokens_per_second: Decimal
    minimum_instance_count: int = 1
    spare_instance_count: int = 0
    operations_usd_per_day: Decimal = Decimal(0)

    def __post_init__(self) -> None:
        if (
            min(self.usd_per_instance_hour, self.tokens_per_second) <= 0
            or self.minimum_instance_count < 1
            or self.spare_instance_count < 0
            or self.operations_usd_per_day < 0
        ):
            raise ValueError(
                "Describing instances: expected a price, a throughput and a minimum above 0, and spares and "
                f"operations of at least 0, got {self}."
            )

    def instance_count(self, peak_tokens_per_second: Decimal) -> int:
        """Return how many instances serve a peak, spares included."""
        needed = math.ceil(peak_tokens_per_second / self.tokens_per_second)
        return max(needed, self.minimum_instance_count) + self.spare_instance_count

    def cost_usd_per_day(self, instance_count: int) -> Decimal:
        """Return what a number of instances costs for a day."""
        return HOURS_PER_DAY * self.usd_per_instance_hour * instance_count + self.operations_usd_per_day


@dataclass(frozen=True)
class FailoverCost:
    """What being able to move a workload to a second provider costs per day, in the two ways of doing it.

    Attributes:
        on_demand_usd_per_day: Expected extra cost of paying the second provider by the token.
        standby_usd_per_day: Cost of instances that stand by at the second provider, less what the first does not
            bill meanwhile; None when none were offered.
        break_even_failover_share: Share of work from which standing by is cheaper; None without instances, or when
            a token costs no more there than at the first. Above 1 it never is.
    """

    on_demand_usd_per_day: Decimal
    standby_usd_per_day: Decimal | None
    break_even_failover_share: Decimal | None


def break_even_instance_share(
    usd_per_instance_hour: Decimal, tokens_per_second: Decimal, api_usd_per_mtok: Decimal
) -> Decimal:
    """Return the utilisation above which an instance is cheaper than paying an API by the token.

    Args:
        usd_per_instance_hour: Price of one instance for an hour.
        tokens_per_second: What one instance serves, above 0.
        api_usd_per_mtok: Price of the same work by the token, above 0.

    Returns:
        The share; above 1 the instance never pays.

    Raises:
        ValueError: Throughput or price is not above 0.
    """
    if min(tokens_per_second, api_usd_per_mtok) <= 0:
        raise ValueError(
            f"Comparing an instance with an API: got {tokens_per_second} tokens per second and {api_usd_per_mtok} "
            "USD per million, expected both above 0."
        )
    return usd_per_instance_hour * TOKENS_PER_MTOK / (api_usd_per_mtok * tokens_per_second * 3600)


def crossover_tokens_per_day(
    offer: InstanceOffer, *, api_usd_per_token: Decimal, peak_to_mean_ratio: Decimal
) -> Decimal | None:
    """Return the smallest daily volume at which instances cost no more than an API, the load keeping its shape.

    With n working instances the API is dearer from cost(n) / price on, and n are enough up to n x throughput /
    peak-to-mean; the first n whose range is not empty has the crossover.

    Args:
        offer: The instances.
        api_usd_per_token: Price of the same work by the token, zero or more.
        peak_to_mean_ratio: Highest demand that is to be served over mean demand, 1 or more.

    Returns:
        Tokens per day; None when instances never cost less at that shape.

    Raises:
        ValueError: The price is negative or the ratio below 1.
    """
    if api_usd_per_token < 0 or peak_to_mean_ratio < 1:
        raise ValueError(
            f"Seeking a crossover: api_usd_per_token is {api_usd_per_token} and peak_to_mean_ratio "
            f"{peak_to_mean_ratio}; expected at least 0, and at least 1."
        )
    day_tokens = offer.tokens_per_second * SECONDS_PER_DAY / peak_to_mean_ratio
    gain_usd = day_tokens * api_usd_per_token - HOURS_PER_DAY * offer.usd_per_instance_hour
    minimum = offer.minimum_instance_count
    # What does not grow with the working instances: spares and operations. n full ones pay once n x gain covers it.
    fixed_usd = offer.cost_usd_per_day(offer.spare_instance_count)
    if gain_usd < 0 or (gain_usd == 0 and fixed_usd > 0):
        return None
    count = max(minimum, math.ceil(fixed_usd / gain_usd)) if gain_usd else minimum
    cost_usd = offer.cost_usd_per_day(count + offer.spare_instance_count)
    fewer_are_enough_for = (count - 1) * day_tokens if count > minimum else Decimal(0)
    return max(cost_usd / api_usd_per_token, fewer_are_enough_for)


def work_ratio(
    *, input_tokens: Decimal, output_tokens: Decimal, output_token_weight: Decimal, other_output_token_weight: Decimal
) -> Decimal:
    """Return the work of the same tokens with another model's output weight over that with this model's.

    Args:
        input_tokens: Uncached input, zero or more.
        output_tokens: Output, zero or more; not both are zero.
        output_token_weight: Input-token equivalents of an output token with this model.
        other_output_token_weight: The same with the other model.

    Returns:
        The factor of the demand series.

    Raises:
        ValueError: There is no work.
    """
    work = input_tokens + output_token_weight * output_tokens
    if work <= 0:
        raise ValueError(f"Re-weighing work: it is {work} input-token equivalents, expected above 0.")
    return (input_tokens + other_output_token_weight * output_tokens) / work


def failover_cost(
    *,
    tokens_per_day: Decimal,
    failover_share: Decimal,
    first_usd_per_token: Decimal,
    second_usd_per_token: Decimal,
    standby: InstanceOffer | None = None,
    standby_instance_count: int = 0,
) -> FailoverCost:
    """Return what a second provider for failover costs per day.

    By the token only the work that moves costs more: volume x share x (second - first price). What the first
    provider bills whether it serves or not is no saving, so bought capacity has a first price of 0. Standing by
    costs its instances every day, and saves the first price of the work that moves.

    Args:
        tokens_per_day: Work per day, zero or more.
        failover_share: Expected share of it that the first provider does not serve, 0 to 1.
        first_usd_per_token: What a token not served there saves at the first provider.
        second_usd_per_token: Price of a token at the second.
        standby: Instances at the second provider.
        standby_instance_count: How many of them stand by.

    Returns:
        Both costs, and from which share on standing by is cheaper.

    Raises:
        ValueError: The share is not from 0 to 1, or the volume is negative.
    """
    if not 0 <= failover_share <= 1 or tokens_per_day < 0:
        raise ValueError(
            f"Costing a failover: failover_share is {failover_share} and tokens_per_day {tokens_per_day}; expected "
            "0 to 1, and at least 0."
        )
    moved_tokens = tokens_per_day * failover_share
    on_demand_usd = moved_tokens * (second_usd_per_token - first_usd_per_token)
    if standby is None:
        return FailoverCost(on_demand_usd, None, None)
    instances_usd = standby.cost_usd_per_day(standby_instance_count)
    whole_usd = tokens_per_day * second_usd_per_token
    return FailoverCost(
        on_demand_usd,
        instances_usd - moved_tokens * first_usd_per_token,
        # Both save the first price of what moves, so standing by is cheaper once it costs less than those tokens.
        instances_usd / whole_usd if whole_usd > 0 else None,
    )
