"""Cost distributions: one per use case and version, as histogram, fit and honest percentiles.

`analytics.cost_log_histograms` is the stored statistic; everything else can be computed from it again.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal

import dagster as dg
import duckdb
import orjson

from dagster_project.analytics._metadata import picture
from dagster_project.analytics.plots import plot_cost_distribution
from dagster_project.progress import Progress
from dagster_project.settings import Settings
from dagster_project.statistics.log_histogram import LogHistogram, bucket_sql
from dagster_project.statistics.lognormal_mixture import LognormalMixture, fit_lognormal_mixture
from dagster_project.statistics.percentiles import Percentile, publish_percentiles
from dagster_project.warehouse.connection import open_warehouse

HISTOGRAMS = "cost_log_histograms"
DISTRIBUTIONS = "cost_distributions"

_HISTOGRAMS_SQL = f"""
create or replace table analytics.cost_log_histograms as
select
    use_case_id,
    coalesce(use_case_version, 'unversioned') as use_case_version,
    cost_usd is not null as has_cost,
    case when cost_usd > 0 then {bucket_sql("cost_usd")} end as bucket_id,
    cast(count(*) as bigint) as instance_count,
    cast(sum(cost_usd) as decimal(38, 15)) as cost_usd,
    cast(sum(case when is_success then 1 else 0 end) as bigint) as success_count
