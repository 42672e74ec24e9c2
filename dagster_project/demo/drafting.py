"""Document drafting: a deployment of provisioned units that was bought far too large.

A document is one use-case instance of two or three calls. The tokens of the whole period are scaled so that
the busiest hour uses exactly fifteen per cent of the deployment.
"""

from pathlib import Path
from typing import Final

import numpy as np
import polars as pl

from dagster_project.demo import calls, capacity, company, feed_files
from dagster_project.demo.plan import (
    Ints,
    Plan,
    hour_weights,
    lognormal_ints,
    sequences,
    start_within_day,
    times_of_day,
)
from dagster_project.demo.truths import DeploymentTruth

SOURCE: Final = "drafting_calls"

_HOURS: Final = hour_weights((10, 1.5, 1.0), (15, 1.5, 1.0), base=0.03)
_DEPLOYMENT: Final = company.DRAFTING_DEPLOYMENT
_STEPS: Final = pl.Series(["outline", "draft", "revise"])
_VERSION: Final = "2"


class DraftingCalls:
    """Generates the calls; the scale is set by the whole period."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        days = [self._unscaled(day) for day in range(plan.days)]
        frame = pl.concat(days)
        called = frame["called_us"].to_numpy()
        tokens = {name: frame[name].to_numpy() for name in ("input_tokens", "cache_read_tokens", "output_tokens")}
        per_hour = capacity.work_per_hour(
            plan, called, capacity.work_tokens(_DEPLOYMENT, tokens["input_tokens"], tokens["output_tokens"])
        )
        best_hour_work = int(_DEPLOYMENT.capacity_tokens_per_hour * company.DRAFTING_BEST_HOUR_SHARE)
        factor = best_hour_work / int(per_hour.max())
        scaled = {name: np.floor(values * factor).astype(np.int64) for name, values in tokens.items()}
        self._fill_best_hour(called, scaled, best_hour_work)
        frame = frame.with_columns(**{name: pl.Series(values) for name, values in scaled.items()}).with_columns(
            (150 + (pl.col("input_tokens") + pl.col("cache_read_tokens")) // 50).alias("first_ms"),
            (150 + (pl.col("input_tokens") + pl.col("cache_read_tokens")) // 50 + pl.col("output_tokens") * 9).alias(
                "total_ms"
            ),
        )
        ends = np.cumsum([day.height for day in days])
        self._days = [frame.slice(int(end) - day.height, day.height) for end, day in zip(ends, days, strict=True)]

    def day(self, day: int) -> calls.DayOfCalls:
        """Return the good calls of one day."""
        frame = self._days[day]
        runs = frame.group_by("use_case_instance_id", maintain_order=True).agg(
            (pl.col("called_us") + pl.col("total_ms") * 1000).max().alias("ended_us")
        )
        ids, ended = runs["use_case_instance_id"], runs["ended_us"].to_numpy()
        return calls.DayOfCalls(day, frame, calls.instances(company.DOCUMENT_DRAFTING, _VERSION, ids, ended))

    def deployment(self) -> DeploymentTruth:
        """State how little of the deployment was used."""
        frame = pl.concat(self._days)
        work = capacity.work_tokens(_DEPLOYMENT, frame["input_tokens"].to_numpy(), frame["output_tokens"].to_numpy())
        return capacity.deployment_truth(self._plan, _DEPLOYMENT, frame["called_us"].to_numpy(), work)

    def _fill_best_hour(self, called: Ints, scaled: dict[str, Ints], best_hour_work: int) -> None:
        """Put what rounding took from the best hour back into one of its calls."""
        work = capacity.work_tokens(_DEPLOYMENT, scaled["input_tokens"], scaled["output_tokens"])
        per_hour = capacity.work_per_hour(self._plan, called, work)
        best = int(per_hour.argmax())
        first_call = int(np.flatnonzero(capacity.hour_numbers(self._plan, called) == best)[0])
        scaled["input_tokens"][first_call] += best_hour_work - int(per_hour[best])

    def _unscaled(self, day: int) -> pl.DataFrame:
        plan = self._plan
        rng = plan.rng("drafting", day)
        count = int(plan.day_calls[company.DOCUMENT_DRAFTING][day])
        rows = sequences(rng, count, lambda r, n: 2 + r.integers(0, 2, n))
        pauses = np.where(rows.position == 0, 0, 60_000_000 + rng.integers(0, 120_000_000, count))
        offsets = rows.cumulated(pauses)
        starts = np.sort(times_of_day(rng, rows.run_count, _HOURS))
        tails = np.full(count, 600_000_000)
        ids = calls.numbered_ids(f"draft-{plan.date_of(day):%Y%m%d}-", np.arange(rows.run_count), 5)
        run = rows.run.astype(np.uint32)
        return calls.frame(
            called_us=start_within_day(starts, offsets, rows, tails) + plan.midnight_us(day),
            call_id=calls.numbered_ids(f"dr-{plan.date_of(day):%Y%m%d}-", np.arange(count)),
            provider_name=company.AZURE,
            model_name=company.CHAT_MODEL,
            service_tier=company.STANDARD,
            operation_name=calls.CHAT,
            billing=calls.PROVISIONED,
            use_case_id=company.DOCUMENT_DRAFTING,
            use_case_version=_VERSION,
            use_case_instance_id=ids.gather(run),
            step_name=_STEPS.gather(rows.position.astype(np.uint32)),
            input_tokens=lognormal_ints(rng, count, 24_000, 0.3),
            cache_read_tokens=np.where(rows.position == 0, 0, lognormal_ints(rng, count, 12_000, 0.2)),
            output_tokens=lognormal_ints(rng, count, 9_000, 0.3),
            reasoning_tokens=np.zeros(count, np.int64),
            is_success=np.ones(count, bool),
            error_type=pl.Series([None] * count, dtype=pl.String),
        )


class DraftingFeed:
    """Writes the CSV files of the drafting service."""

    def __init__(self, plan: Plan, folder: Path) -> None:
        self._plan = plan
        self._folder = folder

    def write(self, day: calls.DayOfCalls) -> None:
        """Write one day's file; a day without calls has none."""
        if day.calls.is_empty():
            return
        rows = day.calls.select(
            feed_files.iso("called_us").alias("at"),
            pl.col("call_id").alias("ref"),
            pl.col("use_case_instance_id").alias("document"),
            pl.col("step_name").alias("phase"),
            (pl.col("input_tokens") + pl.col("cache_read_tokens")).alias("in_total"),
            pl.col("cache_read_tokens").alias("in_cached"),
            pl.col("output_tokens").alias("out_total"),
            pl.col("total_ms").alias("ms"),
            pl.col("first_ms").alias("ms_to_first"),
        )
        feed_files.write_frame(rows, self._folder / f"drafts_{self._plan.date_of(day.day)}.csv", "csv")
