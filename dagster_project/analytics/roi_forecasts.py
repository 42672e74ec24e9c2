"""ROI forecasts: a fan per use case over the next 90 days, with its back-test."""

from collections.abc import Iterator, Sequence
from datetime import date

import dagster as dg
import duckdb

from dagster_project.analytics._metadata import picture
from dagster_project.analytics.plots import plot_roi_fan
from dagster_project.progress import Progress
from dagster_project.settings import Settings
from dagster_project.statistics.roi import (
    PROBABILITY_DEFINITION,
    Calibration,
    RoiAssumptions,
    RoiFan,
    RoiForecast,
    UseCaseDay,
    UseCaseHistory,
    calibration,
    daily_history,
    roi_fan,
)
from dagster_project.warehouse.connection import open_warehouse

FORECASTS = "roi_forecasts"
CALIBRATION = "roi_calibration"
HORIZON_DAYS = 90
PATHS = 10_000
BACKTEST_HORIZON_DAYS = 7

_FORECASTS_DDL = """
create or replace table analytics.roi_forecasts (
    use_case_id varchar, origin_date date, forecast_date date, day_count bigint,
    p10_cost_usd decimal(38, 9), p50_cost_usd decimal(38, 9), p90_cost_usd decimal(38, 9),
    p10_value_usd decimal(38, 9), p50_value_usd decimal(38, 9), p90_value_usd decimal(38, 9),
    p10_net_usd decimal(38, 9), p50_net_usd decimal(38, 9), p90_net_usd decimal(38, 9),
    p10_roi_share double, p50_roi_share double, p90_roi_share double,
    npv_negative_probability_share double, unavailable_reason varchar
)
"""
_CALIBRATION_DDL = """
create or replace table analytics.roi_calibration (
    horizon_day_count bigint, window_count bigint, covered_share double, below_share double, above_share double,
    skipped_window_count bigint
)
"""


def read_histories(con: duckdb.DuckDBPyConnection) -> list[UseCaseHistory]:
    """Read daily history per use case from the unit economics, up to the last day that any use case has.

    A day counts as unpriced as soon as one of its instances is. An instance whose value nobody scored is taken
    to be worth what the scored ones of its day are on average; without any the value is unknown.
    """
    rows = con.execute(
        """
        select
            use_case_id, started_date, sum(instance_count), sum(success_count),
            case when sum(instance_count) = sum(costed_instance_count) then sum(cost_usd) end,
            sum(valued_instance_count), sum(value_usd)
        from marts.rpt_use_case_unit_economics
        group by all
        order by all
        """
    ).fetchall()
    days: dict[str, list[UseCaseDay]] = {}
    for use_case, day, instances, successes, cost, valued, value in rows:
        value_of_all = value * int(instances) / int(valued) if valued else None
        days.setdefault(use_case, []).append(UseCaseDay(day, int(instances), int(successes), cost, value_of_all))
    last_date = max((row[1] for row in rows), default=date.min)
    return [
        daily_history(use_case, entries, first_date=entries[0].started_date, last_date=last_date)
        for use_case, entries in days.items()
    ]


def store(con: duckdb.DuckDBPyConnection, forecasts: Sequence[tuple[str, RoiForecast]], backtest: Calibration) -> int:
    """Replace `analytics.roi_forecasts` (one row per use case and forecast day) and `analytics.roi_calibration`."""
    con.execute(_FORECASTS_DDL)
    con.execute(_CALIBRATION_DDL)
    rows: list[tuple[object, ...]] = []
    for use_case, forecast in forecasts:
        rows.extend(_fan_rows(forecast.fan) if forecast.fan else [_missing_row(use_case, forecast.reason)])
    if rows:
        con.executemany(f"insert into analytics.roi_forecasts values ({', '.join('?' * 18)})", rows)
    con.execute(
        "insert into analytics.roi_calibration values (?, ?, ?, ?, ?, ?)",
        [
            backtest.horizon_day_count,
            backtest.window_count,
            backtest.covered_share,
            backtest.below_share,
            backtest.above_share,
            backtest.skipped_window_count,
        ],
    )
    return len(rows)


def _fan_rows(fan: RoiFan) -> Iterator[tuple[object, ...]]:
    for point in fan.points:
        bands = [
            band and getattr(band, name)
            for band in (point.cost, point.value, point.net)
            for name in ("p10_usd", "p50_usd", "p90_usd")
        ]
        roi = [point.roi and getattr(point.roi, name) for name in ("p10_share", "p50_share", "p90_share")]
        yield (
            fan.use_case_id,
            fan.origin_date,
            point.forecast_date,
            point.day,
            *bands,
            *roi,
            fan.npv_negative_probability_share,
            fan.value_reason,
        )


def _missing_row(use_case: str, reason: str | None) -> tuple[object, ...]:
    return (use_case, *[None] * 16, reason)


def roi_forecast_assets(settings: Settings) -> dg.AssetsDefinition:
    """Build the asset definition of the ROI forecasts."""

    @dg.multi_asset(
        name="forecast_roi",
        specs=[
            dg.AssetSpec(
                FORECASTS,
                deps=["rpt_use_case_unit_economics"],
                group_name="analytics",
                kinds={"python", "scipy"},
                description="One row per use case and forecast day: P10, P50, P90 of cost, value and ROI so far.",
            ),
            dg.AssetSpec(
                CALIBRATION,
                deps=["rpt_use_case_unit_economics"],
                group_name="analytics",
                kinds={"python"},
                description="One row: how often past intervals of cost held, all use cases together.",
            ),
        ],
    )
    def forecast(progress: dg.ResourceParam[Progress]) -> Iterator[dg.MaterializeResult]:
        with progress.step("analytics", FORECASTS) as step:
            assumptions = RoiAssumptions(horizon_day_count=HORIZON_DAYS, path_count=PATHS)
            with open_warehouse(settings) as con:
                histories = read_histories(con)
                forecasts = [
                    (history.use_case_id, roi_fan(histories, history.use_case_id, assumptions)) for history in histories
                ]
                backtest = calibration(histories, horizon_day_count=BACKTEST_HORIZON_DAYS, path_count=500)
                step.rows = store(con, forecasts, backtest)
        yield dg.MaterializeResult(
            asset_key=FORECASTS,
            metadata={
                "dagster/row_count": step.rows,
                "probability": PROBABILITY_DEFINITION,
                **_pictures(histories, forecasts),
            },
        )
        yield dg.MaterializeResult(
            asset_key=CALIBRATION,
            metadata={
                "dagster/row_count": 1,
                "covered_share": backtest.covered_share if backtest.covered_share is not None else "no window",
                "windows": backtest.window_count,
            },
        )

    return forecast


def _pictures(
    histories: Sequence[UseCaseHistory], forecasts: Sequence[tuple[str, RoiForecast]]
) -> dict[str, dg.MarkdownMetadataValue]:
    by_name = {history.use_case_id: history for history in histories}
    return {
        name: picture(
            plot_roi_fan(
                forecast.fan,
                by_name[name],
                title=f"Net value of {name}" if forecast.fan.npv else f"Cost of {name}",
                measure="net" if forecast.fan.npv else "cost",
            )
        )
        for name, forecast in forecasts
        if forecast.fan is not None
    }
