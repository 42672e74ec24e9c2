"""The fan on histories whose answer is known, its refusals, and its back-test."""

import dataclasses
import itertools
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path

import duckdb
import numpy as np
import pytest

from dagster_project.statistics.roi import (
    PROBABILITY_DEFINITION,
    RoiAssumptions,
    RoiFan,
    UseCaseDay,
    UseCaseHistory,
    ValueRange,
    calibration,
    daily_history,
    roi_fan,
)
from tests.statistics.conftest import wandering_histories

SERVEGEN = Path(__file__).parents[3] / "shared/data/servegen"
FIRST_DATE = date(2026, 7, 1)


def steady_history(use_case_id: str = "steady", day_count: int = 40, **changes: object) -> UseCaseHistory:
    """Return 100 instances, 60 successes, 10 USD of cost and 30 USD of value a day."""
    day = UseCaseDay(FIRST_DATE, 100, 60, Decimal(10), Decimal(30))
    return UseCaseHistory(
        use_case_id,
        tuple(
            dataclasses.replace(day, started_date=FIRST_DATE + timedelta(days=offset), **changes)
            for offset in range(day_count)
        ),
    )


def fan_of(histories: list[UseCaseHistory], use_case_id: str, **assumptions: object) -> RoiFan:
    forecast = roi_fan(histories, use_case_id, RoiAssumptions(**{"path_count": 500, **assumptions}))
    assert forecast.reason is None
    assert forecast.fan is not None
    return forecast.fan


def test_steady_history_has_a_fan_without_width():
    fan = fan_of([steady_history()], "steady", horizon_day_count=30)
    last = fan.points[-1]
    assert (fan.origin_date, last.day, last.forecast_date) == (date(2026, 8, 9), 30, date(2026, 9, 8))
    assert last.value is not None
    assert last.net is not None
    assert last.roi is not None
    assert [float(each) for each in dataclasses.astuple(last.cost)] == pytest.approx([300] * 3)
    assert [float(each) for each in dataclasses.astuple(last.value)] == pytest.approx([900] * 3)
    assert [float(each) for each in dataclasses.astuple(last.net)] == pytest.approx([600] * 3)
    assert dataclasses.astuple(last.roi) == pytest.approx((2.0, 2.0, 2.0))
    assert fan.npv_negative_probability_share == 0


def test_fixed_and_upfront_cost_enter_cost_and_net_present_value():
    fan = fan_of(
        [steady_history()],
        "steady",
        horizon_day_count=10,
        upfront_cost_usd=Decimal(150),
        fixed_cost_usd_per_day=Decimal(5),
    )
    # Cost 150 + 10 x 15 = 300, value 300; the present value at rate 0 is the difference.
    assert float(fan.points[-1].cost.p50_usd) == pytest.approx(300)
    assert fan.npv is not None
    assert float(fan.npv.p50_usd) == pytest.approx(0, abs=1e-9)


def test_discounting_is_by_day():
    fan = fan_of([steady_history()], "steady", horizon_day_count=365, annual_discount_share=Decimal("0.1"))
    expected = sum(20 * 1.1 ** (-day / 365) for day in range(1, 366))
    assert fan.npv is not None
    assert float(fan.npv.p50_usd) == pytest.approx(expected)


def test_declared_value_of_a_success_spreads_the_value():
    worth = ValueRange(Decimal(4), Decimal(6), Decimal(9))
    fan = fan_of([steady_history()], "steady", horizon_day_count=1, path_count=20_000, value_per_success=worth)
    value = fan.points[0].value
    assert value is not None
    # 60 successes; triangular (4, 6, 9): P10 = 4 + sqrt(0.1 x 5 x 2) = 5, P90 = 9 - sqrt(0.1 x 5 x 3) =
    # 7.7753.
    assert float(value.p10_usd) == pytest.approx(300, rel=0.01)
    assert float(value.p90_usd) == pytest.approx(466.5, rel=0.01)


