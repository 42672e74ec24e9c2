"""A gate: one statement about one subject, and what a judgement of it looks like.

The vocabulary (stages, predicates, severities), the name grammar and the one rule of passing live here, so
that a gate reads the same whether Great Expectations, dbt or plain SQL judged it. How a tool judges does not
belong here.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Literal, get_args

Stage = Literal["raw", "reference", "staging", "intermediate", "marts", "analytics", "serving"]
Predicate = Literal[
    "present", "unique", "within_range", "known", "conserved", "reconciled", "fresh", "not_empty", "monotonic"
]
Severity = Literal["block", "warn"]
Tool = Literal["great_expectations", "dbt", "sql", "python"]

STAGES: tuple[str, ...] = get_args(Stage)
PREDICATES: tuple[str, ...] = get_args(Predicate)
SEVERITIES: tuple[str, ...] = get_args(Severity)
TOOLS: tuple[str, ...] = get_args(Tool)

SAMPLE_ROW_COUNT = 20
SAMPLE_TEXT_CHARACTERS = 500

_WORD = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
_GATE_NAME = re.compile(rf"({'|'.join(STAGES)})__([a-z][a-z0-9_]*?)_({'|'.join(PREDICATES)})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """One statement that must hold for one subject at the end of one stage.

    Attributes:
        stage: The stage that the gate ends.
        subject: What is judged, in snake case without the stage's prefix (`otlp_files_spans`, `fct_calls`).
        aspect: The part of the subject that is judged (`start_at`); empty when it is the whole subject.
        predicate: What must hold, from the vocabulary.
        rule: The statement in words: "start_at is never null."
        why: What goes wrong downstream when it does not hold.
        tool: Which tool judges.
        severity: `block` stops everything downstream; `warn` is recorded and shown.
        tolerance_share: The share (0..1) of violations that still passes; say in `why` what was measured and
            when.

    Raises:
        ValueError: A part is outside the vocabulary or the grammar.
    """

    stage: Stage
    subject: str
    predicate: Predicate
    rule: str
    why: str
    tool: Tool
    aspect: str = ""
    severity: Severity = "block"
    tolerance_share: float = 0.0

    def __post_init__(self) -> None:
        for label, value, known in (
            ("stage", self.stage, STAGES),
            ("predicate", self.predicate, PREDICATES),
            ("severity", self.severity, SEVERITIES),
            ("tool", self.tool, TOOLS),
        ):
            if value not in known:
                raise ValueError(f"gate on {self.subject!r}: {label} {value!r} is not one of {', '.join(known)}")
        for label, word in (("subject", self.subject), ("aspect", self.aspect or "whole")):
            if not _WORD.fullmatch(word):
                raise ValueError(f"gate {label} {word!r} is not snake case: words of a-z and 0-9, joined by single _")
        if not self.rule.strip() or not self.why.strip():
            raise ValueError(f"gate {self.gate_name}: rule and why must both be said")
        if not 0.0 <= self.tolerance_share < 1.0:
            raise ValueError(f"gate {self.gate_name}: tolerance_share {self.tolerance_share} is not in [0, 1)")

    @property
    def gate_name(self) -> str:
        """The gate's name: `<stage>__<subject>[_<aspect>]_<predicate>`."""
        parts = [self.subject, self.aspect, self.predicate] if self.aspect else [self.subject, self.predicate]
        return f"{self.stage}__{'_'.join(parts)}"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a judgement saw: how many things it judged, how many broke the rule, and some of those.

    What counts as a thing (a row, a column, a source and day) is the gate's own; `sample` holds at most
    `SAMPLE_ROW_COUNT` of the violations once it becomes a result.
    """

    evaluated_count: int
    violation_count: int
    sample: Sequence[Mapping[str, object]] = ()

    def __post_init__(self) -> None:
        if self.evaluated_count < 0 or self.violation_count < 0:
            raise ValueError(f"a verdict counts from zero up: {self.evaluated_count} and {self.violation_count} given")


@dataclass(frozen=True, slots=True, kw_only=True)
class GateRun:
    """The run in which gates are judged: identity, instant, and the window of days it covers, both ends inclusive."""

    run_id: str
    checked_at: datetime
    window_start_date: date | None = None
    window_end_date: date | None = None

    def __post_init__(self) -> None:
        if self.checked_at.tzinfo is None:
            raise ValueError("checked_at must carry a time zone; gates are recorded in UTC")


@dataclass(frozen=True, slots=True, kw_only=True)
class GateResult:
    """One row of `ops.gate_results`: a gate, judged once."""

    run_id: str
    gate_name: str
    stage: str
    subject: str
    tool: str
    severity: str
    is_passed: bool
    evaluated_count: int
    violation_count: int
    rule: str
    why: str
    sample_json: str
    window_start_date: date | None
    window_end_date: date | None
    checked_at: datetime


def is_gate_name(name: str) -> bool:
    """Whether a name follows the grammar; dbt tests and asset checks are held to it too."""
    return _GATE_NAME.fullmatch(name) is not None and name.count("__") == 1


def is_passed(gate: Gate, verdict: Verdict) -> bool:
    """Whether a verdict satisfies a gate: something was judged, and violations stay within the tolerance."""
    if verdict.evaluated_count == 0:
        return False
    return verdict.violation_count <= gate.tolerance_share * verdict.evaluated_count


def result_of(gate: Gate, verdict: Verdict, run: GateRun) -> GateResult:
    """Build the row that records a judgement.

    A tolerance is written into the rule, so that a pass with violations explains itself wherever it is read.
    """
    tolerance = f" (Tolerated: up to {gate.tolerance_share:.4%}.)" if gate.tolerance_share else ""
    return GateResult(
        run_id=run.run_id,
        gate_name=gate.gate_name,
        stage=gate.stage,
        subject=gate.subject,
        tool=gate.tool,
        severity=gate.severity,
        is_passed=is_passed(gate, verdict),
        evaluated_count=verdict.evaluated_count,
        violation_count=verdict.violation_count,
        rule=f"{gate.rule}{tolerance}",
        why=gate.why,
        sample_json=sample_json(verdict.sample),
        window_start_date=run.window_start_date,
        window_end_date=run.window_end_date,
        checked_at=run.checked_at,
    )


def blocking_failures(results: Iterable[GateResult]) -> list[GateResult]:
    """The results that must stop everything downstream."""
    return [result for result in results if result.severity == "block" and not result.is_passed]


def sample_json(sample: Sequence[Mapping[str, object]]) -> str:
    """Encode sampled violations: at most `SAMPLE_ROW_COUNT` rows, long texts cut, decimals as text."""
    rows = [{name: _shortened(value) for name, value in row.items()} for row in sample[:SAMPLE_ROW_COUNT]]
    return json.dumps(rows, default=str, ensure_ascii=False)


def _shortened(value: object) -> object:
    if isinstance(value, str) and len(value) > SAMPLE_TEXT_CHARACTERS:
        return f"{value[:SAMPLE_TEXT_CHARACTERS]}… ({len(value)} characters)"
    return value
