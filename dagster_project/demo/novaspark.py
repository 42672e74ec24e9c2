"""Generates NovaSpark's feed files: the one entry point of the demo.

`generate` plans the period, lets every team's module produce its calls day by day, and writes feeds,
contracts, invoices and scores; `truths.json` comes last and marks the set as complete. What a team's calls
look like is in its own module.
"""

import shutil
from collections.abc import Iterable
from datetime import date
from decimal import Decimal
from importlib.metadata import version
from pathlib import Path
from typing import Final, NamedTuple, TypeVar

import polars as pl

from dagster_project.demo import calls, capacity, company, feed_files, invoices, kpis, otlp, rates, reports
from dagster_project.demo.agents import SOURCE as AGENTS_SOURCE
from dagster_project.demo.agents import AgentsCalls
from dagster_project.demo.drafting import SOURCE as DRAFTING_SOURCE
from dagster_project.demo.drafting import DraftingCalls, DraftingFeed
from dagster_project.demo.plan import DEFAULT_CALLS, Plan
from dagster_project.demo.research import SOURCE as RESEARCH_SOURCE
from dagster_project.demo.research import ResearchCalls, ResearchFeed
from dagster_project.demo.search import SOURCE as SEARCH_SOURCE
from dagster_project.demo.search import SearchCalls, SearchFeed
from dagster_project.demo.support import SOURCE as SUPPORT_SOURCE
from dagster_project.demo.support import SupportCalls, SupportFeed
from dagster_project.demo.truths import (
    DuplicateTruth,
    GeneratorArguments,
    LateTruth,
    PromptDayTruth,
    RejectTruth,
    Truths,
    ratio,
)

Planted = TypeVar("Planted")

TRUTHS_FILE: Final = "truths.json"
DEFAULT_START_DATE: Final = date(2026, 7, 1)

# Raise it when the same arguments begin to give other files: finished sets are then made anew.
GENERATOR_VERSION: Final = 2

_FOLDERS: Final = ("calls", "otel", "contracts", "invoices", "reports", "kpis")
_PROMPT_DAY_COST_RATIO: Final = Decimal(3)


def generate(
    out_dir: Path,
    *,
    seed: int = 7,
    calls: int = DEFAULT_CALLS,
    days: int = 90,
    start_date: date = DEFAULT_START_DATE,
) -> Truths:
    """Write the feed files of the demo company.

    Equal arguments give byte-identical files. A complete set of the same arguments is left alone; anything
    else that this function wrote before under `out_dir` is replaced.

    Args:
        out_dir: Where the feeds go; created when absent.
        seed: Seed of all randomness.
        calls: Number of distinct good calls, at least 2,000.
        days: Length of the period in days, at least 10.
        start_date: First UTC day.

    Returns:
        What is planted, with exact counts and amounts.

    Raises:
        ConfigurationError: The period or the number of calls is too small, or the package lacks a price.
    """
    arguments = GeneratorArguments(seed, calls, days, start_date, GENERATOR_VERSION, version("genai-prices"))
    marker = out_dir / TRUTHS_FILE
    finished = _finished(marker, arguments)
    if finished is not None:
        return finished
    plan = Plan(seed=seed, calls=calls, days=days, start_date=start_date)
    marker.unlink(missing_ok=True)
    for folder in _FOLDERS:
        shutil.rmtree(out_dir / folder, ignore_errors=True)
    truths = _Generation(plan, arguments, out_dir).run()
    feed_files.write_bytes(truths.to_json().encode(), marker)
    return truths


def _finished(marker: Path, arguments: GeneratorArguments) -> Truths | None:
    """Return the truths of a complete set with these arguments."""
    try:
        truths = Truths.from_json(marker.read_text(encoding="utf-8"))
    except (FileNotFoundError, KeyError, TypeError, ValueError):
        return None
    return truths if truths.arguments == arguments else None


class _Cost(NamedTuple):
    """What one use case cost on some days."""

    call_count: int
    prompt_tokens: int
    list_usd: Decimal


