"""The deployment that is 15 % used at its best, worked out again from the files and the seeds."""

import csv
from pathlib import Path

import polars as pl

from tests.demo.conftest import Feeds
from tests.demo.feed_reading import table

SEEDS = Path(__file__).parents[2] / "seeds"


def test_drafting_uses_exactly_fifteen_percent_in_its_best_hour(feeds: Feeds, small_feeds: Feeds):
    with (SEEDS / "seed_deployments.csv").open(encoding="utf-8", newline="") as file:
        seed = next(row for row in csv.DictReader(file) if row["deployment_id"] == "ptu-drafting-gpt-41")
    # 3,000 tokens a minute and PTU, an output token weighs as four: as seed_capacity_throughputs.csv says of gpt-4.1.
    assert int(seed["allocated_units"]) * 3000 * 60 == 9_000_000
    for each in (feeds, small_feeds):
        work = (
            table(each.folder, "calls/drafting/*.csv")
            .with_columns(
                hour=pl.col("at").str.slice(0, 13),
                work=pl.col("in_total") - pl.col("in_cached") + 4 * pl.col("out_total"),
            )
            .group_by("hour")
            .agg(pl.col("work").sum())
        )
        truth = next(item for item in each.truths.deployments if item.deployment_id == seed["deployment_id"])
        assert work["work"].max() == 1_350_000
        assert truth.best_hour_at.strftime("%Y-%m-%dT%H") in set(work.filter(pl.col("work") == 1_350_000)["hour"])
        assert work["work"].sum() == truth.used_tokens
        assert str(truth.best_hour_share) == "0.150000"
