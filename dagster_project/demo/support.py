"""The support team: a chatbot on a closed API with growing context and prompt caching, and ticket summaries.

A conversation is one use-case instance, and by a coin toss runs version 1 or 2 of the chatbot. On the planted
Tuesday a preamble with the time of the call at its top was put before the system prompt: more tokens, and no
cache hits.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl

from dagster_project.demo import calls, company, feed_files
from dagster_project.demo.plan import (
    Ints,
    Plan,
    Sequences,
    hour_weights,
    lognormal_ints,
    sequences,
    start_within_day,
    times_of_day,
)
from dagster_project.demo.truths import LateTruth, RejectTruth

SOURCE: Final = "support_calls"

_HOURS: Final = hour_weights((10, 2.5, 1.0), (15, 2.5, 0.9), (20, 2.0, 0.4))
_SYSTEM_PROMPT_TOKENS: Final = {company.CONTROL_VERSION: 1500, company.TREATMENT_VERSION: 1900}
_RETRIEVED_TOKENS: Final = 600
_CACHE_BLOCK_TOKENS: Final = 128
_CACHE_MINIMUM_TOKENS: Final = 1024
_MAX_TURNS: Final = 20
_ESCALATION_TURN: Final = 7
_ESCALATION_SHARE: Final = 0.5
_TREATMENT_SHARE: Final = 0.5
_FAILURE_SHARE: Final = 0.006
_LATE_SHARE: Final = 0.10
_SUMMARY_CALLS_PER_HUNDRED: Final = 1
_TENANTS: Final = 400
_PROVIDER: Final = {
    "provider_name": company.OPENAI,
    "service_tier": company.STANDARD,
    "operation_name": calls.CHAT,
    "billing": calls.ON_DEMAND,
}


class SupportCalls:
    """Generates the team's calls day by day.

    Args:
        plan: The demo's plan.
        extra_prompt_tokens: Tokens that the planted preamble adds to every chat call of the prompt day.
    """

    def __init__(self, plan: Plan, extra_prompt_tokens: int) -> None:
        self._plan = plan
        self._extra_prompt_tokens = extra_prompt_tokens

    def day(self, day: int) -> calls.DayOfCalls:
        """Generate the good calls of one day."""
        count = int(self._plan.day_calls[company.SUPPORT_CHAT][day])
        summary_count = max(1, count * _SUMMARY_CALLS_PER_HUNDRED // 100)
        chat, conversations = self._chat(day, count - summary_count)
        summaries, tickets = self._summaries(day, summary_count)
        return calls.DayOfCalls(
            day, pl.concat([chat, summaries.select(chat.columns)]), pl.concat([conversations, tickets])
        )

    def _chat(self, day: int, count: int) -> tuple[pl.DataFrame, pl.DataFrame]:
        plan = self._plan
        rng = plan.rng("support/chat", day)
        rows = sequences(rng, count, lambda r, n: np.minimum(r.geometric(0.24, n), _MAX_TURNS))
        is_treatment = rng.random(rows.run_count) < _TREATMENT_SHARE
        failed = rng.random(count) < _FAILURE_SHARE
        question = lognormal_ints(rng, count, 150, 0.5) + 5
        answer = np.where(failed, 0, lognormal_ints(rng, count, 190, 0.45) + 5)
        escalated = (rows.position + 1 >= _ESCALATION_TURN) & (rng.random(count) < _ESCALATION_SHARE)
        reasoning = np.where(escalated & ~failed, lognormal_ints(rng, count, 700, 0.5), 0)
        history = rows.cumulated(question + answer) - question - answer
        system = np.where(
            is_treatment,
            _SYSTEM_PROMPT_TOKENS[company.TREATMENT_VERSION],
            _SYSTEM_PROMPT_TOKENS[company.CONTROL_VERSION],
        )[rows.run]
        prompt = system + history + _RETRIEVED_TOKENS + question
        cached = self._cached(rng, rows, system + history)
        if day == plan.prompt_day:
            prompt = prompt + self._extra_prompt_tokens
            cached = np.zeros_like(cached)
        first_ms = (180 + prompt * 0.03 * np.exp(rng.normal(0, 0.3, count)) + reasoning * 7).astype(np.int64)
        total_ms = first_ms + (answer * 11 * np.exp(rng.normal(0, 0.2, count))).astype(np.int64)
        pauses = np.where(rows.position == 0, 0, rng.exponential(45e6, count)).astype(np.int64)
        busy_us = total_ms * 1000
        offsets = rows.cumulated(pauses + busy_us) - busy_us
        starts = np.sort(times_of_day(rng, rows.run_count, _HOURS))
        called = start_within_day(starts, offsets, rows, busy_us) + plan.midnight_us(day)
        run_ids = calls.numbered_ids(f"sup-{plan.date_of(day):%Y%m%d}-", np.arange(rows.run_count))
        versions = calls.choose(is_treatment, company.TREATMENT_VERSION, company.CONTROL_VERSION)
        run = rows.run.astype(np.uint32)
        tenants = _tenants(rng, rows.run_count)
        frame = calls.frame(
            called_us=called,
            call_id=calls.numbered_ids(f"sc-{plan.date_of(day):%Y%m%d}-", np.arange(count)),
            model_name=calls.choose(escalated, company.REASONING_MODEL_SNAPSHOT, company.CHAT_MODEL),
            **_PROVIDER,
            use_case_id=company.SUPPORT_CHAT,
            use_case_version=versions.gather(run),
            use_case_instance_id=run_ids.gather(run),
            turn_index=rows.position + 1,
            step_name=calls.choose(escalated, "escalate", "answer"),
            user_id=tenants.gather(run),
            input_tokens=prompt - cached,
            cache_read_tokens=cached,
            output_tokens=answer,
            reasoning_tokens=reasoning,
            total_ms=total_ms,
            first_ms=first_ms,
            is_success=~failed,
            error_type=calls.error_types(rng, failed),
        )
        instances = calls.instances(company.SUPPORT_CHAT, versions, run_ids, (called + busy_us)[rows.last])
        return frame, instances

    def _cached(self, rng: np.random.Generator, rows: Sequences, prefix: Ints) -> Ints:
        """Tokens of the prompt's unchanged beginning that the provider had cached, in its block size."""
        hit_share = np.where(rows.position == 0, 0.7, 0.9)
        is_hit = (rng.random(len(prefix)) < hit_share) & (prefix >= _CACHE_MINIMUM_TOKENS)
        return np.where(is_hit, prefix // _CACHE_BLOCK_TOKENS * _CACHE_BLOCK_TOKENS, 0)

    def _summaries(self, day: int, count: int) -> tuple[pl.DataFrame, pl.DataFrame]:
        """Long ticket histories summed up at about ten cents each, which nobody reads."""
        plan = self._plan
        rng = plan.rng("support/summaries", day)
        called = np.sort(times_of_day(rng, count, _HOURS)) + plan.midnight_us(day)
        prompt = lognormal_ints(rng, count, 40_000, 0.15)
        answer = lognormal_ints(rng, count, 2_400, 0.15)
        first_ms = 400 + prompt // 40
        total_ms = first_ms + answer * 11
        ids = calls.numbered_ids(f"sum-{plan.date_of(day):%Y%m%d}-", np.arange(count))
        frame = calls.frame(
            called_us=called,
            call_id=calls.numbered_ids(f"ss-{plan.date_of(day):%Y%m%d}-", np.arange(count)),
            model_name=company.CHAT_MODEL,
            **_PROVIDER,
            use_case_id=company.TICKET_SUMMARY,
            use_case_version=company.CONTROL_VERSION,
            use_case_instance_id=ids,
            turn_index=np.ones(count, np.int64),
            step_name="summarise",
            user_id=_tenants(rng, count),
            input_tokens=prompt,
            cache_read_tokens=np.zeros(count, np.int64),
            output_tokens=answer,
            reasoning_tokens=np.zeros(count, np.int64),
            total_ms=total_ms,
            first_ms=first_ms,
            is_success=np.ones(count, bool),
            error_type=pl.Series([None] * count, dtype=pl.String),
        )
        return frame, calls.instances(company.TICKET_SUMMARY, company.CONTROL_VERSION, ids, called + total_ms * 1000)


class SupportFeed:
    """Writes the team's Parquet files and remembers what was planted in them."""

    def __init__(self, plan: Plan, folder: Path) -> None:
        self._plan = plan
        self._folder = folder
        self._bad_rows = plan.spread(max(3, plan.calls // 50_000), offset=1)
        self._late: tuple[pl.DataFrame, LateTruth] | None = None
        self._rejected = 0

    def write(self, day: calls.DayOfCalls) -> None:
        """Write one day's file; some calls of the late day are held back."""
        frame = day.calls
        if day.day == self._plan.late_day:
            frame = self._hold_back(frame)
        bad = _cached_above_input(frame.head(int(self._bad_rows[day.day])))
        self._rejected += bad.height
        rows = pl.concat([_wire(frame), bad])
        feed_files.write_frame(rows, self._folder / f"chat_{self._plan.date_of(day.day)}.parquet", "parquet")

    def finish(self) -> Iterator[LateTruth | RejectTruth]:
        """Write the late file and tell what was planted."""
        if self._late is not None:
            rows, late = self._late
            feed_files.write_frame(_wire(rows), self._folder / Path(late.file).name, "parquet")
            yield late
        yield RejectTruth(SOURCE, "cached tokens above input tokens", self._rejected)

    def _hold_back(self, frame: pl.DataFrame) -> pl.DataFrame:
        is_late = self._plan.rng("support/late").random(frame.height) < _LATE_SHARE
        delivered_on = self._plan.date_of(self._plan.days - 1)
        late_rows = frame.filter(pl.Series(is_late))
        truth = LateTruth(
            source_name=SOURCE,
            file=f"calls/{self._folder.name}/late_{delivered_on}.parquet",
            delivered_on=delivered_on,
            day=self._plan.date_of(self._plan.late_day),
            call_count=late_rows.height,
        )
        self._late = (late_rows, truth)
        return frame.filter(pl.Series(~is_late))


def _tenants(rng: np.random.Generator, count: int) -> pl.Series:
    """Customers, of which a few make most of the traffic."""
    ranks = np.minimum((_TENANTS ** rng.random(count)).astype(np.int64), _TENANTS)
    return calls.numbered_ids("tenant-", ranks, width=4)


def _wire(frame: pl.DataFrame) -> pl.DataFrame:
    """Lay calls out as the team's gateway exports them; its prompt counts include what was cached."""
    return frame.select(
        pl.col("call_id").alias("id"),
        pl.col("called_us").cast(pl.Datetime("us", "UTC")).alias("started"),
        pl.col("model_name").alias("model"),
        pl.col("use_case_id").alias("feature"),
        pl.col("use_case_version").alias("feature_version"),
        pl.col("use_case_instance_id").alias("conversation"),
        pl.col("turn_index").cast(pl.Int32).alias("turn"),
        pl.col("step_name").alias("stage"),
        pl.col("user_id").alias("tenant"),
        (pl.col("input_tokens") + pl.col("cache_read_tokens")).alias("prompt_tokens"),
        pl.col("cache_read_tokens").alias("prompt_tokens_cached"),
        (pl.col("output_tokens") + pl.col("reasoning_tokens")).alias("completion_tokens"),
        pl.col("reasoning_tokens").alias("completion_tokens_reasoning"),
        pl.col("total_ms").cast(pl.Float64).alias("duration_ms"),
        pl.col("first_ms").cast(pl.Float64).alias("first_token_ms"),
        pl.col("is_success").alias("ok"),
        pl.col("error_type").alias("error"),
    )


def _cached_above_input(good: pl.DataFrame) -> pl.DataFrame:
    """Copy calls under new ids with more cached tokens than input tokens."""
    return _wire(good).with_columns(
        ("bad-cached-" + pl.col("id")).alias("id"),
        (pl.col("prompt_tokens") + 64).alias("prompt_tokens_cached"),
    )
