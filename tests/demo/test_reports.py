"""OpenAI's reports against the truths and the invoices, read from the files."""

import json
from collections import Counter
from decimal import Decimal
from typing import Any

from tests.demo.conftest import Feeds


def _results(feeds: Feeds, report: str) -> list[dict[str, Any]]:
    """All results of a report, in the order of their days."""
    pages = [
        json.loads(path.read_text(encoding="utf-8"), parse_float=Decimal)
        for path in sorted((feeds.folder / "reports" / report).glob("*.json"))
    ]
    buckets = [bucket for page in pages for bucket in page["data"]]
    assert [bucket["end_time"] - bucket["start_time"] for bucket in buckets] == [86_400] * len(buckets)
    return [result for bucket in buckets for result in bucket["results"]]


def test_use_by_hand_has_no_key_and_costs_what_the_invoice_charges(feeds: Feeds):
    by_hand = [result for result in _results(feeds, "costs") if result["api_key_id"] is None and result["quantity"]]
    # 100,000,000 x 2.00 + 26,546,250 x 8.00 USD per million = 200.00 + 212.37.
    assert sum(result["amount"]["value"] for result in by_hand) == feeds.truths.invoice_difference.amount_usd
    assert feeds.truths.workbench.amount_usd == Decimal("412.37")
    [used] = [result for result in _results(feeds, "usage") if result["api_key_id"] is None]
    assert (used["input_tokens"], used["output_tokens"]) == (100_000_000, 26_546_250)


def test_costs_sum_to_the_stated_amounts_and_to_the_invoice_but_for_rounding(feeds: Feeds):
    costs = sum(Decimal(result["amount"]["value"]) for result in _results(feeds, "costs"))
    assert costs == sum(report.cost_usd for report in feeds.truths.reports)
    contracted = sum(
        invoice.contracted_cost_usd for invoice in feeds.truths.invoices if invoice.provider_name == "openai"
    )
    # Storage of two months, and the use by hand. What was late costs the same on either day: no price changes there.
    assert costs == contracted + 2 * Decimal("96.30") + Decimal("412.37")


def test_usage_is_that_of_the_good_calls_whenever_it_is_counted(feeds: Feeds):
    requests: Counter[str] = Counter()
    for result in _results(feeds, "usage"):
        if result["api_key_id"] is not None:
            requests[result["model"]] += result["num_model_requests"]
    tokens = sum(result["quantity"] or 0 for result in _results(feeds, "costs"))
    assert tokens == sum(sum(report.units_by_meter.values()) for report in feeds.truths.reports)
    assert feeds.truths.late_usage.request_count == 3
    assert set(requests) == {"gpt-4.1", "o4-mini", "text-embedding-3-small"}