class _Generation:
    """One run of the generator."""

    def __init__(self, plan: Plan, arguments: GeneratorArguments, out_dir: Path) -> None:
        self._plan = plan
        self._arguments = arguments
        self._out_dir = out_dir
        self._rates = rates.RateBook(plan)
        self._ledger = calls.UsageLedger()

    def run(self) -> Truths:
        plan, out_dir = self._plan, self._out_dir
        extra_tokens = self._extra_prompt_tokens()
        support, search = SupportCalls(plan, extra_tokens), SearchCalls(plan)
        research, drafting, agents = ResearchCalls(plan), DraftingCalls(plan), AgentsCalls(plan)
        support_feed = SupportFeed(plan, out_dir / "calls" / "support")
        search_feed = SearchFeed(plan, out_dir / "calls" / "search")
        research_feed = ResearchFeed(plan, out_dir / "calls" / "research")
        drafting_feed = DraftingFeed(plan, out_dir / "calls" / "drafting")
        agents_feed = otlp.OtlpFeed(plan, out_dir / "otel")
        scores = kpis.KpiFeed(plan, out_dir / "kpis", agents.loop_instance_id)
        for day in range(plan.days):
            support_day, search_day = support.day(day), search.day(day)
            research_day, drafting_day, agents_day = research.day(day), drafting.day(day), agents.day(day)
            self._ledger.add(company.SUPPORT_TEAM, SUPPORT_SOURCE, support_day)
            self._ledger.add(company.SEARCH_TEAM, SEARCH_SOURCE, search_day)
            self._ledger.add(company.RESEARCH_TEAM, RESEARCH_SOURCE, research_day)
            self._ledger.add(company.AGENTS_TEAM, DRAFTING_SOURCE, drafting_day)
            self._ledger.add(company.AGENTS_TEAM, AGENTS_SOURCE, agents_day)
            support_feed.write(support_day)
            search_feed.write(search_day)
            research_feed.write(research_day)
            drafting_feed.write(drafting_day)
            agents_feed.write(agents_day)
            scores.write_support(support_day)
            scores.write_search(search_day)
            scores.write_automation(agents_day, drafting_day, research_day)
        scores.write_daily_levels()
        rates.write_contracts(plan, out_dir / "contracts")
        invoice_truths, difference = invoices.write_invoices(plan, self._ledger, self._rates, out_dir / "invoices")
        report_truths = reports.write_reports(plan, self._ledger, self._rates, difference, out_dir / "reports")
        planted = [
            *support_feed.finish(),
            *search_feed.finish(),
            *research_feed.finish(),
            *agents_feed.finish(),
        ]
        agents_deployment = agents.deployment()
        totals_by_team = self._ledger.totals_by_team()
        return Truths(
            arguments=self._arguments,
            good_calls_by_team={team: totals.call_count for team, totals in totals_by_team.items()},
            good_calls_by_source=dict(sorted(self._ledger.calls_by_source.items())),
            totals_by_team=totals_by_team,
            totals=self._ledger.totals(),
            instances_by_use_case=dict(sorted(self._ledger.instances_by_use_case.items())),
            kpi_rows_by_kpi=dict(sorted(scores.rows_by_kpi.items())),
            otlp_spans_by_operation=dict(sorted(agents_feed.spans_by_operation.items())),
            otlp_deprecated_files=tuple(agents_feed.deprecated_files),
            otlp_gzip_file=agents_feed.gzip_file,
            prompt_day=self._prompt_day(support, extra_tokens),
            runaway_loop=agents.runaway_loop(),
            deployments=(agents_deployment, drafting.deployment(), research.deployment()),
            commitments=tuple(
                capacity.commitment_truth(plan, commitment, company.DEPLOYMENTS) for commitment in company.COMMITMENTS
            ),
            spillover_call_count=agents_deployment.spillover_call_count,
            experiment=scores.experiment(),
            late=_only(LateTruth, planted),
            duplicates=_only(DuplicateTruth, planted),
            rejects=_only(RejectTruth, planted),
            unknown_model=search.unknown_model(),
            price_changes=self._rates.price_changes(),
            discount=self._rates.discount(),
            invoices=invoice_truths,
            invoice_difference=difference,
            reports=report_truths.reports,
            late_usage=report_truths.late_usage,
            workbench=report_truths.workbench,
        )

    def _extra_prompt_tokens(self) -> int:
        """Return how long the planted preamble is, so that the day costs three times its neighbours' mean."""
        plan = self._plan
        plain = SupportCalls(plan, extra_prompt_tokens=0)
        one_more = SupportCalls(plan, extra_prompt_tokens=1)
        day = plan.prompt_day
        neighbours = sum((self._chat_cost(plain, near).list_usd for near in (day - 1, day + 1)), Decimal(0))
        without = self._chat_cost(plain, day).list_usd
        usd_per_token = self._chat_cost(one_more, day).list_usd - without
        return max(0, round((_PROMPT_DAY_COST_RATIO * neighbours / 2 - without) / usd_per_token))

    def _prompt_day(self, support: SupportCalls, extra_tokens: int) -> PromptDayTruth:
        day = self._plan.prompt_day
        that, before, after = (self._chat_cost(support, near) for near in (day, day - 1, day + 1))
        near = _Cost(
            before.call_count + after.call_count,
            before.prompt_tokens + after.prompt_tokens,
            before.list_usd + after.list_usd,
        )
        return PromptDayTruth(
            day=self._plan.date_of(day),
            use_case_id=company.SUPPORT_CHAT,
            extra_system_prompt_tokens=extra_tokens,
            call_count=that.call_count,
            prompt_tokens=that.prompt_tokens,
            cost_usd=that.list_usd,
            neighbour_days=(self._plan.date_of(day - 1), self._plan.date_of(day + 1)),
            neighbour_call_count=near.call_count,
            neighbour_prompt_tokens=near.prompt_tokens,
            neighbour_cost_usd=near.list_usd,
            cost_ratio=ratio(that.list_usd * 2, near.list_usd),
            cost_per_call_ratio=ratio(that.list_usd * near.call_count, near.list_usd * that.call_count),
            prompt_tokens_per_call_ratio=ratio(
                that.prompt_tokens * near.call_count, near.prompt_tokens * that.call_count
            ),
        )

    def _chat_cost(self, support: SupportCalls, day: int) -> _Cost:
        """Return what the chatbot's calls of one day cost at list price."""
        chat = support.day(day).calls.filter(pl.col("use_case_id") == company.SUPPORT_CHAT)
        prompt_tokens = int(chat["input_tokens"].sum()) + int(chat["cache_read_tokens"].sum())
        usd = sum((self._rates.list_cost_usd(key, used, day) for key, used in calls.usage_of(chat)), Decimal(0))
        return _Cost(chat.height, prompt_tokens, usd)


def _only(kind: type[Planted], planted: Iterable[object]) -> tuple[Planted, ...]:
    """Pick the planted truths of one kind."""
    return tuple(truth for truth in planted if isinstance(truth, kind))
