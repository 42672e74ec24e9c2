"""Options for one workload against arithmetic by hand."""

import math
from collections.abc import Callable
from decimal import Decimal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dagster_project.statistics.deployment_options import (
    InstanceOffer,
    break_even_instance_share,
    crossover_tokens_per_day,
    failover_cost,
    work_ratio,
)

# 24 USD and 86.4 million tokens per instance and day.
OFFER = InstanceOffer(Decimal(1), Decimal(1000))


@pytest.mark.parametrize(("api_usd_per_mtok", "share"), [("0.30", "1.54"), ("1", "0.46"), ("3", "0.15")])
def test_node_at_20_usd_an_hour_pays_from_this_utilization(api_usd_per_mtok: str, share: str):
    # statistics.md §6: 12,000 tokens per second are 43.2 million an hour; 20 / (43.2 x price).
    assert round(break_even_instance_share(Decimal(20), Decimal(12_000), Decimal(api_usd_per_mtok)), 2) == Decimal(
        share
    )


def test_instances_are_for_the_peak_with_spares_and_a_minimum():
    offer = InstanceOffer(Decimal(2), Decimal(1000), minimum_instance_count=2, spare_instance_count=1)
    assert [offer.instance_count(Decimal(peak)) for peak in (0, 1500, 2000, 2001)] == [3, 3, 3, 4]
    # Three at 2 USD for 24 hours.
    assert offer.cost_usd_per_day(3) == 144


@pytest.mark.parametrize(
    ("minimum", "spares", "operations", "ratio", "crossover"),
    [
        # At 1 USD per million one instance, 24 USD, is repaid by 24 million tokens; it can serve 86.4 million.
        (1, 0, "0", "1", "24000000"),
        # Two at least: 48 million.
        (2, 0, "0", "1", "48000000"),
        # At a peak of four times the mean an instance serves 21.6 million on average, worth 21.6 USD: never.
        (1, 0, "0", "4", None),
        # One spare: n + 1 instances for n x 86.4 USD. One is enough: 48 <= 86.4.
        (1, 1, "0", "1", "48000000"),
        # Operations of 100: 124 > 86.4 with one, 148 <= 172.8 with two, whose work begins at 86.4 million.
        (1, 0, "100", "1", "148000000"),
        # At twice the mean 43.2 million each, a gain of 19.2: two repay 24 + 2 x 24 = 72 <= 86.4.
        (1, 1, "0", "2", "72000000"),
        # Ratio 3: 28.8 million each, a gain of 4.8; 24 of spares need five: 144 USD, exactly 5 x 28.8.
        (1, 1, "0", "3", "144000000"),
    ],
)
def test_crossover_by_hand(minimum: int, spares: int, operations: str, ratio: str, crossover: str | None):
    offer = InstanceOffer(Decimal(1), Decimal(1000), minimum, spares, Decimal(operations))
    found = crossover_tokens_per_day(offer, api_usd_per_token=Decimal("0.000001"), peak_to_mean_ratio=Decimal(ratio))
    assert found == (None if crossover is None else Decimal(crossover))


@example(minimum=1, spares=1, operations=0, usd_per_mtok=1, ratio=3)
@given(
    minimum=st.integers(1, 4),
    spares=st.integers(0, 2),
    operations=st.integers(0, 200),
    usd_per_mtok=st.integers(1, 20),
    ratio=st.integers(1, 6),
)
def test_crossover_is_the_first_volume_of_a_search(
    minimum: int, spares: int, operations: int, usd_per_mtok: int, ratio: int
):
    offer = InstanceOffer(Decimal(1), Decimal(1000), minimum, spares, Decimal(operations))
    price = Decimal(usd_per_mtok).scaleb(-6)
    found = crossover_tokens_per_day(offer, api_usd_per_token=price, peak_to_mean_ratio=Decimal(ratio))

    def is_no_dearer(mean_tokens_per_day: int) -> bool:
        count = offer.instance_count(Decimal(mean_tokens_per_day) * ratio / 86_400)
        return offer.cost_usd_per_day(count) <= mean_tokens_per_day * price

    searched = [tokens for tokens in range(0, 300_000_000, 2_400_000) if is_no_dearer(tokens)]
    if found is None:
        assert searched == []
    else:
        # Work for another instance begins at a whole token.
        assert is_no_dearer(math.ceil(found))
        assert not any(tokens < found for tokens in searched)


def test_work_with_another_output_weight():
    # 1,000 input and 250 output: 2,000 equivalents at weight 4, 3,000 at weight 8.
    assert work_ratio(
        input_tokens=Decimal(1000),
        output_tokens=Decimal(250),
        output_token_weight=Decimal(4),
        other_output_token_weight=Decimal(8),
    ) == Decimal("1.5")


def test_failover_by_the_token_costs_the_difference_of_the_work_that_moves():
    # 1 % of 100 million at 3 instead of 2 USD per million: 1 million x 1 USD per million.
    cost = failover_cost(
        tokens_per_day=Decimal(100_000_000),
        failover_share=Decimal("0.01"),
        first_usd_per_token=Decimal("0.000002"),
        second_usd_per_token=Decimal("0.000003"),
    )
    assert (cost.on_demand_usd_per_day, cost.standby_usd_per_day, cost.break_even_failover_share) == (1, None, None)


def test_failover_to_instances_that_stand_by():
    # Two instances are 48 USD a day, less the 2 USD that 1 million tokens save at the first provider. All 100 million
    # tokens by the token are 300 USD, so standing by pays once 48 / 300 = 16 % of the work moves.
    cost = failover_cost(
        tokens_per_day=Decimal(100_000_000),
        failover_share=Decimal("0.01"),
        first_usd_per_token=Decimal("0.000002"),
        second_usd_per_token=Decimal("0.000003"),
        standby=OFFER,
        standby_instance_count=2,
    )
    assert (cost.standby_usd_per_day, cost.break_even_failover_share) == (46, Decimal("0.16"))


@pytest.mark.parametrize(
    "action",
    [
        lambda: InstanceOffer(Decimal(0), Decimal(1)),
        lambda: InstanceOffer(Decimal(1), Decimal(1), 0),
        lambda: break_even_instance_share(Decimal(1), Decimal(1), Decimal(0)),
        lambda: crossover_tokens_per_day(OFFER, api_usd_per_token=Decimal(1), peak_to_mean_ratio=Decimal("0.5")),
        lambda: work_ratio(
            input_tokens=Decimal(0),
            output_tokens=Decimal(0),
            output_token_weight=Decimal(4),
            other_output_token_weight=Decimal(8),
        ),
        lambda: failover_cost(
            tokens_per_day=Decimal(1),
            failover_share=Decimal(2),
            first_usd_per_token=Decimal(0),
            second_usd_per_token=Decimal(1),
        ),
    ],
)
def test_arguments_out_of_range_are_refused(action: Callable[[], object]):
    with pytest.raises(ValueError, match="expected"):
        action()
