"""Gates across stages: what goes in comes out, in rows, tokens and money, per source and day.

Each is one SQL file in `sql/gates/` under the gate's own name; it is judged over the days of the run's window.
"""

from dataclasses import dataclass
from pathlib import Path

from dagster_project.gates.gate import Gate

GATES_DIR = Path(__file__).resolve().parents[2] / "sql" / "gates"


@dataclass(frozen=True)
class LedgerGate:
    """A gate judged by a SQL file.

    Attributes:
        gate: The gate.
        asset_key: The asset whose check it is; what lies below it waits for the gate.
        needs: What the company must have for it to have anything to judge: a feed, use_cases, commitments.
    """

    gate: Gate
    asset_key: str
    needs: str

    @property
    def sql(self) -> str:
        """The query, from `sql/gates/`."""
        return (GATES_DIR / f"{self.gate.gate_name}.sql").read_text(encoding="utf-8")


LEDGER_GATES: tuple[LedgerGate, ...] = (
    LedgerGate(
        gate=Gate(
            stage="intermediate",
            subject="usage",
            aspect="rows",
            predicate="conserved",
            rule="Per source and day, landed records are calls, rejected records or records that are no calls.",
            why="A record that is none of these vanished, and its cost with it.",
            tool="sql",
        ),
        asset_key="fct_calls",
        needs="usage",
    ),
    LedgerGate(
        gate=Gate(
            stage="marts",
            subject="fct_calls",
            aspect="tokens",
            predicate="conserved",
            rule="Per source and day, reported tokens are those of the ledger's unit kinds and of the rejects.",
            why="A token that is lost or counted twice is money that is wrong.",
            tool="sql",
        ),
        asset_key="fct_calls",
        needs="usage",
    ),
    LedgerGate(
        gate=Gate(
            stage="marts",
            subject="fct_calls",
            aspect="free_units",
            predicate="conserved",
            rule="The calls' free units are those of the allowances, at most what a call used and a period grants.",
            why="A unit that is free twice, or that nobody granted, is on the bill and not in the ledger.",
            tool="sql",
        ),
        asset_key="fct_calls",
        needs="usage",
    ),
    LedgerGate(
        gate=Gate(
            stage="marts",
            subject="fct_call_charges",
            aspect="costs",
            predicate="conserved",
            rule="Per day, the charges by unit kind add up to the costs of the calls, to the last digit.",
            why="The arithmetic that explains a call must be the arithmetic that priced it.",
            tool="sql",
        ),
        asset_key="fct_call_charges",
        needs="usage",
    ),
    LedgerGate(
        gate=Gate(
            stage="marts",
            subject="rpt_daily_spend",
            aspect="costs",
            predicate="conserved",
            rule="Per day, the spend report adds up to the calls, to the last digit.",
            why="Finance adds up the report; it must be the ledger.",
            tool="sql",
        ),
        asset_key="rpt_daily_spend",
        needs="usage",
    ),
    LedgerGate(
        gate=Gate(
            stage="intermediate",
            subject="daily_charges",
            aspect="costs",
            predicate="conserved",
            rule="Per source and day, the daily charges are every call once, and its costs to the last digit.",
            why="Bills, allocations and exports read them in place of the calls.",
            tool="sql",
        ),
        asset_key="int_allocation__daily_charges",
        needs="usage",
    ),
    LedgerGate(
        gate=Gate(
            stage="marts",
            subject="rpt_reported_costs",
            aspect="costs",
            predicate="conserved",
            rule="Per day, the report of stated costs adds up to the calls that state one, to the last digit.",
            why="A difference between the ledger and a provider must be of the same calls.",
            tool="sql",
        ),
        asset_key="rpt_reported_costs",
        needs="usage",
    ),
    LedgerGate(
        gate=Gate(
            stage="marts",
            subject="fct_cost_allocations",
            aspect="costs",
            predicate="conserved",
            rule="What is allocated or not is what calls cost, bills charge and people declared, each once.",
            why="A cost that is allocated twice is paid twice, one that is lost by nobody.",
            tool="sql",
        ),
        asset_key="fct_cost_allocations",
        needs="usage",
    ),
    LedgerGate(
        gate=Gate(
            stage="marts",
            subject="fct_use_case_instances",
            aspect="costs",
            predicate="conserved",
            rule="Per day, instances cost what their calls cost, to the last digit.",
            why="Cost per outcome is the sum of the calls behind it.",
            tool="sql",
        ),
        asset_key="fct_use_case_instances",
        needs="use_cases",
    ),
    LedgerGate(
        gate=Gate(
            stage="marts",
            subject="fct_capacity_hours",
            aspect="costs",
            predicate="conserved",
            rule="Per day, a commitment's hours cost what was bought and run, and calls bear what was used.",
            why="Bought capacity is paid for in full, and each part of it once.",
            tool="sql",
        ),
        asset_key="rpt_capacity_utilization",
        needs="commitments",
    ),
    LedgerGate(
        gate=Gate(
            stage="marts",
            subject="fct_capacity_hours",
            aspect="spillover",
            predicate="conserved",
            rule="Per day, every call that spilled over is in one capacity hour, and so is its work.",
            why="Spillover without an hour hides that the capacity is too small; in two, it shows twice the need.",
            tool="sql",
        ),
        asset_key="fct_capacity_hours",
        needs="commitments",
    ),
    LedgerGate(
        gate=Gate(
            stage="marts",
            subject="fct_invoice_lines",
            aspect="amounts",
            predicate="conserved",
            rule="Per source and currency, the lines that count and the superseded ones bill what was landed.",
            why="The bill is the one figure that finance pays.",
            tool="sql",
        ),
        asset_key="fct_invoice_lines",
        needs="invoices",
    ),
    LedgerGate(
        gate=Gate(
            stage="marts",
            subject="fct_invoice_lines",
            aspect="conversion",
            predicate="reconciled",
            rule="Each amount in USD is the billed one at the rate of exchange of the charge's first day.",
            why="An amount at another day's rate, or none where there is a rate, is a bill that nobody was sent.",
            tool="sql",
        ),
        asset_key="fct_invoice_lines",
        needs="invoices",
    ),
    LedgerGate(
        gate=Gate(
            stage="marts",
            subject="fct_provider_usage",
            aspect="units",
            predicate="conserved",
            rule="Per source and day, landed results count or are rejected, with the tokens that they report.",
            why="What a provider counted is the measure of what telemetry misses.",
            tool="sql",
        ),
        asset_key="fct_provider_usage",
        needs="reports",
    ),
    LedgerGate(
        gate=Gate(
            stage="marts",
            subject="rpt_daily_reconciliation",
            aspect="amounts",
            predicate="reconciled",
            rule="Per account and day, the steps are the usage report's units and the cost report's lines and amount.",
            why="A difference that is left out is one that nobody explains.",
            tool="sql",
        ),
        asset_key="rpt_daily_reconciliation",
        needs="usage",
    ),
    LedgerGate(
        gate=Gate(
            stage="marts",
            subject="fct_period_charges",
            aspect="amounts",
            predicate="reconciled",
            rule="Per billing period, the calls' effective cost and the charges are the bill, and each call is in one.",
            why="A part of the bill or of the ledger that is in no row is a difference that nobody sees.",
            tool="sql",
        ),
        asset_key="fct_period_charges",
        needs="invoices",
    ),
    LedgerGate(
        gate=Gate(
            stage="marts",
            subject="focus_cost_and_usage",
            aspect="usage",
            predicate="conserved",
            rule="Per provider and day, the exported calls and unused capacity cost what the ledger holds.",
            why="What is exported is the ledger, in other words.",
            tool="sql",
        ),
        asset_key="focus_cost_and_usage",
        needs="usage",
    ),
    LedgerGate(
        gate=Gate(
            stage="marts",
            subject="focus_cost_and_usage",
            aspect="lines",
            predicate="reconciled",
            rule="Per invoice and line, the charges that name it are billed what it bills.",
            why="FOCUS asks that the charges of an invoice add up to it.",
            tool="sql",
        ),
        asset_key="focus_cost_and_usage",
        needs="invoices",
    ),
    LedgerGate(
        gate=Gate(
            stage="marts",
            subject="focus_cost_and_usage",
            aspect="bills",
            predicate="reconciled",
            rule="Per account and billing period, the effective costs of calls and named causes add up to the bill.",
            why="Ledger and bill are one figure, or the export says two.",
            tool="sql",
        ),
        asset_key="focus_cost_and_usage",
        needs="invoices",
    ),
)
