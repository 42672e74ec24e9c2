"""OpenAI's usage and cost reports of the demo company: what the calls used, and what only the provider knows.

One page of daily buckets per calendar month and report, in the shape of the API. They agree with the calls but for two
planted differences: use by hand on the day of the long prompt, without an API key, and calls just before midnight of
that day, which are counted on the next. The cost report has no credits and no tax.
"""

import json
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, NamedTuple

from dagster_project.demo import company
from dagster_project.demo.calls import CHAT, EMBEDDINGS, ON_DEMAND, Usage, UsageKey, UsageLedger
from dagster_project.demo.feed_files import write_bytes
from dagster_project.demo.invoices import BILLERS, VECTOR_STORAGE
from dagster_project.demo.plan import Plan
from dagster_project.demo.rates import RateBook, billed_tokens
from dagster_project.demo.truths import InvoiceDifferenceTruth, LateUsageTruth, ReportTruth, WorkbenchTruth

_API_KEY: Final = "key_production"
_PROJECT: Final = "proj_novaspark"
_LATE_CALLS: Final = 3
# At 2.00 and 8.00 USD per million tokens: 200.00 + 212.37 USD.
_WORKBENCH_UNITS: Final = {"input": 100_000_000, "output": 26_546_250}
_WORKBENCH_USD: Final = {"input": Decimal("200.00"), "output": Decimal("212.37")}
_WORDS: Final = {"input": "input", "cache_read": "cached input", "output": "output"}
# No text of a report holds it.
_MARK: Final = "~~"
_LATE_KEY: Final = UsageKey(company.OPENAI, company.CHAT_MODEL, company.STANDARD, CHAT, ON_DEMAND)


class ReportTruths(NamedTuple):
    """What is planted in the reports."""

    reports: tuple[ReportTruth, ...]
    late_usage: LateUsageTruth
    workbench: WorkbenchTruth


def write_reports(
    plan: Plan, ledger: UsageLedger, rates: RateBook, difference: InvoiceDifferenceTruth, folder: Path
) -> ReportTruths:
    """Write all pages.

    Args:
        plan: The demo's plan.
        ledger: All good calls of the period.
        rates: The prices that hold.
        difference: The charge of the use by hand, as the invoice has it.
        folder: Where the files go.

    Returns:
        What the reports say, by month, and the planted differences.
    """
    usage = {(key, day): used for key, day, used in ledger.billed() if key.provider_name == company.OPENAI}
    late = _moved_past_midnight(plan, usage)
    workbench = WorkbenchTruth(
        company.OPENAI, company.CHAT_MODEL, plan.date_of(plan.prompt_day), _WORKBENCH_UNITS, difference.amount_usd
    )
    reports = []
    for month, days in _days_by_month(plan).items():
        of_month = {place: used for place, used in usage.items() if place[1] in days}
        has_workbench = workbench.day.replace(day=1) == month
        used_pages = [_bucket(plan, day, list(_usage_results(of_month, day, plan.prompt_day))) for day in days]
        cost_pages = [_bucket(plan, day, list(_cost_results(of_month, day, rates, plan, days[0]))) for day in days]
        write_bytes(_page(used_pages), folder / "usage" / f"openai_{month:%Y-%m}.json")
        write_bytes(_page(cost_pages), folder / "costs" / f"openai_{month:%Y-%m}.json")
        units: dict[str, int] = defaultdict(int)
        cost_usd = VECTOR_STORAGE.billed_amount
        for (key, day), used in of_month.items():
            for kind, tokens in billed_tokens(key, used):
                if tokens:
                    named = "embedding" if key.operation_name == EMBEDDINGS else kind
                    units[f"{key.model_name}/{key.service_tier}/{named}"] += tokens
                    cost_usd += tokens * rates.unit_price(key, kind, day).contracted_usd
        if has_workbench:
            cost_usd += workbench.amount_usd
            for kind, tokens in workbench.units_by_kind.items():
                units[f"{workbench.model_name}/{company.STANDARD}/{kind}"] += tokens
        account = BILLERS[company.OPENAI].billing_account_id
        reports.append(ReportTruth(company.OPENAI, account, month, dict(sorted(units.items())), cost_usd))
    return ReportTruths(tuple(reports), late, workbench)


def _days_by_month(plan: Plan) -> dict[Any, list[int]]:
    days: dict[Any, list[int]] = defaultdict(list)
    for day in range(plan.days):
        days[plan.date_of(day).replace(day=1)].append(day)
    return days