def test_certain_value_of_a_success_does_not_spread():
    worth = ValueRange(Decimal(6), Decimal(6), Decimal(6))
    value = fan_of([steady_history()], "steady", horizon_day_count=1, value_per_success=worth).points[0].value
    assert value is not None
    assert (value.p10_usd, value.p90_usd) == (360, 360)


def test_unknown_value_leaves_the_cost_fan_and_a_reason():
    fan = fan_of([steady_history(value_usd=None)], "steady")
    assert float(fan.points[0].cost.p50_usd) == pytest.approx(10)
    assert (fan.points[0].value, fan.points[0].net, fan.points[0].roi) == (None, None, None)
    assert (fan.npv, fan.npv_negative_probability_share) == (None, None)
    assert fan.value_reason == "no value equation gave a value on the last 7 days"


def test_unknown_outcomes_leave_the_cost_fan_and_a_reason():
    worth = ValueRange(Decimal(4), Decimal(6), Decimal(9))
    fan = fan_of([steady_history(success_count=None)], "steady", value_per_success=worth)
    assert fan.value_reason == "no outcome is known on the last 7 days"


def test_free_use_case_has_no_return():
    histories = [steady_history("free", cost_usd=Decimal(0)), steady_history()]
    assert fan_of(histories, "free", horizon_day_count=3).points[-1].roi is None


@pytest.mark.parametrize(
    ("history", "reason"),
    [
        (steady_history(day_count=13), "13 days of history; a forecast needs 14"),
        (steady_history(cost_usd=None), "cost is unknown on 7 of the last 7 days (unpriced calls)"),
        (
            steady_history(instance_count=0, success_count=0, cost_usd=Decimal(0), value_usd=Decimal(0)),
            "no instance on the last 7 days",
        ),
    ],
)
def test_history_that_carries_no_forecast_gives_a_reason(history: UseCaseHistory, reason: str):
    forecast = roi_fan([history, steady_history("other")], "steady")
    assert forecast.fan is None
    assert forecast.reason == reason


def test_too_few_past_windows_give_a_reason():
    days = list(steady_history(day_count=14).days)
    days[:7] = [dataclasses.replace(day, instance_count=0, success_count=0, cost_usd=Decimal(0)) for day in days[:7]]
    forecast = roi_fan([UseCaseHistory("steady", tuple(days))], "steady")
    assert forecast.reason == "6 past forecast dates to learn drift from; a forecast needs 7"


def test_shortest_history_of_two_weeks_is_enough():
    fan = fan_of([steady_history(day_count=14)], "steady", horizon_day_count=5)
    assert (fan.history_day_count, fan.block_day_count, fan.window_count) == (14, 1, 7)


def test_same_seed_gives_the_same_fan_and_another_seed_another(rng: np.random.Generator):
    histories = wandering_histories(rng, use_case_count=3, day_count=40)
    one = fan_of(histories, "use_case_0", seed=1)
    assert one == fan_of(histories, "use_case_0", seed=1)
    assert one.points != fan_of(histories, "use_case_0", seed=2).points


def test_bands_are_ordered_and_costs_accumulate(rng: np.random.Generator):
    histories = wandering_histories(rng, use_case_count=4, day_count=60)
    points = fan_of(histories, "use_case_1", horizon_day_count=60).points
    assert all(point.cost.p10_usd <= point.cost.p50_usd <= point.cost.p90_usd for point in points)
    assert all(early.cost.p10_usd <= late.cost.p10_usd for early, late in itertools.pairwise(points))


def test_weekly_rhythm_is_forecast():
    days = tuple(
        dataclasses.replace(
            day,
            instance_count=10 if day.started_date.weekday() >= 5 else 100,
            success_count=0,
            cost_usd=Decimal(1) if day.started_date.weekday() >= 5 else Decimal(10),
        )
        for day in steady_history(day_count=70).days
    )
    points = fan_of([UseCaseHistory("steady", days)], "steady", horizon_day_count=14).points
    cumulative = [0.0] + [float(point.cost.p50_usd) for point in points]
    daily = {point.forecast_date.weekday(): cumulative[point.day] - cumulative[point.day - 1] for point in points}
    assert daily[6] < 0.4 * daily[2]
    assert cumulative[14] == pytest.approx(2 * 52, rel=0.15)


