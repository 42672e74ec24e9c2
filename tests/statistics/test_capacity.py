"""Capacity arithmetic against the worked examples."""

from collections.abc import Callable
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dagster_project.statistics.capacity import (
    CapacityOffer,
    break_even_peak_hours,
    break_even_utilization_share,
    bundle_usd_per_mtok,
    lowest_cost_unit_count,
    marginal_utilization_share,
    recommended_unit_count,
    serve_demand,
    split_commitment_cost,
)

DEMAND = [10, 30, 50, 80, 100, 100, 60, 20]
OFFER = CapacityOffer(Decimal(25), Decimal(1), Decimal("0.06"))


def test_marginal_utilization_of_the_golden_demand():
    assert [marginal_utilization_share(DEMAND, OFFER, unit) for unit in range(1, 6)] == pytest.approx(
        [0.9, 0.65, 0.425, 0.275, 0]
    )


def test_break_even_utilization_of_the_golden_offer():
    assert round(break_even_utilization_share(OFFER), 4) == Decimal("0.6667")


def test_costs_of_the_golden_demand():
    costs = [serve_demand(DEMAND, OFFER, unit_count).cost_usd for unit_count in range(6)]
    assert costs == [Decimal(text) for text in ("27", "24.2", "24.4", "27.3", "32", "40")]


def test_three_units_on_the_golden_demand():
    outcome = serve_demand(DEMAND, OFFER, 3)
    assert outcome.utilization_share == pytest.approx(0.65833, abs=5e-6)
    assert outcome.idle_tokens == 205
    assert outcome.spillover_tokens == 55
    assert outcome.spillover_cost_usd == Decimal("3.3")
    assert round(outcome.blended_usd_per_token, 7) == Decimal("0.0606667")
    # 24 USD over 395 used tokens
    assert round(outcome.provisioned_usd_per_token, 6) == Decimal("0.060759")


def test_recommended_units_of_the_golden_demand():
    assert recommended_unit_count(DEMAND, OFFER) == 1


@given(
    st.lists(st.integers(0, 500), min_size=1, max_size=30),
    st.integers(1, 60),
    st.integers(1, 300),
)
def test_marginal_rule_costs_no_more_than_any_other_count(demand: list[int], unit_tokens: int, unit_cents: int):
    offer = CapacityOffer(Decimal(unit_tokens), Decimal(unit_cents).scaleb(-2), Decimal("0.06"))
    chosen = serve_demand(demand, offer, recommended_unit_count(demand, offer)).cost_usd
    others = [serve_demand(demand, offer, count).cost_usd for count in range(max(demand) // unit_tokens + 2)]
    assert chosen <= min(others)


def test_capacity_above_break_even_of_one_is_never_bought():
    offer = CapacityOffer(Decimal(25), Decimal(2), Decimal("0.06"))
    assert break_even_utilization_share(offer) > 1
    assert recommended_unit_count([100, 100], offer) == 0


def test_smaller_of_two_equal_counts_is_chosen_within_what_can_be_bought():
    assert lowest_cost_unit_count(DEMAND, OFFER, [0, 2, 4]) == 2
    assert lowest_cost_unit_count([0, 0], CapacityOffer(Decimal(1), Decimal(0), Decimal(1)), [5, 3]) == 3


def test_no_capacity_and_no_demand_have_no_unit_price():
    outcome = serve_demand([0, 0], OFFER, 0)
    assert outcome.utilization_share is None
    assert outcome.blended_usd_per_token is None
    assert outcome.provisioned_usd_per_token is None
    assert outcome.cost_usd == 0


def test_spill_over_of_1200_requests_on_1000():
    outcome = serve_demand([1200], CapacityOffer(Decimal(1000), Decimal(1), Decimal(1)), 1)
    assert outcome.spillover_tokens == 200


@pytest.mark.parametrize(
    ("usd_per_unit_day", "tokens_per_minute", "usd_per_mtok", "standard"),
    [(75, 25_000, "2.083333", "1.25"), (60, 2_500, "16.666667", "10.00")],
)
def test_scale_tier_costs_two_thirds_more_when_full(
    usd_per_unit_day: int, tokens_per_minute: int, usd_per_mtok: str, standard: str
):
    price = bundle_usd_per_mtok(Decimal(usd_per_unit_day), Decimal(tokens_per_minute))
    assert round(price, 6) == Decimal(usd_per_mtok)
    assert round(price / Decimal(standard) - 1, 6) == Decimal("0.666667")


def test_500_units_with_100_deployed_leave_four_fifths_unallocated():
    split = split_commitment_cost(
        Decimal(1000),
        bought_units=Decimal(500),
        allocated_units=Decimal(100),
        utilization_share=Decimal("0.15"),
    )
    assert (split.used_cost_usd, split.idle_cost_usd, split.unallocated_cost_usd) == (30, 170, 800)


def test_four_gpus_at_40_percent():
    split = split_commitment_cost(
        Decimal(156_800),
        bought_units=Decimal(4),
        allocated_units=Decimal(4),
        utilization_share=Decimal("0.4"),
    )
    assert (split.used_cost_usd, split.idle_cost_usd, split.unallocated_cost_usd) == (62_720, 94_080, 0)


@given(st.decimals(0, 10**6, places=6), st.integers(1, 97), st.decimals(0, 1, places=5))
def test_commitment_split_sums_to_the_cost(cost: Decimal, allocated: int, utilization: Decimal):
    split = split_commitment_cost(
        cost, bought_units=Decimal(97), allocated_units=Decimal(allocated), utilization_share=utilization
    )
    parts = split.used_cost_usd + split.idle_cost_usd + split.unallocated_cost_usd
    assert abs(parts - cost) <= Decimal("1e-20")


def test_spot_peak_is_cheaper_below_4_8_hours():
    assert break_even_peak_hours(Decimal(100), Decimal(500)) == Decimal("4.8")


@pytest.mark.parametrize("demand", [[], [-1], [float("nan")]])
def test_demand_that_is_no_demand_is_refused(demand: list[float]):
    with pytest.raises(ValueError, match="at least one period"):
        serve_demand(demand, OFFER, 1)


@pytest.mark.parametrize(
    "action",
    [
        lambda: CapacityOffer(Decimal(0), Decimal(1), Decimal(1)),
        lambda: serve_demand(DEMAND, OFFER, -1),
        lambda: marginal_utilization_share(DEMAND, OFFER, 0),
        lambda: bundle_usd_per_mtok(Decimal(1), Decimal(0)),
        lambda: break_even_peak_hours(Decimal(1), Decimal(0)),
        lambda: lowest_cost_unit_count(DEMAND, OFFER, []),
        lambda: split_commitment_cost(
            Decimal(1), bought_units=Decimal(1), allocated_units=Decimal(2), utilization_share=Decimal(0)
        ),
    ],
)
def test_arguments_out_of_range_are_refused(action: Callable[[], object]):
    with pytest.raises(ValueError, match="expected"):
        action()
