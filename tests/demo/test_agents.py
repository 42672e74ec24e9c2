"""Capacity, spillover and the runaway loop, worked out again from the trace files."""

from collections import defaultdict

import polars as pl

from tests.demo.conftest import Feeds
from tests.demo.feed_reading import Span, spans

HOUR_NS = 3_600_000_000_000
# 100 units x 3,000 tokens a minute x 60 minutes.
CAPACITY_TOKENS = 18_000_000


def _asking(feeds: Feeds) -> list[Span]:
    """Calls that asked for the provisioned deployment, in the order of arrival."""
    distinct = {span.span_id: span for span in spans(feeds.folder)[0] if span.operation == "chat"}
    asking = [span for span in distinct.values() if "tokenledger.deployment.id" in span.attributes]
    return sorted(asking, key=lambda span: span.start_ns)


def _work(span: Span) -> int:
    return span.prompt_tokens - span.cached_tokens + 4 * span.completion_tokens


def test_spilled_calls_are_those_past_the_hours_capacity(feeds: Feeds):
    arrived: dict[int, int] = defaultdict(int)
    used: dict[int, int] = defaultdict(int)
    spilled_count = spilled_tokens = 0
    for span in _asking(feeds):
        hour = span.start_ns // HOUR_NS
        arrived[hour] += _work(span)
        is_spilled = span.attributes.get("tokenledger.is_spillover", False)
        assert is_spilled == (arrived[hour] > CAPACITY_TOKENS)
        expected = "std-agents-gpt-41" if is_spilled else "ptu-agents-gpt-41"
        assert span.attributes["tokenledger.deployment.id"] == expected
        if is_spilled:
            spilled_count += 1
            spilled_tokens += _work(span)
        else:
            used[hour] += _work(span)
    truth = next(item for item in feeds.truths.deployments if item.deployment_id == "ptu-agents-gpt-41")
    assert spilled_count == truth.spillover_call_count == feeds.truths.spillover_call_count > 0
    assert spilled_tokens == truth.spillover_tokens
    assert sum(used.values()) == truth.used_tokens
    assert max(used.values()) <= CAPACITY_TOKENS
    assert round(max(used.values()) / CAPACITY_TOKENS, 6) == float(truth.best_hour_share)


def test_agents_units_are_about_half_used_in_business_hours(feeds: Feeds):
    truth = next(item for item in feeds.truths.deployments if item.deployment_id == "ptu-agents-gpt-41")
    assert 0.4 <= float(truth.busy_hours_mean_share) <= 0.7


def test_runaway_loop_is_one_instance_with_far_more_calls_than_any_other(feeds: Feeds):
    calls = pl.DataFrame(
        [
            {
                "run": span.attributes["tokenledger.use_case.instance_id"],
                "start_ns": span.start_ns,
                "id": span.span_id,
            }
            for span in spans(feeds.folder)[0]
            if span.operation == "chat"
        ]
    ).unique("id")
    counts = calls.group_by("run").agg(
        pl.len(), (pl.col("start_ns").max() - pl.col("start_ns").min()).alias("lasted_ns")
    )
    first, second = counts.sort("len", descending=True).head(2).to_dicts()
    truth = feeds.truths.runaway_loop
    assert first["run"] == truth.use_case_instance_id
    assert first["len"] == truth.call_count >= 100
    assert first["lasted_ns"] < 4 * HOUR_NS
    assert second["len"] <= 25


def test_hundred_of_five_hundred_units_are_the_agents_and_the_rest_is_known(feeds: Feeds):
    pool = next(item for item in feeds.truths.commitments if item.provider_name == "azure")
    assert (pool.bought_units, pool.allocated_units, pool.unallocated_units) == (500, 150, 350)
