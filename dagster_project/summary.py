"""What a run found, read from the published file: the figures of the closing screen and of `--json`."""

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import duckdb

from dagster_project.runner import RunOutcome
from dagster_project.settings import Settings
from dagster_project.warehouse.connection import open_warehouse

_REJECTED_TABLES = (
    "intermediate.int_usage__calls_rejected",
    "intermediate.int_billing__lines_rejected",
    "intermediate.int_value__scores_rejected",
)


@dataclass(frozen=True)
class Summary:
    """The closing figures of a run, as plain rows.

    Attributes:
        spend_by_provider: provider, calls, list cost, effective cost.
        use_cases: use case, instances, success share, cost, cost per instance and per success over those whose
            whole cost is known, value, ROI with its interval.
        capacity: commitment, cost, used, idle, unallocated, utilisation.
        rejected: reason and rows.
        gates: passed and failed counts of the run.
        totals: call count, list, contracted and effective cost, unpriced calls, coverage.
    """

    spend_by_provider: list[dict[str, Any]]
    use_cases: list[dict[str, Any]]
    capacity: list[dict[str, Any]]
    rejected: list[dict[str, Any]]
    totals: dict[str, Any]


def summarize(settings: Settings) -> Summary | None:
    """Read the published figures; None when nothing was ever published."""
    if not settings.serving_path.exists():
        return None
    with duckdb.connect(str(settings.serving_path), read_only=True) as con:
        con.execute("set TimeZone = 'UTC'")
        return Summary(
            spend_by_provider=_rows(
                con,
                """
                select provider_name, sum(call_count) as call_count, sum(list_cost_usd) as list_cost_usd,
                    sum(effective_cost_usd) as effective_cost_usd, sum(unpriced_call_count) as unpriced_call_count
                from marts.rpt_daily_spend group by all order by effective_cost_usd desc nulls last
                """,
            ),
            use_cases=_rows(
                con,
                """
                select board.use_case_id, board.instance_count, board.uncosted_instance_count, board.success_share,
                    board.cost_usd, board.cost_usd_per_costed_instance, board.cost_usd_per_costed_success,
                    board.value_usd, board.margin_usd, board.roi_share,
                    fan.p10_roi_share, fan.p50_roi_share, fan.p90_roi_share, fan.forecast_date
                from marts.rpt_use_case_leaderboard as board
                left join (
                    from analytics.roi_forecasts
                    qualify row_number() over (partition by use_case_id order by day_count desc) = 1
                ) as fan using (use_case_id)
                order by board.margin_rank
                """,
            ),
            capacity=_rows(
                con,
                """
                select commitment_id, sum(cost_usd) as cost_usd, sum(used_cost_usd) as used_cost_usd,
                    sum(idle_cost_usd) as idle_cost_usd, sum(unallocated_cost_usd) as unallocated_cost_usd,
                    sum(used_tokens) / nullif(sum(capacity_tokens), 0) as utilization_share,
                    sum(spillover_call_count) as spillover_call_count
                from marts.rpt_capacity_utilization group by all order by cost_usd desc
                """,
            ),
            rejected=_rejected(settings),
            totals=_rows(
                con,
                """
                select sum(call_count) as call_count, sum(list_cost_usd) as list_cost_usd,
                    sum(contracted_cost_usd) as contracted_cost_usd, sum(effective_cost_usd) as effective_cost_usd,
                    sum(unpriced_call_count) as unpriced_call_count, min(event_date) as first_date,
                    max(event_date) as last_date
                from marts.rpt_daily_spend
                """,
            )[0],
        )


def as_json(settings: Settings, outcome: RunOutcome, summary: Summary | None, seconds: float) -> dict[str, Any]:
    """Build the object that `--json` prints; money is text, exact to its last digit."""
    rejected = summary.rejected if summary else []
    return {
        "is_success": outcome.is_success,
        "organization": settings.organization,
        "state_path": str(settings.state_dir),
        "serving_path": str(settings.serving_path) if settings.serving_path.exists() else None,
        "exports_path": str(settings.exports_dir) if settings.exports_dir.exists() else None,
        "run_ids": outcome.run_ids,
        "built_days": [{"first_date": first, "last_date": last} for first, last in outcome.ranges],
        "gates": {
            "passed_count": outcome.passed_count,
            "failed_count": len(outcome.failed_checks),
            "failed": [vars(check) for check in outcome.failed_checks],
        },
        "failures": outcome.failures,
        "rows": {
            "calls": summary.totals["call_count"] if summary else None,
            "unpriced_calls": summary.totals["unpriced_call_count"] if summary else None,
            "rejected": sum(row["row_count"] for row in rejected),
            "rejected_by_reason": rejected,
        },
        "spend_usd": {
            "list": summary.totals["list_cost_usd"] if summary else None,
            "contracted": summary.totals["contracted_cost_usd"] if summary else None,
            "effective": summary.totals["effective_cost_usd"] if summary else None,
            "by_provider": summary.spend_by_provider if summary else [],
        },
        "use_cases": summary.use_cases if summary else [],
        "capacity": summary.capacity if summary else [],
        "seconds": round(seconds, 1),
    }


def json_default(value: object) -> object:
    """Encode what JSON has no form for: decimals as exact text, everything else as its text."""
    return format(value, "f") if isinstance(value, Decimal) else str(value)


def _rejected(settings: Settings) -> list[dict[str, Any]]:
    """Count rejected rows by boundary and reason, landing first."""
    with open_warehouse(settings) as con:
        views = [
            row[0]
            for row in con.execute(
                "select table_name from information_schema.tables "
                "where table_schema = 'raw' and table_name like '%_rejected' order by 1"
            ).fetchall()
        ]
        landing = [f"select 'landing' as stage, reason_code as reason from raw.{view}" for view in views]
        later = [f"select 'intermediate' as stage, reject_reason as reason from {table}" for table in _REJECTED_TABLES]
        return _rows(
            con,
            f"select stage, reason, count(*) as row_count from ({' union all '.join([*landing, *later])}) "
            "group by all order by stage desc, row_count desc, reason",
        )


def _rows(con: duckdb.DuckDBPyConnection, sql: str) -> list[dict[str, Any]]:
    cursor = con.execute(sql)
    names = [column[0] for column in cursor.description or ()]
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
