"""Quotas, days and sequences: the arithmetic below the generators."""

from datetime import date, timedelta

import numpy as np
import pytest

from dagster_project.demo.plan import (
    DAY_US,
    Plan,
    hour_weights,
    largest_remainder,
    sequences,
    start_within_day,
    times_of_day,
)


def test_largest_remainder_keeps_the_sum_and_the_proportion():
    # 10 x (0.5, 0.3, 0.2) is whole; of 11 the one left over goes to the largest remainder, 5.5.
    weights = np.array([5.0, 3.0, 2.0])
    assert largest_remainder(weights, 10).tolist() == [5, 3, 2]
    assert largest_remainder(weights, 11).tolist() == [6, 3, 2]
    assert largest_remainder(weights, 0).tolist() == [0, 0, 0]


def test_sequences_cut_the_rows_into_runs_and_shorten_the_last():
    rows = sequences(np.random.default_rng(1), 7, lambda _, count: np.full(count, 3))
    assert rows.run.tolist() == [0, 0, 0, 1, 1, 1, 2]
    assert rows.position.tolist() == [0, 1, 2, 0, 1, 2, 0]
    assert (rows.first.tolist(), rows.last.tolist()) == ([0, 3, 6], [2, 5, 6])
    assert rows.cumulated(np.array([1, 2, 3, 4, 5, 6, 7])).tolist() == [1, 3, 6, 4, 9, 15, 7]


def test_sequences_of_no_rows_are_no_runs():
    rows = sequences(np.random.default_rng(1), 0, lambda _, count: np.full(count, 3))
    assert rows.run_count == 0
    assert start_within_day(np.zeros(0, np.int64), np.zeros(0, np.int64), rows, np.zeros(0, np.int64)).tolist() == []


def test_start_within_day_moves_a_run_that_would_pass_midnight():
    rows = sequences(np.random.default_rng(1), 2, lambda _, count: np.full(count, 2))
    offsets, tails = np.array([0, 60_000_000]), np.array([0, 30_000_000])
    begun = start_within_day(np.array([DAY_US - 1]), offsets, rows, tails)
    # 60 s to the second call, 30 s for it to end, and one second to spare.
    assert begun.tolist() == [DAY_US - 91_000_000, DAY_US - 31_000_000]
    assert start_within_day(np.array([5]), offsets, rows, tails).tolist() == [5, 60_000_005]


def test_times_of_day_follow_the_hours_weights():
    times = times_of_day(np.random.default_rng(3), 20_000, hour_weights((10, 1.0, 1.0), base=0.0))
    hours = np.bincount(times // 3_600_000_000, minlength=24)
    assert hours.argmax() == 10
    assert hours[22:].sum() == 0
    assert times.min() >= 0
    assert times.max() < DAY_US


def test_plan_day_calls_add_up_and_follow_the_week():
    plan = Plan(seed=7, calls=500_000, days=90, start_date=date(2026, 7, 1))
    assert sum(int(calls.sum()) for calls in plan.day_calls.values()) + plan.loop_calls == 500_000
    weekend = np.array([not plan.is_weekday(day) for day in range(90)])
    for calls in plan.day_calls.values():
        assert calls[weekend].mean() < 0.9 * calls[~weekend].mean()


def test_plan_streams_do_not_depend_on_each_other():
    plan = Plan(seed=7, calls=2_000, days=10, start_date=date(2026, 7, 1))
    assert plan.rng("a", 1).random() == plan.rng("a", 1).random()
    assert len({plan.rng("a", 1).random(), plan.rng("a", 2).random(), plan.rng("b", 1).random()}) == 3


@pytest.mark.parametrize("offset", range(7))
@pytest.mark.parametrize("days", [10, 11, 31, 90])
def test_plan_keeps_the_planted_days_apart_and_inside(offset: int, days: int):
    plan = Plan(seed=7, calls=2_000, days=days, start_date=date(2026, 7, 1) + timedelta(days=offset))
    assert plan.date_of(plan.prompt_day).weekday() == 1
    assert 1 <= plan.prompt_day <= days - 2
    for day in (plan.discount_day, plan.price_change_day):
        assert 1 <= day < days
        assert not plan.prompt_day <= day <= plan.prompt_day + 1
    assert plan.date_of(plan.loop_day).weekday() == 3
    assert plan.unknown_model_days.stop <= days
    assert int(plan.spread(25, offset=3).sum()) == 25
