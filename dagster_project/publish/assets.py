"""Publishing as assets: the serving warehouse after the last gate, the finance exports after it."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import dagster as dg
import duckdb
import orjson

from dagster_project.gates import serving as serving_gates
from dagster_project.gates.checks import check_results, check_spec
from dagster_project.gates.expectations import Suite, evaluate_suites
from dagster_project.gates.gate import GateResult, GateRun
from dagster_project.gates.results import record
from dagster_project.progress import Progress
from dagster_project.publish import published_bills, published_spend
from dagster_project.publish.exports import (
    MANIFEST_NAME,
    differs_from_export,
    export_period,
    exported_periods,
    period_bounds,
)
from dagster_project.publish.serving import ReplacedDays, build_serving
from dagster_project.settings import Settings
from dagster_project.warehouse import restatement
from dagster_project.warehouse.calendar import AFTER_ALL, BEFORE_ALL, Calendar, Window
from dagster_project.warehouse.connection import open_warehouse
from dagster_project.warehouse.dbt import DailyTable
from dagster_project.warehouse.run_window import run_window

SERVING = "serving_warehouse"
EXPORTS = "finance_exports"


def serving_assets(
    settings: Settings, upstream: Sequence[str], parts: frozenset[str], daily_tables: Mapping[str, DailyTable]
) -> dg.AssetsDefinition:
    """Build the asset that publishes the serving warehouse.

    Args:
        settings: The configuration.
        upstream: Keys of everything that must have been built and judged.
        parts: What the configuration feeds, see `gates.serving.PARTS`.
        daily_tables: The marts that are built day by day.
    """
    calendar = Calendar.of(settings)
    suites = serving_gates.suites(
        start_date=date.min, end_date=calendar.last_date, parts=[part for part in serving_gates.PARTS if part in parts]
    )

    @dg.multi_asset(
        name="publish_serving_warehouse",
        specs=[
            dg.AssetSpec(
                SERVING,
                deps=list(upstream),
                group_name="publish",
                kinds={"duckdb"},
                description="The published DuckDB file: marts, analytics and the gate results that let it through.",
            )
        ],
        check_specs=[check_spec(gate, SERVING) for suite in suites for gate in suite.gates],
    )
    def publish(
        context: dg.AssetExecutionContext, progress: dg.ResourceParam[Progress]
    ) -> Iterator[dg.MaterializeResult | dg.AssetCheckResult]:
        now = datetime.now(UTC)
        window = run_window(context.run.tags, settings)
        run = GateRun(
            run_id=context.run.run_id,
            checked_at=now,
            window_start_date=window.first_date,
            window_end_date=window.last_date,
        )

        def judge_candidate(path: Path) -> list[GateResult]:
            return evaluate_suites(database_path=path, suites=judged_suites, run=run)

        with progress.step("publish", SERVING) as step, open_warehouse(settings) as con:
            _require_finished(con, window)
            published_spend.note_spend(con, settings.serving_path, window, published_at=now)
            published_bills.note_periods(con, settings.serving_path, published_at=now)
            judged_suites = [_over_window(con, suite, window, daily_tables) for suite in suites]
            manifest = build_serving(
                warehouse_path=settings.warehouse_path,
                serving_path=settings.serving_path,
                built_at=now,
                as_of=_as_of(con, settings, now),
                gate_results=_earlier_results(con, context.run.run_id),
                judge_candidate=judge_candidate,
                replaced_days=_replaced_days(daily_tables, window, calendar),
                connection=con,
            )
            judged = [result for result in manifest.gate_results if result.stage == "serving"]
            record(con, judged)
            if manifest.is_published:
                restatement.note_new_models(con)
                restatement.close_requests(
                    con, window, requested_until=_run_start(context, now), built_at=datetime.now(UTC)
                )
            else:
                published_spend.take_back(con, published_at=now)
                published_bills.take_back(con, published_at=now)
            step.rows = sum(relation.row_count for relation in manifest.relations if relation.row_count is not None)
        if manifest.is_published:
            yield dg.MaterializeResult(
                asset_key=SERVING,
                metadata={
                    "path": dg.MetadataValue.path(str(manifest.serving_path)),
                    "dagster/row_count": step.rows,
                    "built_at": manifest.built_at.isoformat(),
                    "as_of": manifest.as_of.isoformat(),
                    "bytes": manifest.file_bytes,
                },
            )
        yield from check_results(judged, SERVING)
        if not manifest.is_published:
            raise dg.Failure(
                description="The serving warehouse was not replaced; readers keep the former one. Failed gates: "
                + "; ".join(manifest.refusals)
                + ". Correct the cause and build again."
            )

    return publish


def export_assets(settings: Settings) -> dg.AssetsDefinition:
    """Build the asset that writes the finance exports of the months that were published since they were exported."""

    @dg.asset(
        name=EXPORTS,
        deps=[SERVING],
        group_name="publish",
        kinds={"parquet", "csv", "excel"},
        description="Per month: Parquet, CSV and XLSX tables with a manifest of rows, totals and hashes.",
    )
    def export(progress: dg.ResourceParam[Progress]) -> dg.MaterializeResult:
        now = datetime.now(UTC)
        with progress.step("publish", EXPORTS) as step:
            manifests = [
                export_period(
                    serving_path=settings.serving_path, exports_dir=settings.exports_dir, period=period, built_at=now
                )
                for period in stale_periods(settings)
            ]
            step.rows = sum(file.row_count for manifest in manifests for file in manifest.files)
        return dg.MaterializeResult(
            metadata={
                "path": dg.MetadataValue.path(str(settings.exports_dir)),
                "dagster/row_count": step.rows,
                "periods": [manifest.period for manifest in manifests],
            }
        )

    return export


def _replaced_days(tables: Mapping[str, DailyTable], window: Window, calendar: Calendar) -> dict[str, ReplacedDays]:
    """Say which days of each daily table a run built; nothing when it built them all, for a copy is simpler then."""
    if window == calendar.window(calendar.first_date, calendar.last_date):
        return {}
    widened = {name: _widened(window, table.rebuilt_days_around) for name, table in tables.items()}
    return {
        name: ReplacedDays(day_column=tables[name].day_column, first_date=days.first_date, last_date=days.last_date)
        for name, days in widened.items()
    }


def _widened(window: Window, days: int) -> Window:
    """Widen a window at both ends; an open end stays as it is."""
    return Window(
        first_date=max(window.first_date - timedelta(days=days), BEFORE_ALL),
        last_date=AFTER_ALL if window.last_date == AFTER_ALL else window.last_date + timedelta(days=days),
    )


def published_periods(con: duckdb.DuckDBPyConnection) -> list[str]:
    """Give the months, `YYYY-MM`, on which the published ledger has calls or invoices."""
    rows = con.execute(
        """
        select distinct strftime(event_date, '%Y-%m') from marts.rpt_daily_spend
        union
        select distinct strftime(billing_period_start_date, '%Y-%m') from marts.fct_invoice_lines
        order by 1
        """
    ).fetchall()
    return [row[0] for row in rows]


def stale_periods(settings: Settings) -> list[str]:
    """Give the months whose export is missing, is older than what is published of their days, or says something else.

    A run that was killed between publishing and exporting leaves such months behind; the next one finds them here.
    """
    if not settings.serving_path.exists():
        return []
    with open_warehouse(settings) as warehouse:
        published = restatement.published_days(warehouse)
    calendar = Calendar.of(settings)
    exported = exported_periods(settings.exports_dir)
    with duckdb.connect(str(settings.serving_path), read_only=True) as con:
        return [
            period
            for period in sorted({*published_periods(con), *exported})
            if period not in exported
            or _is_older(settings.exports_dir / period / MANIFEST_NAME, period, published, calendar)
            or differs_from_export(con, settings.exports_dir, period)
        ]


def _is_older(manifest: Path, period: str, published: Mapping[date, datetime], calendar: Calendar) -> bool:
    exported_at = datetime.fromisoformat(orjson.loads(manifest.read_bytes())["built_at"])
    first, after = period_bounds(period)
    # Records from before the first day, or after the last, are built with it.
    first, last = calendar.clamp(first), calendar.clamp(after - timedelta(days=1))
    return any(first <= day <= last and at > exported_at for day, at in published.items())


def _require_finished(con: duckdb.DuckDBPyConnection, window: Window) -> None:
    """Refuse to publish while the ledger holds days whose own build did not pass its gates."""
    days = restatement.unfinished_days(con, outside=window)
    if days:
        raise dg.Failure(
            description=f"The serving warehouse was not replaced: {len(days)} other days ({days[0]} to {days[-1]}) "
            "were written by a build that did not end, or whose gates failed. Expected none; build those days first."
        )


def _over_window(
    con: duckdb.DuckDBPyConnection, suite: Suite, window: Window, tables: Mapping[str, DailyTable]
) -> Suite:
    """Restrict a dated suite to the days built; when they hold no row, to the latest day before their end that does.

    What was published before was judged when it was built, and is what the cross-stage gates leave untouched.
    """
    if suite.day_column is None:
        return suite
    table = tables.get(suite.relation.removeprefix("marts."))
    built = _widened(window, table.rebuilt_days_around if table else 0)
    found = con.execute(
        f"select max({suite.day_column}) from {suite.relation} where {suite.day_column} <= $last",
        {"last": built.last_date},
    ).fetchone()
    latest = found[0] if found and found[0] is not None else built.last_date
    return suite.over_window(min(built.first_date, latest), built.last_date + timedelta(days=1))


def _as_of(con: duckdb.DuckDBPyConnection, settings: Settings, now: datetime) -> datetime:
    """Give the instant up to which the data reach: the latest landing."""
    found = con.execute("select max(landed_at) from ops.landings").fetchone()
    latest: datetime | None = found[0] if found else None
    return latest or settings.as_of or now


def _earlier_results(con: duckdb.DuckDBPyConnection, run_id: str) -> list[GateResult]:
    """Give the run's own judgements and, for each raw gate, the latest one."""
    rows = con.execute(
        """
        select * from ops.gate_results where run_id = $run_id and stage <> 'raw'
        union all
        select * from (
            select * from ops.gate_results
            where stage = 'raw'
            qualify row_number() over (partition by gate_name order by checked_at desc) = 1
        )
        """,
        {"run_id": run_id},
    )
    names = [column[0] for column in rows.description or ()]
    return [GateResult(**dict(zip(names, row, strict=True))) for row in rows.fetchall()]


def _run_start(context: dg.AssetExecutionContext, now: datetime) -> datetime:
    stats = context.instance.get_run_stats(context.run.run_id)
    return datetime.fromtimestamp(stats.start_time, UTC) if stats.start_time else now