from marts.fct_use_case_instances
group by all
order by all
"""

_DISTRIBUTIONS_DDL = """
create or replace table analytics.cost_distributions (
    use_case_id varchar, use_case_version varchar, costed_instance_count bigint,
    uncosted_instance_count bigint, zero_cost_instance_count bigint, cost_usd decimal(38, 15),
    mean_cost_usd decimal(38, 15), quantile_share double, quantile_cost_usd decimal(38, 15),
    low_cost_usd decimal(38, 15), high_cost_usd decimal(38, 15), provenance_type varchar, unavailable_reason varchar,
    component_count bigint, mixture_json varchar
)
"""


@dataclass(frozen=True)
class CostDistribution:
    """The distribution of one use case and version.

    Attributes:
        use_case_id: The use case.
        use_case_version: Its version.
        histogram: Costs of the instances whose whole cost is known.
        uncosted_instance_count: Instances with an unpriced call: their cost is unknown and not in the histogram.
        mixture: The fit; None without a positive cost.
        percentiles: What the sample carries.
    """

    use_case_id: str
    use_case_version: str
    histogram: LogHistogram
    uncosted_instance_count: int
    mixture: LognormalMixture | None
    percentiles: tuple[Percentile, ...]


def read_histograms(con: duckdb.DuckDBPyConnection) -> dict[tuple[str, str], LogHistogram]:
    """Read the stored histograms, by use case and version; empty where no instance has a known cost."""
    counts: dict[tuple[str, str], dict[int, int]] = {}
    zeros: dict[tuple[str, str], int] = {}
    sums: dict[tuple[str, str], Decimal] = {}
    for use_case, version, has_cost, bucket, count, cost in con.execute(
        "select use_case_id, use_case_version, has_cost, bucket_id, instance_count, cost_usd "
        "from analytics.cost_log_histograms"
    ).fetchall():
        key = (use_case, version)
        sums[key] = sums.get(key, Decimal(0)) + (cost if has_cost else 0)
        if bucket is not None:
            counts.setdefault(key, {})[bucket] = count
        elif has_cost:
            zeros[key] = zeros.get(key, 0) + count
    return {
        key: LogHistogram.from_counts(counts.get(key, {}), zero_count=zeros.get(key, 0), sum_usd=sums[key])
        for key in sorted(sums)
    }


def read_uncosted_counts(con: duckdb.DuckDBPyConnection) -> dict[tuple[str, str], int]:
    """Read how many instances have no known cost, by use case and version; those without any are left out."""
    rows = con.execute(
        "select use_case_id, use_case_version, instance_count from analytics.cost_log_histograms where not has_cost"
    ).fetchall()
    return {(use_case, version): count for use_case, version, count in rows}


def distribution(
    use_case_id: str, use_case_version: str, histogram: LogHistogram, *, uncosted_instance_count: int
) -> CostDistribution:
    """Fit a histogram and read off the percentiles that its sample carries."""
    return CostDistribution(
        use_case_id=use_case_id,
        use_case_version=use_case_version,
        histogram=histogram,
        uncosted_instance_count=uncosted_instance_count,
        mixture=fit_lognormal_mixture(histogram),
        percentiles=publish_percentiles(histogram),
    )


def read_distributions(con: duckdb.DuckDBPyConnection) -> list[CostDistribution]:
    """Fit every stored histogram, ordered by use case and version."""
    uncosted = read_uncosted_counts(con)
    return [
        distribution(*key, histogram, uncosted_instance_count=uncosted.get(key, 0))
        for key, histogram in read_histograms(con).items()
    ]


def store(con: duckdb.DuckDBPyConnection, distributions: Sequence[CostDistribution]) -> int:
    """Replace `analytics.cost_distributions`: one row per use case, version and quantile."""
    con.execute(_DISTRIBUTIONS_DDL)
    rows = [
        (
            item.use_case_id,
            item.use_case_version,
            item.histogram.count,
            item.uncosted_instance_count,
            item.histogram.zero_count,
            item.histogram.sum_usd if item.histogram.count else None,
            item.histogram.mean_usd,
            percentile.quantile,
            percentile.value_usd,
            percentile.low_usd,
            percentile.high_usd,
            percentile.provenance,
            percentile.reason,
            item.mixture.component_count if item.mixture else None,
            _mixture_json(item.mixture),
        )
        for item in distributions
        for percentile in item.percentiles
    ]
    if rows:
        con.executemany(f"insert into analytics.cost_distributions values ({', '.join('?' * 15)})", rows)
    return len(rows)


def _mixture_json(mixture: LognormalMixture | None) -> str | None:
    if mixture is None:
        return None
    return orjson.dumps(
        {
            "weights": mixture.weights,
            "means_log_usd": mixture.means_log,
            "sds_log_usd": mixture.sds_log,
            "zero_share": mixture.zero_share,
            "bic": mixture.bic if math.isfinite(mixture.bic) else None,
        }
    ).decode()


def cost_distribution_assets(settings: Settings) -> dg.AssetsDefinition:
    """Build the asset definition of the cost distributions."""

    @dg.multi_asset(
        name="fit_cost_distributions",
        specs=[
            dg.AssetSpec(
                HISTOGRAMS,
                deps=["fct_use_case_instances"],
                group_name="analytics",
                kinds={"duckdb"},
                description="One row per use case, version and 1 % cost bucket, unknown costs apart: what is stored.",
            ),
            dg.AssetSpec(
                DISTRIBUTIONS,
                deps=[HISTOGRAMS, "fct_use_case_instances"],
                group_name="analytics",
                kinds={"python", "scipy"},
                description="One row per use case, version and quantile: the percentile, its interval, the fit.",
            ),
        ],
    )
    def fit(progress: dg.ResourceParam[Progress]) -> Iterator[dg.MaterializeResult]:
        with progress.step("analytics", DISTRIBUTIONS) as step:
            with open_warehouse(settings) as con:
                con.execute(_HISTOGRAMS_SQL)
                fitted = read_distributions(con)
                step.rows = store(con, fitted)
                bucket_count = sum(len(item.histogram.buckets) for item in fitted)
            pictures = {
                f"{item.use_case_id} v{item.use_case_version}": picture(
                    plot_cost_distribution(
                        item.histogram,
                        item.mixture,
                        item.percentiles,
                        f"Cost of one instance: {item.use_case_id}, version {item.use_case_version}",
                    )
                )
                for item in sorted(fitted, key=lambda item: item.histogram.sum_usd, reverse=True)
                if item.histogram.buckets
            }
        yield dg.MaterializeResult(asset_key=HISTOGRAMS, metadata={"dagster/row_count": bucket_count})
        yield dg.MaterializeResult(
            asset_key=DISTRIBUTIONS, metadata={"dagster/row_count": step.rows, "distributions": len(fitted), **pictures}
        )

    return fit
