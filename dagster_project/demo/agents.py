"""The agents team: contract-review agents on provisioned capacity, with spillover, retries and a runaway.

An agent run is one use-case instance and one trace: a planning call to a reasoning model on the closed API,
then steps on the provisioned deployment, some followed by a tool. The tokens of the whole period are scaled
so that weekday hours are about half full; calls past an hour's capacity spill over to a standard deployment.
"""

from collections.abc import Iterator
from typing import Final

import numpy as np
import polars as pl

from dagster_project.demo import calls, capacity, company
from dagster_project.demo.plan import (
    HOUR_US,
    Bools,
    Ints,
    Plan,
    Sequences,
    hour_weights,
    instant,
    lognormal_ints,
    sequences,
    start_within_day,
    times_of_day,
)
from dagster_project.demo.truths import DeploymentTruth, RunawayLoopTruth

SOURCE: Final = "agents_otel"

_HOURS: Final = hour_weights((10, 1.8, 1.0), (14.5, 2.0, 1.0), base=0.02)
_DEPLOYMENT: Final = company.AGENTS_DEPLOYMENT
_STEPS: Final = pl.Series(["plan", "collect_documents", "extract_clauses", "compare_to_policy", "write_opinion"])
_TOOLS: Final = pl.Series(["document_store.search", "clause_parser.run", "crm.lookup"])
_BURST_SHAPE: Final = 8.0
_MAX_RUN_CALLS: Final = 24
_RETRY_SHARE: Final = 0.04
_TOOL_SHARE: Final = 0.45
_LOOP_FIRST_HOUR: Final = 1
_LOOP_HOURS: Final = 4
_CONTEXT_WINDOW_TOKENS: Final = 1_000_000
_VERSION: Final = "5"
_LOOP_RUN_NUMBER: Final = 99_999
_HEX: Final = np.frombuffer(b"0123456789abcdef", dtype=np.uint8)