def test_volatile_use_case_gets_the_wider_fan(rng: np.random.Generator):
    calm, wild = (
        UseCaseHistory(
            name,
            tuple(
                dataclasses.replace(day, instance_count=count, success_count=0, cost_usd=Decimal(count) / 10)
                for day, count in zip(
                    steady_history(day_count=60).days,
                    rng.poisson(np.exp(rng.normal(5, sd, 60))).tolist(),
                    strict=True,
                )
            ),
        )
        for name, sd in (("calm", 0.1), ("wild", 0.8))
    )
    widths = {}
    for name in ("calm", "wild"):
        cost = fan_of([calm, wild], name, horizon_day_count=7).points[-1].cost
        widths[name] = float(cost.p90_usd / cost.p10_usd)
    assert widths["wild"] > 1.5 * widths["calm"]


def test_probability_of_a_loss_counts_losing_paths(rng: np.random.Generator):
    histories = wandering_histories(rng, use_case_count=4, day_count=60)
    sure = fan_of(histories, "use_case_0", horizon_day_count=30)
    assert sure.npv is not None
    hurdle = sure.npv.p50_usd
    even = fan_of(histories, "use_case_0", horizon_day_count=30, upfront_cost_usd=hurdle)
    assert sure.npv_negative_probability_share == 0
    assert even.npv_negative_probability_share == pytest.approx(0.5, abs=0.01)
    assert "below zero" in PROBABILITY_DEFINITION


def test_forecast_of_an_unknown_use_case_names_the_known_ones():
    with pytest.raises(ValueError, match=r"found 0 histories of it, expected one \(given: steady\)"):
        roi_fan([steady_history()], "missing")


def test_daily_history_fills_idle_days_with_zero_and_keeps_unknown_unknown():
    days = [UseCaseDay(FIRST_DATE + timedelta(days=2), 5, None, Decimal(1), None)]
    history = daily_history("gap", days, first_date=FIRST_DATE, last_date=FIRST_DATE + timedelta(days=3))
    assert [day.instance_count for day in history.days] == [0, 0, 5, 0]
    assert history.days[0] == UseCaseDay(FIRST_DATE, 0, None, Decimal(0), None)


def test_daily_history_refuses_repeated_and_outside_days():
    day = UseCaseDay(FIRST_DATE, 1, 1, Decimal(1), Decimal(1))
    with pytest.raises(ValueError, match="repeated or outside"):
        daily_history("twice", [day, day], first_date=FIRST_DATE, last_date=FIRST_DATE)
    with pytest.raises(ValueError, match="repeated or outside"):
        daily_history("late", [day], first_date=FIRST_DATE + timedelta(1), last_date=FIRST_DATE + timedelta(2))


def test_history_refuses_gaps():
    days = steady_history(day_count=3).days
    with pytest.raises(ValueError, match="expected consecutive days"):
        UseCaseHistory("gap", (days[0], days[2]))


@pytest.mark.parametrize("changes", [{"instance_count": -1}, {"success_count": 101}, {"cost_usd": Decimal(-1)}])
def test_day_refuses_impossible_figures(changes: dict):
    with pytest.raises(ValueError, match="Reading a day"):
        steady_history(**changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"horizon_day_count": 0},
        {"path_count": 99},
        {"seed": -1},
        {"annual_discount_share": Decimal(-1)},
        {"upfront_cost_usd": Decimal(-1)},
    ],
)
def test_assumptions_refuse_nonsense(changes: dict):
    with pytest.raises(ValueError, match="Reading ROI assumptions"):
        RoiAssumptions(**changes)


def test_value_range_refuses_disorder():
    with pytest.raises(ValueError, match="low <= likely <= high"):
        ValueRange(Decimal(2), Decimal(1), Decimal(3))


def test_back_test_of_a_steady_history_scores_every_date_and_misses_none():
    result = calibration([steady_history(day_count=40)], horizon_day_count=7, path_count=100)
    # Forecast dates are days 14 to 33, each with seven days after it.
    assert result.window_count == 20
    assert result.skipped_window_count == 0
    assert result.median_abs_log_error == pytest.approx(0, abs=1e-9)


