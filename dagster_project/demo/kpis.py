"""Scores and outcomes: what became of the use-case instances, and a few figures per day.

Each use case has its own chance model; some instances never get a score, because an unknown outcome is not a
failure. Which conversation of the experiment succeeded is decided here, and counted for the truths.
"""

from collections import Counter
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl

from dagster_project.demo import calls, company, feed_files
from dagster_project.demo.plan import DAY_US, Bools, Floats, Ints, Plan
from dagster_project.demo.truths import ExperimentArmTruth, ExperimentTruth, ratio

RESOLVED: Final = "resolved"

_SCORE_DELAY_US: Final = 120_000_000

# How many instances get a score at all, and how many of them a good one.
_SUPPORT_SCORED_SHARE: Final = 0.93
_SURVEY_ANSWERED_SHARE: Final = 0.30
_SEARCH_TRACKED_SHARE: Final = 0.40
_SEARCH_CLICKED_SHARE: Final = 0.71
_REVIEWS_SCORED_SHARE: Final = 0.95
_REVIEWS_COMPLETED_SHARE: Final = 0.81
_DRAFTS_SCORED_SHARE: Final = 0.90
_DRAFTS_ACCEPTED_SHARE: Final = 0.58
_EVALUATIONS_SCORED_SHARE: Final = 0.97
_PASSING_ACCURACY: Final = 0.68


@dataclass(frozen=True, slots=True)
class _Score:
    """One KPI of some instances of a day."""

    kpi_name: str
    is_scored: Bools
    values: Ints | Floats
    provenance: str = "measured"


@dataclass(slots=True)
class _Arm:
    instances: int = 0
    outcomes: int = 0
    successes: int = 0


class KpiFeed:
    """Writes the score files of all teams and remembers the experiment's result."""

    def __init__(self, plan: Plan, folder: Path, loop_instance_id: str) -> None:
        self._plan = plan
        self._folder = folder
        self._loop_instance_id = loop_instance_id
        self._arms = {version: _Arm() for version in company.TRUE_SUCCESS_SHARES}
        self.rows_by_kpi: Counter[str] = Counter()

    def write_support(self, day: calls.DayOfCalls) -> None:
        """Score conversations and ticket summaries; CSV."""
        self._write_csv(
            "support",
            day.day,
            [self._scored(day, company.SUPPORT_CHAT), self._scored(day, company.TICKET_SUMMARY)],
        )

    def write_search(self, day: calls.DayOfCalls) -> None:
        """Score searches; the nightly batch has no KPI. CSV."""
        self._write_csv("search", day.day, [self._scored(day, company.INTERNAL_SEARCH)])

    def write_automation(
        self, agents: calls.DayOfCalls, drafting: calls.DayOfCalls, research: calls.DayOfCalls
    ) -> None:
        """Score agent runs, documents and evaluation jobs; JSON Lines in one file per day."""
        rows = pl.concat(
            [
                self._scored(agents, company.CONTRACT_REVIEW),
                self._scored(drafting, company.DOCUMENT_DRAFTING),
                self._scored(research, company.MODEL_EVALUATION),
            ]
        )
        self._count(rows)
        rows = rows.select(
            pl.col("kpi_name").alias("kpi"),
            pl.col("score"),
            pl.col("use_case_id").alias("process"),
            pl.col("use_case_version").alias("process_version"),
            pl.col("use_case_instance_id").alias("process_run"),
            feed_files.iso("scored_us").alias("scored_at"),
            pl.col("provenance"),
        )
        date = self._plan.date_of(agents.day)
        feed_files.write_frame(rows, self._folder / "automation" / f"scores_{date}.jsonl", "jsonl")

    def write_daily_levels(self) -> None:
        """Write the KPIs that belong to a day, not to an instance; one CSV file."""
        plan = self._plan
        rng = plan.rng("kpis/daily")
        midnight = np.array([plan.midnight_us(day) for day in range(plan.days)])
        levels = {
            (company.SUPPORT_CHAT, "open_tickets"): rng.poisson(240, plan.days).astype(np.float64),
            (company.INTERNAL_SEARCH, "search_satisfaction"): np.round(rng.normal(0.81, 0.015, plan.days), 4),
            (company.DOCUMENT_DRAFTING, "active_authors"): rng.poisson(18, plan.days).astype(np.float64),
        }
        rows = pl.concat(
            calls.frame(kpi_name=kpi, score=values, use_case_id=use_case, scored_us=midnight + DAY_US - 1_000_000)
            for (use_case, kpi), values in levels.items()
        )
        self._count(rows)
        feed_files.write_frame(
            rows.select(
                feed_files.iso("scored_us").alias("day_end"),
                pl.col("use_case_id").alias("process"),
                pl.col("kpi_name").alias("kpi"),
                pl.col("score").alias("level"),
            ),
            self._folder / "daily" / "daily_levels.csv",
            "csv",
        )

    def experiment(self) -> ExperimentTruth:
        """Return the result of the experiment over the days written so far."""
        control, treatment = (
            _arm_truth(version, self._arms[version]) for version in (company.CONTROL_VERSION, company.TREATMENT_VERSION)
        )
        return ExperimentTruth(
            use_case_id=company.SUPPORT_CHAT,
            kpi_name=RESOLVED,
            control=control,
            treatment=treatment,
            true_lift=treatment.true_success_share - control.true_success_share,
            observed_lift=treatment.success_share - control.success_share,
        )

    def _write_csv(self, folder: str, day: int, frames: list[pl.DataFrame]) -> None:
        rows = pl.concat(frames)
        self._count(rows)
        rows = rows.select(
            feed_files.iso("scored_us").alias("at"),
            pl.col("use_case_id").alias("feature"),
            pl.col("use_case_version").alias("feature_version"),
            pl.col("use_case_instance_id").alias("session"),
            pl.col("kpi_name").alias("metric"),
            pl.col("score").alias("value"),
            pl.col("provenance").alias("how"),
        )
        feed_files.write_frame(rows, self._folder / folder / f"scores_{self._plan.date_of(day)}.csv", "csv")

    def _count(self, rows: pl.DataFrame) -> None:
        for use_case_id, kpi_name, count in rows.group_by("use_case_id", "kpi_name").len().iter_rows():
            self.rows_by_kpi[f"{use_case_id}/{kpi_name}"] += count

    def _scored(self, day: calls.DayOfCalls, use_case_id: str) -> pl.DataFrame:
        """Return one row per KPI and scored instance of a use case; a score is given within the day."""
        instances = day.instances.filter(pl.col("use_case_id") == use_case_id)
        rng = self._plan.rng("kpis/" + use_case_id, day.day)
        last_instant = self._plan.midnight_us(day.day) + DAY_US - 1
        base = instances.with_columns(
            scored_us=pl.min_horizontal(pl.col("ended_us") + _SCORE_DELAY_US, pl.lit(last_instant))
        ).drop("ended_us")
        return pl.concat(
            base.with_columns(
                kpi_name=pl.lit(score.kpi_name),
                score=pl.Series(score.values).cast(pl.Float64),
                provenance=pl.lit(score.provenance),
            ).filter(pl.Series(score.is_scored))
            for score in self._scores(use_case_id, rng, instances)
        )

    def _scores(self, use_case_id: str, rng: np.random.Generator, instances: pl.DataFrame) -> list[_Score]:
        count = instances.height
        match use_case_id:
            case company.SUPPORT_CHAT:
                return self._support_scores(rng, instances)
            case company.TICKET_SUMMARY:
                return [_Score("was_read", np.ones(count, bool), np.zeros(count, np.int64))]
            case company.INTERNAL_SEARCH:
                return _search_scores(rng, count)
            case company.CONTRACT_REVIEW:
                is_loop = (instances["use_case_instance_id"] == self._loop_instance_id).to_numpy()
                return _agent_scores(rng, is_loop)
            case company.DOCUMENT_DRAFTING:
                return _drafting_scores(rng, count)
            case _:
                return _evaluation_scores(rng, count)

    def _support_scores(self, rng: np.random.Generator, instances: pl.DataFrame) -> list[_Score]:
        """Decide which conversations were resolved: the chance depends on the version alone."""
        count = instances.height
        versions = instances["use_case_version"].to_numpy()
        chance = np.zeros(count)
        for version, share in company.TRUE_SUCCESS_SHARES.items():
            chance[versions == version] = float(share)
        is_resolved = rng.random(count) < chance
        is_known = rng.random(count) < _SUPPORT_SCORED_SHARE
        for version, arm in self._arms.items():
            mine = versions == version
            arm.instances += int(mine.sum())
            arm.outcomes += int((mine & is_known).sum())
            arm.successes += int((mine & is_known & is_resolved).sum())
        answered = is_known & (rng.random(count) < _SURVEY_ANSWERED_SHARE)
        csat = np.where(is_resolved, rng.integers(3, 6, count), rng.integers(1, 5, count))
        return [
            _Score(RESOLVED, is_known, is_resolved.astype(np.int64)),
            _Score("csat", answered, csat, "self_reported"),
        ]


