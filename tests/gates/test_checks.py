"""Gates as asset checks: names, severity and blocking say the same on both sides."""

from datetime import UTC, datetime

import dagster as dg
import pytest

from dagster_project.gates.checks import check_result, check_results, check_spec
from dagster_project.gates.gate import Gate, GateResult, GateRun, Severity, Verdict, result_of

RUN = GateRun(run_id="run-1", checked_at=datetime(2026, 7, 2, tzinfo=UTC))


def _gate(severity: Severity = "block") -> Gate:
    return Gate(
        stage="marts",
        subject="fct_calls",
        aspect="tokens",
        predicate="conserved",
        rule="Tokens in are tokens out.",
        why="A lost token is lost money.",
        tool="sql",
        severity=severity,
    )


def _result(severity: Severity = "block", violations: int = 0) -> GateResult:
    return result_of(_gate(severity), Verdict(10, violations, [{"day": "2026-07-01"}][:violations]), RUN)


@pytest.mark.parametrize(("severity", "is_blocking"), [("block", True), ("warn", False)])
def test_check_spec_blocks_what_a_blocking_gate_blocks(severity: Severity, is_blocking: bool):
    spec = check_spec(_gate(severity), "fct_calls")
    assert (spec.name, spec.asset_key) == ("marts__fct_calls_tokens_conserved", dg.AssetKey("fct_calls"))
    assert spec.blocking == is_blocking
    assert spec.description == "Tokens in are tokens out. A lost token is lost money."


@pytest.mark.parametrize(
    ("severity", "violations", "passed", "shown"),
    [
        ("block", 0, True, dg.AssetCheckSeverity.ERROR),
        ("block", 1, False, dg.AssetCheckSeverity.ERROR),
        ("warn", 1, False, dg.AssetCheckSeverity.WARN),
    ],
)
def test_check_result_says_what_was_judged(
    severity: Severity, violations: int, passed: bool, shown: dg.AssetCheckSeverity
):
    found = check_result(_result(severity, violations), "fct_calls")
    assert (found.check_name, found.passed, found.severity) == ("marts__fct_calls_tokens_conserved", passed, shown)
    assert found.metadata["evaluated"].value == 10
    assert found.metadata["violations"].value == violations
    assert found.metadata["sample"].value == [{"day": "2026-07-01"}][:violations]
    assert found.metadata["rule"].value == "Tokens in are tokens out."


def test_check_results_keep_the_order_and_the_asset():
    found = check_results([_result(), _result("warn")], "fct_calls")
    assert [item.severity for item in found] == [dg.AssetCheckSeverity.ERROR, dg.AssetCheckSeverity.WARN]
    assert {item.asset_key for item in found} == {dg.AssetKey("fct_calls")}