def test_back_test_skips_windows_with_an_unknown_cost():
    days = list(steady_history(day_count=40).days)
    days[30] = dataclasses.replace(days[30], cost_usd=None)
    result = calibration([UseCaseHistory("steady", tuple(days))], horizon_day_count=1, path_count=100)
    # Day 30 itself, and days 31 to 37 whose last week holds it.
    assert result.skipped_window_count == 8
    assert result.window_count == 26 - 8


def test_back_test_without_room_for_a_forecast_is_empty():
    result = calibration([steady_history(day_count=15)], horizon_day_count=28)
    assert (result.window_count, result.covered_share, result.median_abs_log_error) == (0, None, None)


@pytest.mark.parametrize("horizon_day_count", [1, 7])
def test_fan_of_wandering_use_cases_covers_as_often_as_it_says(horizon_day_count: int, rng: np.random.Generator):
    results = [
        calibration(
            wandering_histories(rng, use_case_count=8, day_count=60),
            horizon_day_count=horizon_day_count,
            path_count=100,
        )
        for _ in range(2)
    ]
    covered = np.average([result.covered_share for result in results], weights=[r.window_count for r in results])
    # Measured over six such sets: 0.82 at 1 day, 0.79 at 7; windows overlap, so two sets vary by about 0.05.
    assert 0.70 <= covered <= 0.90


@pytest.mark.skipif(not SERVEGEN.exists(), reason="the ServeGen traces are not beside the project")
@pytest.mark.parametrize(("horizon_day_count", "window_count"), [(1, 129), (3, 43)])
def test_fan_of_production_clients_covers_four_fifths(horizon_day_count: int, window_count: int):
    result = calibration(
        servegen_histories(), horizon_day_count=horizon_day_count, pool="other_use_cases", path_count=400
    )
    assert result.window_count == window_count
    # 0.8 claimed. The binomial standard error is 0.035 to 0.06, and a client's windows repeat one another.
    assert result.covered_share is not None
    assert 0.7 <= result.covered_share <= 0.9
    assert result.below_share is not None
    assert result.below_share <= 0.2


def servegen_histories() -> list[UseCaseHistory]:
    """Return ten days of cost of the clients busy every day, at 2.50 and 10 USD per million tokens."""
    rows = (
        duckdb.connect()
        .execute(
            """
            with unit_costs as (
                select model, client_id, window_start_s,
                    sum(mean * case field when 'input_tokens' then 2.5e-6 else 10e-6 end) as
                    cost_usd_per_request
                from read_parquet($folder || '/client_token_stats_6h.parquet')
                where category = 'language' and field in ('input_tokens', 'output_tokens')
                group by all
            ),
            volumes as (
                select model, client_id, t_seconds // 21600 * 21600 as window_start_s, sum(requests_per_s) *
                600 as n from read_parquet($folder || '/client_request_rates_10min.parquet')
                where category = 'language'
                group by all
            ),
            priced as (
                select volumes.*, arg_min(
                    cost_usd_per_request,
                    (abs(unit_costs.window_start_s - volumes.window_start_s), unit_costs.window_start_s)
                ) as cost_usd_per_request
                from volumes join unit_costs using (model, client_id)
                group by volumes.model, volumes.client_id, volumes.window_start_s, n
            )
            select model || '/' || client_id, window_start_s // 86400, round(sum(n)), sum(n *
            cost_usd_per_request) from priced group by all order by all
            """,
            {"folder": str(SERVEGEN)},
        )
        .fetchall()
    )
    days: dict[str, list[UseCaseDay]] = {}
    for client, day, instance_count, cost_usd in rows:
        entry = UseCaseDay(
            FIRST_DATE + timedelta(days=int(day)), int(instance_count), None, Decimal(f"{cost_usd:.9f}"), None
        )
        days.setdefault(client, []).append(entry)
    return [
        UseCaseHistory(client, tuple(entries))
        for client, entries in days.items()
        if all(entry.instance_count for entry in entries)
    ]