def _moved_past_midnight(plan: Plan, usage: dict[tuple[UsageKey, int], Usage]) -> LateUsageTruth:
    """Move some calls of the day of the long prompt to the next day; changes `usage`."""
    day = plan.prompt_day
    whole = usage[_LATE_KEY, day]
    count = min(_LATE_CALLS, whole.call_count)
    moved = Usage(count, *(tokens * count // whole.call_count for tokens in whole[1:]))
    usage[_LATE_KEY, day] = Usage(*(mine - theirs for mine, theirs in zip(whole, moved, strict=True)))
    next_day = usage.get((_LATE_KEY, day + 1), Usage(0, 0, 0, 0, 0))
    usage[_LATE_KEY, day + 1] = next_day.plus(moved)
    return LateUsageTruth(
        provider_name=company.OPENAI,
        model_name=_LATE_KEY.model_name,
        service_tier=_LATE_KEY.service_tier,
        day=plan.date_of(day),
        reported_day=plan.date_of(day + 1),
        request_count=count,
        units_by_kind=dict(billed_tokens(_LATE_KEY, moved)),
    )


def _usage_results(usage: dict[tuple[UsageKey, int], Usage], day: int, workbench_day: int) -> Iterator[dict[str, Any]]:
    for (key, of_day), used in sorted(usage.items()):
        if of_day != day:
            continue
        common = {
            "num_model_requests": used.call_count,
            "project_id": _PROJECT,
            "user_id": None,
            "api_key_id": _API_KEY,
            "model": key.model_name,
        }
        if key.operation_name == EMBEDDINGS:
            yield {"object": "organization.usage.embeddings.result", "input_tokens": used.input_tokens, **common}
            continue
        yield {
            "object": "organization.usage.completions.result",
            "input_tokens": used.input_tokens + used.cache_read_tokens,
            "input_cached_tokens": used.cache_read_tokens,
            "output_tokens": used.output_tokens + used.reasoning_tokens,
            **common,
            "batch": key.service_tier == company.BATCH,
            "service_tier": "default",
        }
    if day == workbench_day:
        yield {
            "object": "organization.usage.completions.result",
            "input_tokens": _WORKBENCH_UNITS["input"],
            "input_cached_tokens": 0,
            "output_tokens": _WORKBENCH_UNITS["output"],
            "num_model_requests": 2_000,
            "project_id": _PROJECT,
            "user_id": "user_research",
            "api_key_id": None,
            "model": company.CHAT_MODEL,
            "batch": False,
            "service_tier": "default",
        }


def _cost_results(
    usage: dict[tuple[UsageKey, int], Usage], day: int, rates: RateBook, plan: Plan, first_day: int
) -> Iterator[dict[str, Any]]:
    for (key, of_day), used in sorted(usage.items()):
        for kind, tokens in billed_tokens(key, used) if of_day == day else ():
            if tokens:
                tier = "batch " if key.service_tier == company.BATCH else ""
                price = rates.unit_price(key, kind, day).contracted_usd
                yield _cost(f"{key.model_name}, {tier}{_WORDS[kind]}", tokens * price, _API_KEY, tokens)
    if day == plan.prompt_day:
        for kind, tokens in _WORKBENCH_UNITS.items():
            yield _cost(f"{company.CHAT_MODEL}, {_WORDS[kind]}", _WORKBENCH_USD[kind], None, tokens)
    if day == first_day:
        yield _cost(VECTOR_STORAGE.description, VECTOR_STORAGE.billed_amount, None, None)


def _cost(line_item: str, amount_usd: Decimal, api_key_id: str | None, tokens: int | None) -> dict[str, Any]:
    return {
        "object": "organization.costs.result",
        "amount": {"value": _number(amount_usd), "currency": "usd"},
        "line_item": line_item,
        "project_id": _PROJECT,
        "api_key_id": api_key_id,
        "quantity": tokens,
        "quantity_unit": "tokens" if tokens is not None else None,
    }


def _number(value: Decimal) -> str:
    """Mark a decimal, which JSON has no type for, so that `_page` writes it with all of its digits."""
    return f"{_MARK}{value:f}{_MARK}"


def _bucket(plan: Plan, day: int, results: list[dict[str, Any]]) -> dict[str, Any]:
    start, end = (datetime.combine(plan.date_of(at), time(), UTC) for at in (day, day + 1))
    return {
        "object": "bucket",
        "start_time": int(start.timestamp()),
        "end_time": int(end.timestamp()),
        "results": results,
    }


def _page(buckets: list[dict[str, Any]]) -> bytes:
    page = {"object": "page", "data": buckets, "has_more": False, "next_page": None}
    text = json.dumps(page, indent=1)
    return text.replace(f'"{_MARK}', "").replace(f'{_MARK}"', "").encode()
