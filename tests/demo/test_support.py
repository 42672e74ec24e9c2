"""The support team's plants, worked out again from its Parquet and score files."""

from datetime import timedelta
from decimal import Decimal

import polars as pl
import pytest

from tests.demo.conftest import Feeds
from tests.demo.feed_reading import table

# USD per million tokens: input, cached input, output.
PRICES = {
    "gpt-4.1": (Decimal("2"), Decimal("0.5"), Decimal("8")),
    "o4-mini-2025-04-16": (Decimal("1.1"), Decimal("0.275"), Decimal("4.4")),
}


def _chat(feeds: Feeds) -> pl.DataFrame:
    rows = table(feeds.folder, "calls/support/*.parquet")
    return rows.filter((pl.col("feature") == "support_chat") & ~pl.col("id").str.starts_with("bad-"))


def _cost_usd(rows: pl.DataFrame) -> Decimal:
    total = Decimal(0)
    for model, prompt, cached, completion in (
        rows.group_by("model")
        .agg(pl.col("prompt_tokens", "prompt_tokens_cached", "completion_tokens").sum())
        .iter_rows()
    ):
        fresh_usd, cached_usd, output_usd = PRICES[model]
        total += (prompt - cached) * fresh_usd + cached * cached_usd + completion * output_usd
    return total / 1_000_000


def test_planted_tuesday_costs_three_times_its_neighbours(feeds: Feeds):
    truth = feeds.truths.prompt_day
    chat = _chat(feeds).with_columns(day=pl.col("started").dt.date())
    day = chat.filter(pl.col("day") == truth.day)
    near = chat.filter(pl.col("day").is_in([truth.day - timedelta(days=1), truth.day + timedelta(days=1)]))
    assert truth.day.strftime("%A") == "Tuesday"
    assert (day.height, near.height) == (truth.call_count, truth.neighbour_call_count)
    assert _cost_usd(day) == truth.cost_usd
    assert _cost_usd(near) == truth.neighbour_cost_usd
    assert float(2 * _cost_usd(day) / _cost_usd(near)) == pytest.approx(3.0, abs=0.005)
    assert float(truth.cost_ratio) == pytest.approx(3.0, abs=0.005)
    assert day["prompt_tokens"].sum() == truth.prompt_tokens
    assert near["prompt_tokens"].sum() == truth.neighbour_prompt_tokens
    assert day["prompt_tokens_cached"].sum() == 0
    others = chat.filter(pl.col("day") != truth.day)
    assert others["prompt_tokens_cached"].sum() > 0.4 * others["prompt_tokens"].sum()


def test_planted_tuesday_and_its_neighbours_have_one_price(feeds: Feeds):
    day = feeds.truths.prompt_day.day
    assert not day <= feeds.truths.discount.valid_from <= day + timedelta(days=1)


def test_experiment_counts_are_those_of_the_score_files(feeds: Feeds):
    truth = feeds.truths.experiment
    outcomes = table(feeds.folder, "kpis/support/*.csv").filter(pl.col("metric") == "resolved")
    conversations = _chat(feeds).select("conversation", "feature_version").unique()
    for arm in (truth.control, truth.treatment):
        mine = outcomes.filter(pl.col("feature_version").cast(pl.String) == arm.use_case_version)
        assert mine.height == mine["session"].n_unique() == arm.outcome_count
        assert mine["value"].sum() == arm.success_count
        assert mine["value"].is_in([0.0, 1.0]).all()
        assigned = conversations.filter(pl.col("feature_version") == arm.use_case_version)
        assert assigned.height == arm.instance_count > arm.outcome_count
        assert mine.join(assigned, left_on="session", right_on="conversation").height == mine.height
    assert conversations["conversation"].n_unique() == conversations.height


def test_experiment_shows_the_planted_lift(feeds: Feeds):
    truth = feeds.truths.experiment
    assert (truth.control.true_success_share, truth.treatment.true_success_share) == (
        Decimal("0.62"),
        Decimal("0.70"),
    )
    assert truth.true_lift == Decimal("0.08")
    # Four standard errors of the difference of two shares.
    error = sum(
        float(arm.true_success_share * (1 - arm.true_success_share)) / arm.outcome_count
        for arm in (truth.control, truth.treatment)
    )
    assert float(truth.observed_lift) == pytest.approx(0.08, abs=4 * error**0.5)
    balance = truth.control.instance_count / (truth.control.instance_count + truth.treatment.instance_count)
    assert balance == pytest.approx(0.5, abs=0.02)


def test_context_grows_with_the_turns_of_a_conversation(feeds: Feeds):
    day = feeds.truths.prompt_day.day
    chat = _chat(feeds).filter(pl.col("started").dt.date() != day)
    by_turn = chat.group_by("turn").agg(pl.col("prompt_tokens").mean()).sort("turn")["prompt_tokens"].head(6)
    assert by_turn.diff().drop_nulls().min() > 200
    times = chat.sort("conversation", "turn").select(pl.col("started").diff().over("conversation")).drop_nulls()
    assert times["started"].min() > timedelta(0)


def test_score_files_hold_as_many_rows_as_the_truths_state(feeds: Feeds):
    logs = pl.concat(
        [table(feeds.folder, f"kpis/{folder}/*.csv").select("feature", "metric") for folder in ("support", "search")]
    )
    automation = table(feeds.folder, "kpis/automation/*.jsonl").select("process", "kpi")
    daily = table(feeds.folder, "kpis/daily/*.csv").select("process", "kpi")
    found: dict[str, int] = {}
    for frame in (logs, automation, daily):
        for use_case, kpi, count in frame.group_by(frame.columns).len().iter_rows():
            found[f"{use_case}/{kpi}"] = count
    assert found == feeds.truths.kpi_rows_by_kpi
