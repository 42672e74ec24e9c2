"""The reserved GPU instances: busy four tenths of the time, never more than full."""

import polars as pl

from tests.demo.conftest import Feeds
from tests.demo.feed_reading import table


def test_instances_work_four_tenths_of_the_time_and_are_never_overfull(feeds: Feeds):
    rows = table(feeds.folder, "calls/research/*.jsonl").filter(pl.col("when").str.starts_with("2026"))
    # Four instances x 60,000 tokens a minute x 60 minutes.
    capacity = 14_400_000
    work = rows.with_columns(hour=pl.col("when").str.slice(0, 13), work=pl.col("tokens_in") + 4 * pl.col("tokens_out"))
    per_hour = work.group_by("hour").agg(pl.col("work").sum())["work"]
    truth = next(item for item in feeds.truths.deployments if item.deployment_id == "gpu-llama-eval")
    assert per_hour.sum() == truth.used_tokens
    assert round(per_hour.sum() / (capacity * 42 * 24), 6) == float(truth.mean_share)
    assert per_hour.max() <= capacity
    assert 0.3 <= float(truth.mean_share) <= 0.41
