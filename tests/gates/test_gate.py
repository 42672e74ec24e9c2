"""The gate grammar, the rule of passing, and what a result says."""

import json
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest

from dagster_project.gates.gate import (
    Gate,
    GateRun,
    Verdict,
    blocking_failures,
    is_gate_name,
    is_passed,
    result_of,
    sample_json,
)

RUN = GateRun(
    run_id="run-1",
    checked_at=datetime(2026, 7, 2, tzinfo=UTC),
    window_start_date=date(2026, 7, 1),
    window_end_date=date(2026, 7, 2),
)


def _gate(**changes: object) -> Gate:
    parts: dict[str, Any] = {
        "stage": "raw",
        "subject": "otlp_files_spans",
        "aspect": "start_at",
        "predicate": "present",
        "rule": "start_at is never null.",
        "why": "It dates the call.",
        "tool": "sql",
    }
    return Gate(**{**parts, **changes})


def test_gate_name_is_stage_subject_aspect_predicate():
    assert _gate().gate_name == "raw__otlp_files_spans_start_at_present"
    assert _gate(aspect="", predicate="not_empty").gate_name == "raw__otlp_files_spans_not_empty"


@pytest.mark.parametrize(
    "changes",
    [
        {"stage": "bronze"},
        {"predicate": "valid"},
        {"severity": "info"},
        {"tool": "pandas"},
        {"subject": "otlp_files__spans"},
        {"subject": "Spans"},
        {"aspect": "start at"},
        {"rule": " "},
        {"why": ""},
        {"tolerance_share": 1.0},
        {"tolerance_share": -0.1},
    ],
)
def test_gate_refuses_what_is_outside_the_vocabulary(changes: dict[str, Any]):
    with pytest.raises(ValueError, match=r"gate"):
        _gate(**changes)


@pytest.mark.parametrize(
    ("name", "is_name"),
    [
        ("marts__fct_calls_call_unique", True),
        ("serving__fct_calls_not_empty", True),
        ("serving__not_empty", False),
        ("fct_calls_call_unique", False),
        ("marts__fct_calls_call_is_unique_maybe", False),
        ("marts__fct__calls_unique", False),
    ],
)
def test_gate_name_grammar_is_checked(name: str, is_name: bool):
    assert is_gate_name(name) is is_name


@pytest.mark.parametrize(
    ("evaluated", "violated", "tolerance", "passed"),
    [
        (0, 0, 0.0, False),
        (0, 0, 0.5, False),
        (1, 0, 0.0, True),
        (1000, 1, 0.0, False),
        (1000, 1, 0.001, True),
        (1000, 2, 0.001, False),
        (1, 2, 0.0, False),
    ],
)
def test_gate_passes_when_something_was_judged_and_violations_are_tolerated(
    evaluated: int, violated: int, tolerance: float, passed: bool
):
    assert is_passed(_gate(tolerance_share=tolerance), Verdict(evaluated, violated)) is passed


def test_verdict_refuses_negative_counts():
    with pytest.raises(ValueError, match="from zero up"):
        Verdict(-1, 0)


def test_run_refuses_an_instant_without_time_zone():
    with pytest.raises(ValueError, match="time zone"):
        GateRun(run_id="r", checked_at=datetime(2026, 7, 2))  # noqa: DTZ001


def test_result_carries_the_gate_the_verdict_and_the_run():
    result = result_of(_gate(), Verdict(10, 1, [{"cost_usd": Decimal("0.10"), "at": date(2026, 7, 1)}]), RUN)
    assert (result.run_id, result.gate_name, result.stage, result.subject) == (
        "run-1", "raw__otlp_files_spans_start_at_present", "raw", "otlp_files_spans",
    )  # fmt: skip
    assert (result.is_passed, result.evaluated_count, result.violation_count) == (False, 10, 1)
    assert json.loads(result.sample_json) == [{"cost_usd": "0.10", "at": "2026-07-01"}]
    assert (result.window_start_date, result.window_end_date) == (date(2026, 7, 1), date(2026, 7, 2))


def test_result_says_the_tolerance_in_its_rule():
    assert result_of(_gate(tolerance_share=0.001), Verdict(1000, 1), RUN).rule.endswith("up to 0.1000%.)")
    assert result_of(_gate(), Verdict(1000, 0), RUN).rule == "start_at is never null."


def test_sample_is_cut_in_rows_and_in_text():
    rows = json.loads(sample_json([{"text": "x" * 600}] * 30))
    assert len(rows) == 20
    assert rows[0]["text"] == "x" * 500 + "… (600 characters)"


def test_only_failed_blocking_gates_stop_the_run():
    failed_block = result_of(_gate(), Verdict(1, 1), RUN)
    failed_warn = result_of(_gate(severity="warn"), Verdict(1, 1), RUN)
    passed = result_of(_gate(), Verdict(1, 0), RUN)
    assert blocking_failures([failed_block, failed_warn, passed]) == [failed_block]