class AgentsCalls:
    """Generates the agents' calls; scale and spillover are set by the whole period.

    The frames of a day have, beside `CALL_COLUMNS`: trace_id, parent_span_id, step_name, attempt_index,
    turn_index, deployment_id, is_spillover, total_ms, first_ms, tool_name (null: no tool followed),
    tool_span_id, tool_ms. The call's id is its span's.
    """

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        days = [self._unscaled(day) for day in range(plan.days)]
        frame = pl.concat(days)
        frame = self._scaled(frame)
        self._spill = self._spilled(frame)
        on_units = pl.col("model_name") == company.CHAT_MODEL
        frame = frame.with_columns(is_spillover=pl.Series(self._spill)).with_columns(
            deployment_id=pl.when(on_units).then(
                pl.when("is_spillover")
                .then(pl.lit(_DEPLOYMENT.spillover_deployment_id))
                .otherwise(pl.lit(_DEPLOYMENT.deployment_id))
            ),
            billing=pl.when(on_units & ~pl.col("is_spillover"))
            .then(pl.lit(calls.PROVISIONED))
            .otherwise(pl.lit(calls.ON_DEMAND)),
        )
        self._frame = frame
        ends = np.cumsum([day.height for day in days])
        self._days = [frame.slice(int(end) - day.height, day.height) for end, day in zip(ends, days, strict=True)]

    def day(self, day: int) -> calls.DayOfCalls:
        """Return the good calls of one day."""
        frame = self._days[day]
        runs = frame.group_by("use_case_instance_id", maintain_order=True).agg(
            (pl.col("called_us") + pl.col("total_ms") * 1000).max().alias("ended_us")
        )
        ids, ended = runs["use_case_instance_id"], runs["ended_us"].to_numpy()
        return calls.DayOfCalls(day, frame, calls.instances(company.CONTRACT_REVIEW, _VERSION, ids, ended))

    def deployment(self) -> DeploymentTruth:
        """State how the agents' deployment was used and what spilled over."""
        on_units, called, work = self._work(self._frame)
        return capacity.deployment_truth(self._plan, _DEPLOYMENT, called, work, self._spill[on_units])

    def runaway_loop(self) -> RunawayLoopTruth:
        """State which run looped."""
        loop_id = self.loop_instance_id
        loop = self._frame.filter(pl.col("use_case_instance_id") == loop_id)
        return RunawayLoopTruth(
            use_case_id=company.CONTRACT_REVIEW,
            use_case_instance_id=loop_id,
            day=self._plan.date_of(self._plan.loop_day),
            first_call_at=instant(int(loop["called_us"].to_numpy().min())),
            last_call_at=instant(int(loop["called_us"].to_numpy().max())),
            call_count=loop.height,
            spillover_call_count=int(loop["is_spillover"].sum()),
        )

    @property
    def loop_instance_id(self) -> str:
        """The use-case instance of the runaway run."""
        return f"agent-{self._plan.date_of(self._plan.loop_day):%Y%m%d}-{_LOOP_RUN_NUMBER}"

    def _unscaled(self, day: int) -> pl.DataFrame:
        plan = self._plan
        rng = plan.rng("agents", day)
        count = int(plan.day_calls[company.CONTRACT_REVIEW][day])
        rows = sequences(rng, count, lambda r, n: 1 + np.minimum(r.geometric(0.17, n), _MAX_RUN_CALLS))
        # Busy and quiet hours beyond the daily pattern: this is what makes an hour spill over.
        weights = _HOURS * rng.gamma(_BURST_SHAPE, 1 / _BURST_SHAPE, 24)
        starts = np.sort(times_of_day(rng, rows.run_count, weights))
        frame = self._runs(day, rng, rows, starts, np.arange(rows.run_count))
        if day != plan.loop_day:
            return frame
        rng = plan.rng("agents/loop", day)
        loop = sequences(rng, plan.loop_calls, lambda _, n: np.full(n, n))
        start = np.array([_LOOP_FIRST_HOUR * HOUR_US])
        return pl.concat([frame, self._runs(day, rng, loop, start, np.array([_LOOP_RUN_NUMBER]), is_loop=True)])

    def _runs(
        self,
        day: int,
        rng: np.random.Generator,
        rows: Sequences,
        starts: Ints,
        numbers: Ints,
        *,
        is_loop: bool = False,
    ) -> pl.DataFrame:
        """Draw runs with tokens in units of the yet unknown scale (the planner's are final)."""
        count, run = len(rows.run), rows.run.astype(np.uint32)
        is_planner = rows.position == 0
        failed, attempt = _retries(rng, rows, is_planner)
        total_ms = np.where(is_planner, 9_000, 14_000) + rng.integers(0, 12_000, count)
        has_tool = (rng.random(count) < _TOOL_SHARE) & ~is_planner & ~failed
        has_tool[rows.last] = False
        tool_ms = np.where(has_tool, 200 + rng.integers(0, 4_000, count), 0)
        busy_us = (total_ms + tool_ms + 50) * 1000
        if is_loop:
            busy_us = np.full(count, _LOOP_HOURS * HOUR_US // count)
            total_ms = np.minimum(total_ms, busy_us // 1000 - 5_000)
        offsets = rows.cumulated(busy_us) - busy_us
        called = start_within_day(starts, offsets, rows, busy_us) + self._plan.midnight_us(day)
        # A retry repeats the step of the failed attempt before it.
        step = np.minimum(rows.position - (attempt - 1), len(_STEPS) - 1)
        stamp = f"{self._plan.date_of(day):%Y%m%d}-"
        traces, roots = _hex_ids(rng, rows.run_count, 32), _hex_ids(rng, rows.run_count, 16)
        run_ids = calls.numbered_ids("agent-" + stamp, numbers, 5)
        plan_reasoning = lognormal_ints(rng, count, 900, 0.4)
        return calls.frame(
            called_us=called,
            call_id=_hex_ids(rng, count, 16),
            provider_name=calls.choose(is_planner, company.OPENAI, company.AZURE),
            model_name=calls.choose(is_planner, company.REASONING_MODEL_SNAPSHOT, company.CHAT_MODEL),
            service_tier=company.STANDARD,
            operation_name=calls.CHAT,
            use_case_id=company.CONTRACT_REVIEW,
            use_case_version=_VERSION,
            use_case_instance_id=run_ids.gather(run),
            input_tokens=np.where(
                is_planner, lognormal_ints(rng, count, 2_600, 0.3), lognormal_ints(rng, count, 780_000, 0.3)
            ),
            cache_read_tokens=np.where(
                is_planner, 1_024, lognormal_ints(rng, count, 380_000, 0.3) * (rows.position > 1)
            ),
            output_tokens=np.where(
                failed,
                0,
                np.where(is_planner, lognormal_ints(rng, count, 350, 0.3), lognormal_ints(rng, count, 50_000, 0.3)),
            ),
            reasoning_tokens=np.where(is_planner, plan_reasoning, 0),
            is_success=~failed,
            error_type=calls.error_types(rng, failed),
            trace_id=traces.gather(run),
            parent_span_id=roots.gather(run),
            step_name=_STEPS.gather(step.astype(np.uint32)),
            attempt_index=attempt,
            turn_index=rows.position + 1,
            total_ms=total_ms,
            first_ms=np.where(is_planner, 4_000, 900) + total_ms // 10,
            tool_name=_tool_names(rng, has_tool),
            tool_span_id=_hex_ids(rng, count, 16),
            tool_ms=tool_ms,
        )

    def _scaled(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Scale the steps' tokens to the wished utilisation of weekday hours, within the context window."""
        on_units, called, work = self._work(frame)
        is_loop = (frame["use_case_instance_id"] == self.loop_instance_id).to_numpy()[on_units]
        hours = capacity.work_per_hour(self._plan, called[~is_loop], work[~is_loop])
        wished = company.AGENTS_BUSY_HOUR_SHARE * _DEPLOYMENT.capacity_tokens_per_hour
        factor = wished / float(hours[capacity.busy_hours(self._plan)].mean())
        context = pl.col("input_tokens") + pl.col("cache_read_tokens")
        # With few calls each would have to be longer than any model reads; then the units stay emptier.
        fitting = pl.min_horizontal(pl.lit(factor), _CONTEXT_WINDOW_TOKENS / context)
        tokens = pl.col("input_tokens", "cache_read_tokens", "output_tokens")
        return frame.with_columns(
            pl.when(pl.col("model_name") == company.CHAT_MODEL)
            .then((tokens * fitting).floor().cast(pl.Int64))
            .otherwise(tokens)
        )

    def _spilled(self, frame: pl.DataFrame) -> Bools:
        on_units, called, work = self._work(frame)
        result = np.zeros(frame.height, bool)
        result[on_units] = capacity.spilled(self._plan, _DEPLOYMENT, called, work)
        return result

    def _work(self, frame: pl.DataFrame) -> tuple[Bools, Ints, Ints]:
        """Return which calls ask for the provisioned deployment, when, and how much work they are."""
        on_units = (frame["model_name"] == company.CHAT_MODEL).to_numpy()
        asking = frame.filter(pl.Series(on_units))
        work = capacity.work_tokens(_DEPLOYMENT, asking["input_tokens"].to_numpy(), asking["output_tokens"].to_numpy())
        return on_units, asking["called_us"].to_numpy(), work


def spans_by_operation(day: calls.DayOfCalls) -> Iterator[tuple[str, int]]:
    """Count the distinct spans of a day per operation."""
    yield calls.CHAT, day.calls.height
    yield "invoke_agent", day.instances.height
    yield "execute_tool", day.calls["tool_name"].count()


def _retries(rng: np.random.Generator, rows: Sequences, is_planner: Bools) -> tuple[Bools, Ints]:
    """Let some steps fail once; the call after a failed one is its second attempt and succeeds."""
    failed = (rng.random(len(rows.run)) < _RETRY_SHARE) & ~is_planner
    failed[rows.last] = False
    failed[1:] &= ~failed[:-1]
    is_retry = np.concatenate([[False], failed[:-1]]) if len(failed) else failed
    return failed, 1 + is_retry.astype(np.int64)


def _tool_names(rng: np.random.Generator, has_tool: Bools) -> pl.Series:
    names = _TOOLS.gather(rng.integers(0, len(_TOOLS), len(has_tool)).astype(np.uint32))
    return pl.DataFrame({"name": names, "has": has_tool}).select(pl.when("has").then("name")).to_series()


def _hex_ids(rng: np.random.Generator, count: int, digits: int) -> pl.Series:
    """Draw lower-case hexadecimal ids."""
    codes = _HEX[rng.integers(0, len(_HEX), (count, digits), dtype=np.uint8)]
    text = np.ascontiguousarray(codes).view(f"S{digits}").ravel().astype(f"U{digits}")
    return pl.Series(text.tolist(), dtype=pl.String)
