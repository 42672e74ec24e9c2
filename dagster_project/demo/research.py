"""The research team: evaluation jobs that send batches of prompts to a model on reserved GPU instances.

A job is one use-case instance. The tokens of the whole period are scaled so that the instances are busy four
tenths of the time, and never more than full in an hour.
"""

from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl

from dagster_project.demo import calls, capacity, company, feed_files
from dagster_project.demo.plan import (
    DAY_US,
    HOUR_US,
    Plan,
    hour_weights,
    largest_remainder,
    lognormal_ints,
    sequences,
)
from dagster_project.demo.truths import DeploymentTruth, RejectTruth

SOURCE: Final = "research_calls"

_HOURS: Final = hour_weights((0, 4.5, 1.0), (14, 3.0, 0.25), base=0.12)
_DEPLOYMENT: Final = company.RESEARCH_DEPLOYMENT
_CALLS_PER_JOB: Final = 12
_FAILURE_SHARE: Final = 0.003
_FULLEST_HOUR_SHARE: Final = 0.95
_MAX_BATCH_WORK_TOKENS: Final = 10_000_000
_VERSION: Final = "1"
# One year that no clock can mean, and one that could be a time but is not yet one.
_FUTURE_YEARS: Final = (2999, 2099)


class ResearchCalls:
    """Generates the team's calls; the scale is set by the whole period."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        days = [self._unscaled(day) for day in range(plan.days)]
        frame = pl.concat(days)
        unscaled = frame["input_tokens"] + _DEPLOYMENT.output_token_weight * frame["output_tokens"]
        hours = capacity.work_per_hour(plan, frame["called_us"].to_numpy(), unscaled.to_numpy())
        per_hour = _DEPLOYMENT.capacity_tokens_per_hour
        factor = min(
            company.RESEARCH_MEAN_SHARE * per_hour * len(hours) / int(hours.sum()),
            _FULLEST_HOUR_SHARE * per_hour / int(hours.max()),
            _MAX_BATCH_WORK_TOKENS / int(unscaled.to_numpy().max()),
        )
        scaled = (pl.col("input_tokens", "output_tokens") * factor).floor().cast(pl.Int64) + 1
        self._days = [_timed(day.with_columns(scaled)) for day in days]

    def day(self, day: int) -> calls.DayOfCalls:
        """Return the good calls of one day."""
        frame = self._days[day]
        runs = frame.group_by("use_case_instance_id", maintain_order=True).agg(
            (pl.col("called_us") + pl.col("total_ms") * 1000).max().alias("ended_us")
        )
        ended = runs["ended_us"].to_numpy()
        instances = calls.instances(company.MODEL_EVALUATION, _VERSION, runs["use_case_instance_id"], ended)
        return calls.DayOfCalls(day, frame, instances)

    def deployment(self) -> DeploymentTruth:
        """State how busy the instances were."""
        frame = pl.concat(self._days)
        work = capacity.work_tokens(_DEPLOYMENT, frame["input_tokens"].to_numpy(), frame["output_tokens"].to_numpy())
        return capacity.deployment_truth(self._plan, _DEPLOYMENT, frame["called_us"].to_numpy(), work)

    def _unscaled(self, day: int) -> pl.DataFrame:
        """Draw one day; a scheduler spaces the batches evenly within an hour."""
        plan = self._plan
        rng = plan.rng("research", day)
        count = int(plan.day_calls[company.MODEL_EVALUATION][day])
        per_hour = largest_remainder(_HOURS, count)
        hours = np.repeat(np.arange(24), per_hour)
        place = np.arange(count) - np.repeat(np.cumsum(per_hour) - per_hour, per_hour)
        within = (place + rng.random(count)) / np.maximum(per_hour[hours], 1)
        called = hours * HOUR_US + (within * HOUR_US).astype(np.int64)
        rows = sequences(rng, count, lambda _, n: np.full(n, _CALLS_PER_JOB))
        ids = calls.numbered_ids(f"job-{plan.date_of(day):%Y%m%d}-", np.arange(rows.run_count), 5)
        failed = rng.random(count) < _FAILURE_SHARE
        return calls.frame(
            called_us=called + plan.midnight_us(day),
            call_id=calls.numbered_ids(f"ev-{plan.date_of(day):%Y%m%d}-", np.arange(count)),
            provider_name=company.SELF_HOSTED,
            model_name=company.RESEARCH_MODEL,
            service_tier=company.STANDARD,
            operation_name=calls.CHAT,
            billing=calls.PROVISIONED,
            use_case_id=company.MODEL_EVALUATION,
            use_case_version=_VERSION,
            use_case_instance_id=ids.gather(rows.run.astype(np.uint32)),
            input_tokens=lognormal_ints(rng, count, 200_000, 0.25),
            cache_read_tokens=np.zeros(count, np.int64),
            output_tokens=lognormal_ints(rng, count, 50_000, 0.25),
            reasoning_tokens=np.zeros(count, np.int64),
            is_success=~failed,
            error_type=calls.error_types(rng, failed),
        )


class ResearchFeed:
    """Writes the team's JSON Lines files and remembers what was planted in them."""

    def __init__(self, plan: Plan, folder: Path) -> None:
        self._plan = plan
        self._folder = folder
        count = max(2, plan.calls // 100_000)
        self._bad_rows = {year: plan.spread(count, offset) for year, offset in zip(_FUTURE_YEARS, (3, 5), strict=True)}
        self._rejected = dict.fromkeys(_FUTURE_YEARS, 0)

    def write(self, day: calls.DayOfCalls) -> None:
        """Write one day's file."""
        rows = pl.concat([day.calls, *(self._future(day, year) for year in _FUTURE_YEARS)]).select(
            feed_files.iso("called_us").alias("when"),
            pl.col("call_id").alias("uid"),
            pl.col("use_case_instance_id").alias("job"),
            pl.col("input_tokens").alias("tokens_in"),
            pl.col("output_tokens").alias("tokens_out"),
            pl.col("total_ms").alias("elapsed_ms"),
            pl.col("first_ms").alias("first_ms"),
            pl.col("is_success").alias("ok"),
            pl.col("error_type").alias("why_failed"),
        )
        feed_files.write_frame(rows, self._folder / f"eval_{self._plan.date_of(day.day)}.jsonl", "jsonl")

    def finish(self) -> Iterator[RejectTruth]:
        """Tell what was planted."""
        for year, count in self._rejected.items():
            yield RejectTruth(SOURCE, f"time in the year {year}", count)

    def _future(self, day: calls.DayOfCalls, year: int) -> pl.DataFrame:
        """Copy calls under new ids with a time on New Year's Day of a year to come."""
        shift_us = (date(year, 1, 1) - self._plan.date_of(day.day)).days * DAY_US
        rows = day.calls.head(int(self._bad_rows[year][day.day])).with_columns(
            (f"bad-{year}-" + pl.col("call_id")).alias("call_id"),
            (pl.col("called_us") + shift_us).alias("called_us"),
        )
        self._rejected[year] += rows.height
        return rows


def _timed(frame: pl.DataFrame) -> pl.DataFrame:
    """Add durations that follow from the tokens: prefill, then generation of the batch."""
    return frame.with_columns(
        (200 + pl.col("input_tokens") // 400).alias("first_ms"),
        (200 + pl.col("input_tokens") // 400 + pl.col("output_tokens") // 4).alias("total_ms"),
    )
