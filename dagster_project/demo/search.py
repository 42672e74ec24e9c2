"""The search team: hosted open models on a dated rate card, embeddings, and a nightly batch.

A query is one use-case instance: an embedding call and a generation. At night documents are enriched on the
batch tier. Some calls of a few days went to a model that nobody has a price for. Counts leave out cached
tokens.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl

from dagster_project.demo import calls, company, feed_files
from dagster_project.demo.plan import Bools, Plan, hour_weights, lognormal_ints, times_of_day
from dagster_project.demo.truths import DuplicateTruth, RejectTruth, UnknownModelTruth

SOURCE: Final = "search_calls"

_QUERY_HOURS: Final = hour_weights((9, 1.5, 1.0), (14, 2.5, 0.9))
_BATCH_HOURS: Final = hour_weights((2, 0.8, 1.0), base=0.0)
_BATCH_CALLS_PER_HUNDRED: Final = 25
_FAILURE_SHARE: Final = 0.004
_CACHED_PROMPT_TOKENS: Final = 640
_CACHE_HIT_SHARE: Final = 0.6
_REDELIVERED_SHARE: Final = 0.05
_VERSION: Final = "3"
_USERS: Final = 2_500


class SearchCalls:
    """Generates the team's calls day by day and counts the unpriced ones."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        days = plan.unknown_model_days
        self._unknown_per_day = -(-max(10, plan.calls // 2_500) // len(days))
        self._unknown = pl.DataFrame()

    def day(self, day: int) -> calls.DayOfCalls:
        """Generate the good calls of one day."""
        count = int(self._plan.day_calls[company.INTERNAL_SEARCH][day])
        batch_count = count * _BATCH_CALLS_PER_HUNDRED // 100
        queries, query_runs = self._queries(day, count - batch_count)
        batch, documents = self._batch(day, batch_count)
        frame = pl.concat([queries, batch.select(queries.columns)])
        self._unknown = pl.concat([self._unknown, frame.filter(pl.col("billing") == calls.UNPRICED)])
        return calls.DayOfCalls(day, frame, pl.concat([query_runs, documents]))

    def unknown_model(self) -> UnknownModelTruth:
        """Tell what the days generated so far hold on the unknown model."""
        unknown = self._unknown
        return UnknownModelTruth(
            provider_name=company.TOGETHER,
            model_name=company.UNKNOWN_MODEL,
            use_case_id=company.INTERNAL_SEARCH,
            call_count=unknown.height,
            instance_count=unknown["use_case_instance_id"].n_unique(),
            input_tokens=int(unknown["input_tokens"].sum()),
            cache_read_tokens=int(unknown["cache_read_tokens"].sum()),
            output_tokens=int(unknown["output_tokens"].sum()),
        )

    def _queries(self, day: int, count: int) -> tuple[pl.DataFrame, pl.DataFrame]:
        plan = self._plan
        rng = plan.rng("search/queries", day)
        numbers = np.arange(count)
        run, is_embedding = numbers // 2, numbers % 2 == 0
        runs = (count + 1) // 2
        is_unknown = ~is_embedding & (day in plan.unknown_model_days) & (run < self._unknown_per_day)
        failed = ~is_embedding & (rng.random(count) < _FAILURE_SHARE)
        cached = np.where(is_embedding | (rng.random(count) >= _CACHE_HIT_SHARE), 0, _CACHED_PROMPT_TOKENS)
        fresh = np.where(
            is_embedding,
            lognormal_ints(rng, count, 24, 0.5) + 2,
            lognormal_ints(rng, count, 2_200, 0.4) + 100,
        )
        output = np.where(is_embedding | failed, 0, lognormal_ints(rng, count, 240, 0.5) + 5)
        total_ms = np.where(is_embedding, 40 + fresh // 4, 250 + fresh // 20 + output * 14)
        starts = np.sort(times_of_day(rng, runs, _QUERY_HOURS))
        # Minus five seconds: the generation follows its embedding within the day.
        called = np.maximum(starts[run] - 5_000_000, 0) + np.where(is_embedding, 0, 90_000)
        called = called + plan.midnight_us(day)
        run_ids = calls.numbered_ids(f"qry-{plan.date_of(day):%Y%m%d}-", np.arange(runs))
        last = np.minimum(np.arange(runs) * 2 + 1, count - 1)
        frame = calls.frame(
            called_us=called,
            call_id=calls.numbered_ids(f"se-{plan.date_of(day):%Y%m%d}-", numbers),
            provider_name=calls.choose(is_embedding, company.OPENAI, company.TOGETHER),
            model_name=_models(is_embedding, is_unknown),
            service_tier=company.STANDARD,
            operation_name=calls.choose(is_embedding, calls.EMBEDDINGS, calls.CHAT),
            billing=calls.choose(is_unknown, calls.UNPRICED, calls.ON_DEMAND),
            use_case_id=company.INTERNAL_SEARCH,
            use_case_version=_VERSION,
            use_case_instance_id=run_ids.gather(run.astype(np.uint32)),
            step_name=calls.choose(is_embedding, "embed_query", "compose_answer"),
            user_id=calls.numbered_ids("user-", rng.integers(0, _USERS, runs), 5).gather(run.astype(np.uint32)),
            input_tokens=fresh,
            cache_read_tokens=cached,
            output_tokens=output,
            reasoning_tokens=np.zeros(count, np.int64),
            total_ms=total_ms,
            first_ms=np.minimum(total_ms, 220 + fresh // 20),
            is_success=~failed,
            error_type=calls.error_types(rng, failed),
        )
        ended = (called + total_ms * 1000)[last]
        return frame, calls.instances(company.INTERNAL_SEARCH, _VERSION, run_ids, ended)

    def _batch(self, day: int, count: int) -> tuple[pl.DataFrame, pl.DataFrame]:
        plan = self._plan
        rng = plan.rng("search/batch", day)
        called = np.sort(times_of_day(rng, count, _BATCH_HOURS)) + plan.midnight_us(day)
        fresh = lognormal_ints(rng, count, 5_200, 0.6) + 200
        output = lognormal_ints(rng, count, 420, 0.4) + 20
        total_ms = 2_000 + rng.integers(0, 1_200_000, count)
        ids = calls.numbered_ids(f"doc-{plan.date_of(day):%Y%m%d}-", np.arange(count))
        zeros = np.zeros(count, np.int64)
        frame = calls.frame(
            called_us=called,
            call_id=calls.numbered_ids(f"sb-{plan.date_of(day):%Y%m%d}-", np.arange(count)),
            provider_name=company.TOGETHER,
            model_name=company.SEARCH_MODEL,
            service_tier=company.BATCH,
            operation_name=calls.CHAT,
            billing=calls.ON_DEMAND,
            use_case_id=company.DOCUMENT_ENRICHMENT,
            use_case_version="1",
            use_case_instance_id=ids,
            step_name="enrich",
            user_id="batch",
            input_tokens=fresh,
            cache_read_tokens=zeros,
            output_tokens=output,
            reasoning_tokens=zeros,
            total_ms=total_ms,
            first_ms=total_ms,
            is_success=np.ones(count, bool),
            error_type=pl.Series([None] * count, dtype=pl.String),
        )
        return frame, calls.instances(company.DOCUMENT_ENRICHMENT, "1", ids, called + total_ms * 1000)


class SearchFeed:
    """Writes the team's CSV files and remembers what was planted in them."""

    def __init__(self, plan: Plan, folder: Path) -> None:
        self._plan = plan
        self._folder = folder
        self._bad_rows = plan.spread(max(3, plan.calls // 40_000), offset=2)
        self._rejected = 0
        self._duplicates: list[DuplicateTruth] = []

    def write(self, day: calls.DayOfCalls) -> None:
        """Write one day's file, and a second delivery of some rows of the redelivery day."""
        date = self._plan.date_of(day.day)
        bad = _negative(day.calls.head(int(self._bad_rows[day.day])))
        self._rejected += bad.height
        feed_files.write_frame(pl.concat([_wire(day.calls), bad]), self._folder / f"search_{date}.csv", "csv")
        if day.day == self._plan.redelivery_day:
            is_again = self._plan.rng("search/redelivery").random(day.calls.height) < _REDELIVERED_SHARE
            again = day.calls.filter(pl.Series(is_again))
            file = f"redelivery_{date}.csv"
            feed_files.write_frame(_wire(again), self._folder / file, "csv")
            self._duplicates.append(
                DuplicateTruth(SOURCE, f"calls/{self._folder.name}/{file}", date, again.height, again.height)
            )

    def finish(self) -> Iterator[DuplicateTruth | RejectTruth]:
        """Tell what was planted."""
        yield from self._duplicates
        yield RejectTruth(SOURCE, "negative tokens", self._rejected)


def _models(is_embedding: Bools, is_unknown: Bools) -> pl.Series:
    names = pl.Series([company.SEARCH_MODEL, company.EMBEDDING_MODEL, company.UNKNOWN_MODEL])
    return names.gather((is_embedding + is_unknown * np.uint32(2)).astype(np.uint32))


def _wire(frame: pl.DataFrame) -> pl.DataFrame:
    """Lay calls out as the team's router logs them: milliseconds since 1970, fresh tokens only."""
    return frame.select(
        (pl.col("called_us") // 1000).alias("ts_ms"),
        pl.col("call_id").alias("request"),
        pl.col("provider_name").alias("vendor"),
        pl.col("model_name").alias("engine"),
        pl.col("operation_name").alias("kind"),
        pl.col("service_tier").alias("lane"),
        pl.col("use_case_id").alias("app"),
        pl.col("use_case_version").alias("app_version"),
        pl.col("use_case_instance_id").alias("run"),
        pl.col("step_name").alias("stage"),
        pl.col("user_id").alias("who"),
        pl.col("input_tokens").alias("fresh_in"),
        pl.col("cache_read_tokens").alias("cached_in"),
        pl.col("output_tokens").alias("generated"),
        pl.col("total_ms").alias("took_ms"),
        pl.col("first_ms").alias("first_ms"),
        pl.col("is_success").alias("succeeded"),
        pl.col("error_type").alias("failure"),
    )


def _negative(good: pl.DataFrame) -> pl.DataFrame:
    """Copy calls under new ids with a negative token count."""
    return _wire(good).with_columns(
        ("bad-negative-" + pl.col("request")).alias("request"), (-pl.col("fresh_in")).alias("fresh_in")
    )
