"""Capacity arithmetic against the worked examples."""

from collections.abc import Callable
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dagster_project.statistics.capacity import (
    CapacityOffer,
    UnitPurchase,
    break_even_peak_hours,
    break_even_utilization_share,
    bundle_usd_per_mtok,
    choose_half_life,
    cost_curve,
    hourly_offer,
    marginal_utilization_share,
    needed_unit_counts,
    recency_weights,
    recommended_unit_count,
    serve_demand,
    service_level_unit_count,
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


def test_only_counts_that_are_sold_are_recommended():
    # Costs of the golden demand: 24.2 for one unit, 24.4 for two, 27.3 for three, 32 for four, 27 for none.
    assert recommended_unit_count(DEMAND, OFFER, purchase=UnitPurchase(2, 1)) == 2
    assert recommended_unit_count(DEMAND, OFFER, purchase=UnitPurchase(3, 1)) == 0
    # Units 2 and 3 together are used by (0.65 + 0.425) / 2 = 0.5375 of their time, below 0.6667.
    assert recommended_unit_count(DEMAND, OFFER, purchase=UnitPurchase(1, 2)) == 1


@given(
    st.lists(st.tuples(st.integers(0, 500), st.integers(1, 9)), min_size=1, max_size=30),
    st.integers(1, 60),
    st.integers(1, 300),
    st.integers(1, 6),
    st.integers(1, 4),
)
def test_rule_over_sold_counts_and_weighted_periods_costs_no_more_than_any_sold_count(
    periods: list[tuple[int, int]], unit_tokens: int, unit_cents: int, minimum: int, increment: int
):
    demand, weights = zip(*periods, strict=True)
    offer = CapacityOffer(Decimal(unit_tokens), Decimal(unit_cents).scaleb(-2), Decimal("0.06"))
    purchase = UnitPurchase(minimum, increment)
    chosen = recommended_unit_count(demand, offer, purchase=purchase, weights=weights)
    sold = [0, *range(minimum, max(demand) // unit_tokens + minimum + increment + 1, increment)]
    # A weight of 3 is the same as the period three times over.
    repeated = [tokens for tokens, weight in periods for _ in range(weight)]
    assert chosen in sold
    lowest = min(serve_demand(repeated, offer, count).cost_usd for count in sold)
    assert serve_demand(repeated, offer, chosen).cost_usd <= lowest * (1 + Decimal("1e-12"))


def test_step_that_pays_exactly_is_bought():
    # 3,000 and 500 tokens, half of the time each: units 2 and 3 of 1,000 are used by exactly the break-even of a half.
    offer = CapacityOffer(Decimal(1000), Decimal("0.01"), Decimal("0.00002"))
    assert recommended_unit_count(([3000] * 720 + [500] * 720) * 28, offer) == 3


def test_weights_make_outcomes_expected_ones():
    # Periods of 10 and 40 with weights 3 and 1 are 10, 10, 10, 40 on average, over two periods instead of four:
    # served (10 + 10 + 10 + 25) / 2 = 27.5, spilled 15 / 2 = 7.5, cost 2 x 1 + 7.5 x 0.06 = 2.45.
    outcome = serve_demand([10, 40], OFFER, 1, weights=[3, 1])
    assert (outcome.used_tokens, outcome.spillover_tokens, outcome.cost_usd) == (
        Decimal("27.5"),
        Decimal("7.5"),
        Decimal("2.45"),
    )


@pytest.mark.parametrize(
    ("spillover_share", "units"),
    [(0.0, 4), (0.25, 4), (0.375, 3), (0.5, 2), (0.875, 1)],
)
def test_service_level_is_met_by_the_smallest_count_that_meets_it(spillover_share: float, units: int):
    # Golden demand in order: 10 20 30 50 60 80 100 100. Of eight periods at most 2 may exceed at 0.25: 80 is reached
    # by 4 units of 25, for 3 serve 75 and three periods exceed; 3 units do at 0.375, 2 (50) at 0.5, 1 (25) at 0.75.
    assert service_level_unit_count(DEMAND, Decimal(25), spillover_period_share=spillover_share) == units
    over = sum(tokens > units * 25 for tokens in DEMAND)
    assert over <= spillover_share * len(DEMAND)


def test_service_level_rounds_up_to_a_count_that_is_sold():
    # 4 units are needed; of 3, 8, 13, … the second is the first that is enough.
    assert service_level_unit_count(DEMAND, Decimal(25), spillover_period_share=0, purchase=UnitPurchase(3, 5)) == 8
    assert service_level_unit_count([0, 0], Decimal(25), spillover_period_share=0, purchase=UnitPurchase(3, 5)) == 0


def test_cost_curve_of_the_golden_demand():
    curve = cost_curve(DEMAND, OFFER, purchase=UnitPurchase(), shown_unit_counts=[5])
    assert [point.unit_count for point in curve] == [0, 1, 2, 3, 4, 5]
    assert [point.cost_usd for point in curve] == [Decimal(text) for text in ("27", "24.2", "24.4", "27.3", "32", "40")]


def test_cost_curve_is_thinned_and_keeps_the_counts_asked_for():
    offer = CapacityOffer(Decimal(1), Decimal(1), Decimal(2))
    curve = cost_curve([100], offer, purchase=UnitPurchase(), shown_unit_counts=[7], max_point_count=5)
    assert [point.unit_count for point in curve] == [0, 7, 25, 50, 75, 100]


def test_day_counts_half_per_half_life():
    assert recency_weights([3, 3, 4, 5], 1).tolist() == [0.25, 0.25, 0.5, 1.0]
    assert recency_weights([3, 4], None).tolist() == [1, 1]


def test_distance_of_two_load_curves_by_hand():
    # Days at 1, 1, 3, 3, 3, 3, 3. Origin after 2 days: F jumps to 1 at 1, G at 3, so (1 - 0)² x (3 - 1) / 3 = 2/3.
    # After 3 days, all alike: F = 2/3 between 1 and 3, (2/3)² x 2 / 3; after 4, 5, 6: F = 2/4, 2/5, 2/6.
    choice = choose_half_life([1, 1, 3, 3, 3, 3, 3], range(7))
    assert choice.distance_shares[None] == pytest.approx(
        2 / 3 * (1 + (2 / 3) ** 2 + (2 / 4) ** 2 + (2 / 5) ** 2 + (2 / 6) ** 2) / 5
    )
    # Half-life of one day, after 3 days: weights 1/4, 1/2, 1, so F = (3/4) / (7/4) = 3/7; then 3/15, 3/31, 3/63.
    assert choice.distance_shares[1] == pytest.approx(
        2 / 3 * (1 + (3 / 7) ** 2 + (3 / 15) ** 2 + (3 / 31) ** 2 + (3 / 63) ** 2) / 5
    )
    assert choice.half_life_days == 1


def test_steady_workload_is_sized_by_all_days():
    # Every day has the same load curve, so no candidate is nearer, and the first keeps its place.
    days = [day for day in range(14) for _ in range(4)]
    assert choose_half_life([40, 40, 0, 0] * 14, days).half_life_days is None


def test_workload_without_demand_has_no_distance():
    choice = choose_half_life([0] * 7, range(7))
    assert (choice.half_life_days, choice.distance_shares) == (None, {})


def test_spot_is_cheaper_below_4_8_peak_hours_a_day():
    # 100 more an hour for the month against 500 in the peak hour: 24 x 100 / 500 = 4.8 hours.
    offer = hourly_offer(Decimal(100), Decimal(500))
    for peak_hours, committed_units in ((4, 0), (5, 1)):
        demand = [50] * peak_hours + [0] * (24 - peak_hours)
        assert recommended_unit_count(needed_unit_counts(demand, Decimal(50)), offer) == committed_units


def test_spot_that_is_interrupted_costs_the_work_that_is_done_again():
    # A fifth of the hours is lost: 400 / 0.8 = 500 per useful hour; committing pays from 100 / 500 = 0.2 of the day.
    assert break_even_utilization_share(
        hourly_offer(Decimal(100), Decimal(400), interruption_share=Decimal("0.2"))
    ) == Decimal("0.2")


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


def test_scale_tier_of_gpt_41_costs_a_quarter_more_when_full():
    """110.00 a day for 30,000 input tokens a minute: 110 / 43.2 M; a cached token counts a quarter; 36 / 3.6 M out."""
    price = bundle_usd_per_mtok(Decimal(110), Decimal(30_000))
    assert (round(price, 2), round(price / 4, 2)) == (Decimal("2.55"), Decimal("0.64"))
    assert bundle_usd_per_mtok(Decimal(36), Decimal(2_500)) == 10
    assert round(price / Decimal("2.00") - 1, 3) == Decimal("0.273")


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
        lambda: UnitPurchase(0, 1),
        lambda: serve_demand(DEMAND, OFFER, 1, weights=[1]),
        lambda: service_level_unit_count(DEMAND, Decimal(25), spillover_period_share=1),
        lambda: choose_half_life(DEMAND, [0, 1, 2, 3, 4, 5, 5, 5]),
        lambda: needed_unit_counts(DEMAND, Decimal(0)),
        lambda: hourly_offer(Decimal(1), Decimal(1), interruption_share=Decimal(1)),
        lambda: split_commitment_cost(
            Decimal(1), bought_units=Decimal(1), allocated_units=Decimal(2), utilization_share=Decimal(0)
        ),
    ],
)
def test_arguments_out_of_range_are_refused(action: Callable[[], object]):
    with pytest.raises(ValueError, match="expected"):
        action()
