"""The cross-stage gates as blocking asset checks, judged over the days of the run."""

from collections.abc import Iterator
from datetime import UTC, datetime

import dagster as dg

from dagster_project.gates.checks import check_result, check_spec
from dagster_project.gates.gate import GateRun
from dagster_project.gates.ledger import LEDGER_GATES, LedgerGate
from dagster_project.gates.results import record
from dagster_project.gates.sql_gate import judge
from dagster_project.progress import Progress
from dagster_project.settings import Settings
from dagster_project.warehouse.connection import open_warehouse
from dagster_project.warehouse.run_window import run_window


def ledger_checks(settings: Settings, parts: frozenset[str]) -> list[dg.AssetChecksDefinition]:
    """Build one check per gate that this configuration gives something to judge."""
    return [_check(settings, gate) for gate in LEDGER_GATES if gate.needs in parts]


def _check(settings: Settings, ledger_gate: LedgerGate) -> dg.AssetChecksDefinition:
    @dg.multi_asset_check(
        name=f"judge_{ledger_gate.gate.gate_name}",
        specs=[check_spec(ledger_gate.gate, ledger_gate.asset_key)],
    )
    def judged(
        context: dg.AssetCheckExecutionContext, progress: dg.ResourceParam[Progress]
    ) -> Iterator[dg.AssetCheckResult]:
        window = run_window(context.run.tags, settings)
        run = GateRun(
            run_id=context.run.run_id,
            checked_at=datetime.now(UTC),
            window_start_date=window.first_date,
            window_end_date=window.last_date,
        )
        with progress.step("gates", ledger_gate.gate.gate_name), open_warehouse(settings) as con:
            result = judge(
                con,
                ledger_gate.gate,
                ledger_gate.sql,
                {"min_date": window.first_date, "max_date": window.last_date},
                run=run,
            )
            record(con, [result])
        yield check_result(result, ledger_gate.asset_key)

    return judged
