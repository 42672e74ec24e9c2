"""What counts as agreement, what the table of known differences lets through, and what the calculators are told."""

from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

from tests.conformance import agreement, calculators, libraries
from tests.conformance.agreement import Judgement, KnownDifference
from tests.conformance.grid import GENAI_PRICES, LITELLM, USUAL_AT, Cell
from tests.conformance.ledger import Charge
from tests.conformance.libraries import Answer

CELL = Cell("1", "off_peak", "deepseek", "deepseek-chat", "deepseek-chat", USUAL_AT.isoformat(), {"input": 1000})
KNOWN = KnownDifference(
    library=LITELLM,
    version="1.0",
    dimension="off_*",
    service_tier="standard",
    provider="deepseek",
    model="deepseek-*",
    outcome="other_cost",
    cell_count=1,
    cause="A window",
    right_side="ledger",
    evidence="The vendor's page",
)


def judged(library: str | None, ledger: str | None) -> Judgement:
    answer = Answer(None if library is None else Decimal(library), "refused")
    return Judgement(CELL, answer, Charge(None if ledger is None else Decimal(ledger), "no_price_for_unit_kind"))


@pytest.mark.parametrize(
    ("library", "ledger", "outcome"),
    [
        ("0.003", "0.003", "agree"),
        ("0", "0.000000000000000", "agree"),
        # 1e-9 of 1.0 is allowed, 2e-9 is not
        ("1.000000000", "1.000000001", "agree"),
        ("1.000000000", "1.000000002", "other_cost"),
        ("0", "0.000000000000001", "other_cost"),
        ("0.003", None, "unpriced"),
        ("0.000", None, "unpriced_not_free"),
        (None, "0.003", "not_comparable"),
        (None, None, "not_comparable"),
    ],
)
def test_outcome(library: str | None, ledger: str | None, outcome: str):
    assert judged(library, ledger).outcome == outcome


def test_known_difference_that_occurs_is_no_complaint():
    assert agreement.complaints([judged("1", "2"), judged("1", "1")], [KNOWN], "1.0") == []


def test_unknown_difference_is_a_complaint_with_its_first_call():
    (complaint,) = agreement.complaints([judged("1", "2"), judged("1", None)], [KNOWN], "1.0")
    assert complaint.startswith(
        "1 unknown differences, unpriced in off_peak, the first: unpriced in off_peak: deepseek"
    )


@pytest.mark.parametrize(
    "pattern", [{"dimension": "plain"}, {"service_tier": "batch"}, {"provider": "openai"}, {"model": "other"}]
)
def test_difference_outside_the_patterns_is_unknown_and_its_row_stale(pattern: dict[str, str]):
    unknown, stale = agreement.complaints([judged("1", "2")], [replace(KNOWN, **pattern)], "1.0")
    assert unknown.startswith("1 unknown differences, other_cost in off_peak")
    assert stale.startswith("explains 0 cells, the table says 1")


def test_difference_that_no_longer_occurs_is_a_complaint():
    (complaint,) = agreement.complaints([judged("1", "1")], [KNOWN], "1.0")
    assert complaint.startswith("explains 0 cells, the table says 1")


def test_more_cells_than_the_table_says_are_a_complaint():
    (complaint,) = agreement.complaints([judged("1", "2"), judged("1", "3")], [KNOWN], "1.0")
    assert complaint.startswith("explains 2 cells, the table says 1")


def test_row_that_was_judged_on_another_version_is_a_complaint():
    (complaint,) = agreement.complaints([judged("1", "2")], [KNOWN], "1.1")
    assert complaint.startswith("judged on 1.0, compared with 1.1")


def test_first_row_that_fits_takes_the_difference():
    wider = replace(KNOWN, dimension="*", cell_count=0)
    assert agreement.complaints([judged("1", "2")], [KNOWN, wider], "1.0") == []


def test_table_says_for_every_row_which_side_is_right_and_why():
    rows = [row for library in (GENAI_PRICES, LITELLM) for row in agreement.known_differences(library)]
    assert rows
    assert [row for row in rows if row.right_side not in {"library", "ledger", "open"}] == []
    assert [row for row in rows if not (row.cause and row.evidence and row.cell_count > 0)] == []
    assert [row for row in rows if row.outcome not in {"other_cost", "unpriced", "unpriced_not_free"}] == []


@pytest.mark.parametrize("library", [GENAI_PRICES, LITELLM])
def test_calculators_are_told_disjoint_kinds_once(library: str, tmp_path: Path):
    # gpt-4o at 2.50 / 1.25 / 10.00 USD per million; 1,000 input of which 800 cached, 100 output:
    # 200 * 2.50e-6 + 800 * 1.25e-6 + 100 * 10.00e-6 = 0.0005 + 0.0010 + 0.0010 = 0.0025
    quantities = {"input": 200, "cache_read": 800, "output": 100}
    cell = Cell("1", "cache_read", "openai", "gpt-4o", "gpt-4o", USUAL_AT.isoformat(), quantities)
    answer = libraries.ask(library, [cell], tmp_path)["1"]
    assert answer.cost_usd is not None
    assert abs(answer.cost_usd - Decimal("0.0025")) <= Decimal("1e-15")


@pytest.mark.parametrize("event", ["socket.connect", "socket.getaddrinfo"])
def test_calculators_may_not_reach_the_network(event: str):
    with pytest.raises(RuntimeError, match=f"tried the network: {event}"):
        calculators.refuse_network(event, ())
    calculators.refuse_network("open", ())


def test_calculator_that_does_not_know_a_model_refuses(tmp_path: Path):
    cell = Cell("1", "plain", "openai", "no-such-model", "no-such-model", USUAL_AT.isoformat(), {"input": 1})
    answer = libraries.ask(GENAI_PRICES, [cell], tmp_path)["1"]
    assert answer.cost_usd is None
    assert answer.refusal.startswith("KeyError")
