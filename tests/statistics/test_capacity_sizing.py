"""Sizing on demand that was not seen: ServeGen's first week buys, the days after it are billed.

`statistics.md` §6 has the figures of 14 days and three models; the data at hand are the first ten days of two of
them, so week 2 is days 8 to 10.
"""

from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import duckdb
import numpy as np
import pytest

from dagster_project.statistics.capacity import (
    CapacityOffer,
    FloatArray,
    choose_half_life,
    recency_weights,
    recommended_unit_count,
    serve_demand,
)

SERVEGEN = Path(__file__).parents[3] / "shared/data/servegen"
WINDOWS_PER_DAY = 144
WEEK = 7 * WINDOWS_PER_DAY
# Published, sized by peak, P95, mean, the marginal rule, 0.8 of it, and the best count in hindsight.
PUBLISHED = {
    ("m-mid", 30): (1.32, 0.92, 0.85, 0.89, 0.91, 0.85),
    ("m-mid", 50): (0.94, 0.67, 0.71, 0.70, 0.75, 0.65),
    ("m-small", 30): (3.02, 1.17, 0.81, 0.81, 0.84, 0.80),
    ("m-small", 50): (2.16, 0.84, 0.61, 0.61, 0.65, 0.61),
}
CASES = list(PUBLISHED)

pytestmark = pytest.mark.skipif(not SERVEGEN.exists(), reason="../shared/data is absent")


@dataclass(frozen=True)
class Sizing:
    """Cost of days 8 to 10 over their cost all on demand, by how the first seven days sized it."""

    peak: float
    p95: float
    mean: float
    marginal: float
    haircut: float
    hindsight: float
    chosen: float
    half_life_days: int | None


def demand_tokens(model: str) -> FloatArray:
    """Read input-token equivalents per ten minutes: requests times mean input + 4 x mean output of their six hours."""
    rows = duckdb.sql(
        f"""
        with means as (
            select client_id, window_start_s,
                max(mean) filter (where field = 'input_tokens')
                + 4 * max(mean) filter (where field = 'output_tokens') as work_tokens
            from '{SERVEGEN / "client_token_stats_6h.parquet"}'
            where model = '{model}' and category = 'language'
            group by all
        )
        select sum(600 * requests_per_s * coalesce(work_tokens, 0))
        from '{SERVEGEN / "client_request_rates_10min.parquet"}' as rates
        left join means
            on rates.client_id = means.client_id and rates.t_seconds // 21600 * 21600 = means.window_start_s
        where model = '{model}' and category = 'language'
        group by t_seconds
        order by t_seconds
        """
    ).fetchall()
    return np.array([row[0] for row in rows])


def offer_of(known: FloatArray, discount_percent: int) -> CapacityOffer:
    """A unit of a hundredth of the mean demand, at a discount on 2.50 USD per million when it is full."""
    unit_tokens = round(known.mean() / 100)
    on_demand = Decimal("0.0000025")
    price = unit_tokens * on_demand * (100 - discount_percent) / 100
    return CapacityOffer(Decimal(unit_tokens), price, on_demand)


@pytest.fixture(scope="module", params=CASES, ids=[f"{model}-{discount}%" for model, discount in CASES])
def case(request: pytest.FixtureRequest) -> tuple[tuple[str, int], Sizing]:
    model, discount_percent = request.param
    demand = demand_tokens(model)
    assert len(demand) == 10 * WINDOWS_PER_DAY
    known, billed = demand[:WEEK], demand[WEEK:]
    offer = offer_of(known, discount_percent)
    days = np.arange(WEEK) // WINDOWS_PER_DAY
    choice = choose_half_life(known, days)
    unit = float(offer.unit_tokens_per_period)
    marginal = recommended_unit_count(known, offer)
    counts = (
        round(known.max() / unit),
        round(float(np.quantile(known, 0.95)) / unit),
        round(known.mean() / unit),
        marginal,
        round(0.8 * marginal),
        recommended_unit_count(billed, offer),
        recommended_unit_count(known, offer, weights=recency_weights(days, choice.half_life_days)),
    )
    all_on_demand = serve_demand(billed, offer, 0).cost_usd
    shares = [float(serve_demand(billed, offer, count).cost_usd / all_on_demand) for count in counts]
    return request.param, Sizing(*shares, choice.half_life_days)


def test_marginal_rule_and_its_haircut_agree_with_the_published_figures(case: tuple[tuple[str, int], Sizing]):
    key, found = case
    published = PUBLISHED[key]
    # Days 11 to 14 are missing, so not the same days are billed; the rule's figures move by less than 0.02.
    assert found.marginal == pytest.approx(published[3], abs=0.02)
    assert found.haircut == pytest.approx(published[4], abs=0.02)


def test_peak_sizing_loses_against_the_marginal_rule(case: tuple[tuple[str, int], Sizing]):
    _, found = case
    assert found.peak > 1 > found.marginal
    assert found.p95 > found.marginal


def test_half_life_chosen_on_the_first_week_is_not_worse_than_the_marginal_rule(
    case: tuple[tuple[str, int], Sizing],
):
    key, found = case
    # On the same days it beats the rule in three cases, and costs 0.12 % of the spend more in the fourth.
    assert found.hindsight <= found.chosen <= found.marginal + 0.0015
    assert found.chosen <= PUBLISHED[key][3]


@pytest.mark.parametrize("case", [("m-mid", 30), ("m-mid", 50)], indirect=True)
def test_growing_model_is_sized_by_its_last_days(case: tuple[tuple[str, int], Sizing]):
    # Requests of m-mid grow from 1,336 to 1,913 a second within the week.
    _, found = case
    assert found.half_life_days == 1
    assert found.chosen < found.marginal - 0.01