def _search_scores(rng: np.random.Generator, count: int) -> list[_Score]:
    is_known = rng.random(count) < _SEARCH_TRACKED_SHARE
    clicked = rng.random(count) < _SEARCH_CLICKED_SHARE
    minutes = np.where(clicked, np.round(4 * np.exp(rng.normal(0, 0.6, count)), 1), 0)
    return [
        _Score("clicked_result", is_known, clicked.astype(np.int64)),
        _Score("minutes_saved", is_known, minutes, "derived"),
    ]


def _agent_scores(rng: np.random.Generator, is_loop: Bools) -> list[_Score]:
    count = len(is_loop)
    is_known = (rng.random(count) < _REVIEWS_SCORED_SHARE) | is_loop
    completed = (rng.random(count) < _REVIEWS_COMPLETED_SHARE) & ~is_loop
    return [
        _Score("task_completed", is_known, completed.astype(np.int64)),
        _Score("clauses_flagged", is_known, rng.poisson(1.4, count) * completed),
    ]


def _drafting_scores(rng: np.random.Generator, count: int) -> list[_Score]:
    is_known = rng.random(count) < _DRAFTS_SCORED_SHARE
    accepted = rng.random(count) < _DRAFTS_ACCEPTED_SHARE
    edited = np.round(np.where(accepted, rng.beta(2, 6, count), rng.beta(5, 3, count)), 4).astype(np.float64)
    return [
        _Score("draft_accepted", is_known, accepted.astype(np.int64)),
        _Score("edited_share", is_known, edited),
    ]


def _evaluation_scores(rng: np.random.Generator, count: int) -> list[_Score]:
    is_known = rng.random(count) < _EVALUATIONS_SCORED_SHARE
    accuracy = np.round(rng.beta(40, 18, count), 4).astype(np.float64)
    return [
        _Score("evaluation_passed", is_known, (accuracy >= _PASSING_ACCURACY).astype(np.int64)),
        _Score("benchmark_accuracy", is_known, accuracy),
    ]


def _arm_truth(version: str, arm: _Arm) -> ExperimentArmTruth:
    return ExperimentArmTruth(
        use_case_version=version,
        true_success_share=company.TRUE_SUCCESS_SHARES[version],
        instance_count=arm.instances,
        outcome_count=arm.outcomes,
        success_count=arm.successes,
        success_share=ratio(arm.successes, arm.outcomes) if arm.outcomes else Decimal(0),
    )
