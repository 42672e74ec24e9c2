"""Publishing as assets: the serving warehouse after the last gate, the finance exports after it."""

from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime
from pathlib import Path

import dagster as dg
import duckdb

from dagster_project.gates import serving as serving_gates
from dagster_project.gates.checks import check_results, check_spec
from dagster_project.gates.expectations import evaluate_suites
from dagster_project.gates.gate import GateResult, GateRun
from dagster_project.gates.results import record
from dagster_project.progress import Progress
from dagster_project.publish.exports import export_period
from dagster_project.publish.serving import build_serving
from dagster_project.settings import Settings
from dagster_project.warehouse import restatement
from dagster_project.warehouse.calendar import Calendar
from dagster_project.warehouse.connection import open_warehouse
from dagster_project.warehouse.run_window import run_window

SERVING = "serving_warehouse"
EXPORTS = "finance_exports"


def serving_assets(settings: Settings, upstream: Sequence[str], parts: frozenset[str]) -> dg.AssetsDefinition:
    """Build the asset that publishes the serving warehouse.

    Args:
        settings: The configuration.
        upstream: Keys of everything that must have been built and judged.
        parts: What the configuration feeds, see `gates.serving.PARTS`.
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
            run_id=context.run_id,
            checked_at=now,
            window_start_date=window.first_date,
            window_end_date=window.last_date,
        )

        def judge_candidate(path: Path) -> list[GateResult]:
            return evaluate_suites(database_path=path, suites=suites, run=run)

        with progress.step("publish", SERVING) as step, open_warehouse(settings) as con:
            manifest = build_serving(
                warehouse_path=settings.warehouse_path,
                serving_path=settings.serving_path,
                built_at=now,
                as_of=_as_of(con, settings, now),
                gate_results=_earlier_results(con, context.run_id),
                judge_candidate=judge_candidate,
                connection=con,
            )
            judged = [result for result in manifest.gate_results if result.stage == "serving"]
            record(con, judged)
            if manifest.is_published:
                restatement.close_requests(
                    con, window, requested_until=_run_start(context, now), built_at=datetime.now(UTC)
                )
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
    """Build the asset that writes the finance exports of every month the ledger holds."""

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
                for period in published_periods(settings.serving_path)
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


def published_periods(serving_path: Path) -> list[str]:
    """Give the months, `YYYY-MM`, on which the published ledger has calls or invoices."""
    with duckdb.connect(str(serving_path), read_only=True) as con:
        rows = con.execute(
            """
            select distinct strftime(event_date, '%Y-%m') from marts.rpt_daily_spend
            union
            select distinct strftime(billing_period_start_date, '%Y-%m') from marts.fct_invoice_lines
            order by 1
            """
        ).fetchall()
    return [row[0] for row in rows]


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
    stats = context.instance.get_run_stats(context.run_id)
    return datetime.fromtimestamp(stats.start_time, UTC) if stats.start_time else now
