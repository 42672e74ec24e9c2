"""Gates as Dagster asset checks: the one translation from gate to check and from result to check result.

How a gate is judged belongs to the other modules of this package, which never import Dagster.
"""

from collections.abc import Iterable

import dagster as dg
import orjson

from dagster_project.gates.gate import Gate, GateResult


def check_spec(gate: Gate, asset_key: str) -> dg.AssetCheckSpec:
    """Declare a gate as a check of an asset; a `block` gate stops everything below the asset."""
    return dg.AssetCheckSpec(
        name=gate.gate_name,
        asset=dg.AssetKey(asset_key),
        description=f"{gate.rule} {gate.why}",
        blocking=gate.severity == "block",
        metadata={"tool": gate.tool},
    )


def check_results(results: Iterable[GateResult], asset_key: str) -> list[dg.AssetCheckResult]:
    """Turn the judgements of an asset's gates into its check results."""
    return [check_result(result, asset_key) for result in results]


def check_result(result: GateResult, asset_key: str) -> dg.AssetCheckResult:
    """Turn one judgement into a check result; severity and blocking always go together."""
    return dg.AssetCheckResult(
        asset_key=dg.AssetKey(asset_key),
        check_name=result.gate_name,
        passed=result.is_passed,
        severity=dg.AssetCheckSeverity.ERROR if result.severity == "block" else dg.AssetCheckSeverity.WARN,
        metadata={
            "rule": result.rule,
            "why": result.why,
            "evaluated": result.evaluated_count,
            "violations": result.violation_count,
            "sample": dg.MetadataValue.json(orjson.loads(result.sample_json)),
        },
    )
