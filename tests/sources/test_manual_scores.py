"""Scores that are entered by hand: the journal, its chain, corrections, withdrawals, and what lands of them."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from dagster_project.errors import ConfigurationError, PermanentSourceError
from dagster_project.sources import discover
from dagster_project.sources._connector import PullContext
from dagster_project.sources.manual_scores import Entry, Journal, ManualScoresOptions, replacing, scale_problem
from dagster_project.warehouse.landing import Landing, LandingZone, SourceFailure, pull_source

KIND = "manual_scores"
NOVEMBER = datetime(2026, 11, 20, 12, tzinfo=UTC)
DECEMBER = datetime(2026, 12, 1, 8, tzinfo=UTC)
ENTRY = Entry(
    kpi_name="csat", use_case_id="support_chat", use_case_version="2", use_case_instance_id="ticket-9", score=4.0,
    scored_at=datetime(2026, 11, 19, 15, tzinfo=UTC), provenance="attested", entered_by="m.curie",
    reason="Phone survey", evidence="TICKET-77",
)  # fmt: skip
KPIS = [
    {"kpi_name": "csat", "use_case_id": "support_chat", "kpi_type": "likert5", "unit": "score"},
    {"kpi_name": "resolved", "use_case_id": "support_chat", "kpi_type": "boolean", "unit": "count"},
    {"kpi_name": "accuracy", "use_case_id": "support_chat", "kpi_type": "number", "unit": "share"},
    {"kpi_name": "open_tickets", "use_case_id": "support_chat", "kpi_type": "number", "unit": "count"},
]


def _options(folder: Path) -> ManualScoresOptions:
    return ManualScoresOptions.model_validate({"name": "manual", "kind": KIND, "path": str(folder / "scores")})


def _pull(folder: Path, now: datetime = DECEMBER) -> list[Landing | SourceFailure]:
    return pull_source(LandingZone(folder / "landing"), discover()[KIND], _options(folder), now=now)


def _rows(folder: Path) -> list[dict[str, object]]:
    landings = LandingZone(folder / "landing").current(KIND)
    tables = [pq.read_table(file.path, partitioning=None) for item in landings for file in item.files]
    rows = pa.concat_tables(tables).to_pylist() if tables else []
    return sorted(rows, key=lambda row: (row["input_uri"], row["record_index"]))


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "scores")


def test_an_entry_lands_as_a_score_with_who_entered_it_when_and_why(journal: Journal, tmp_path: Path):
    entry_id = journal.add(ENTRY, now=NOVEMBER)
    [landing] = _pull(tmp_path)
    assert isinstance(landing, Landing)
    assert landing.input_uri.endswith("scores/2026-11.jsonl")
    [row] = _rows(tmp_path)
    assert (row["kpi_name"], row["score"], row["use_case_instance_id"]) == ("csat", 4.0, "ticket-9")
    assert (row["scored_at"], row["provenance"]) == (datetime(2026, 11, 19, 15, tzinfo=UTC), "attested")
    audit = json.loads(str(row["attributes_json"]))
    assert (audit["entry_id"], audit["entered_by"], audit["entered_at"], audit["reason"], audit["evidence"]) == (
        entry_id, "m.curie", "2026-11-20T12:00:00+00:00", "Phone survey", "TICKET-77",
    )  # fmt: skip


def test_a_journal_is_on_this_machine():
    with pytest.raises(ValidationError, match="expected a path of this machine"):
        ManualScoresOptions.model_validate({"name": "manual", "kind": KIND, "path": "s3://bucket/scores"})


def test_nothing_entered_yet_is_no_failure(tmp_path: Path):
    assert _pull(tmp_path) == []


def test_a_correction_and_a_withdrawal_come_after_what_they_replace(journal: Journal, tmp_path: Path):
    first = journal.add(ENTRY, now=NOVEMBER)
    second = journal.add(
        replacing(journal.find(first), score=2.0, entered_by="p.curie", reason="Misheard"), now=NOVEMBER
    )
    journal.add(replacing(journal.find(second), score=None, entered_by="p.curie", reason="Wrong case"), now=DECEMBER)
    _pull(tmp_path)
    rows = _rows(tmp_path)
    # One score (the same KPI, run and instant), in the order in which the last one counts.
    assert len({(row["kpi_name"], row["use_case_instance_id"], row["scored_at"]) for row in rows}) == 1
    assert [(row["score"], row["score_text"]) for row in rows] == [(4.0, None), (2.0, None), (None, "withdrawn")]
    assert [path.name for path in journal.files()] == ["2026-11.jsonl", "2026-12.jsonl"]
    assert [entry["replaces_entry_id"] for entry in journal.entries()] == [None, first, second]


def test_a_replaced_entry_cannot_be_replaced_again(journal: Journal):
    first = journal.add(ENTRY, now=NOVEMBER)
    second = journal.add(replacing(journal.find(first), score=2.0, entered_by="x", reason="y"), now=NOVEMBER)
    with pytest.raises(ConfigurationError, match=f"was replaced by {second}; name that one"):
        journal.find(first)
    assert journal.find(second[:8])["entry_id"] == second
    with pytest.raises(ConfigurationError, match="0 entries, expected one"):
        journal.find("nobody")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        # A changed score, a changed reason, a line taken out, a line put in, an end that is missing.
        (b'"score":4.0', b'"score":5.0'),
        (b"Phone survey", b"Phone call"),
        (None, None),
        (b"\n", b"\n{}\n"),
        (b"}\n", b"}"),
    ],
    ids=["score", "reason", "line_gone", "line_more", "no_line_end"],
)
def test_an_entry_that_was_changed_is_refused_and_what_landed_stays(
    old: bytes | None, new: bytes | None, journal: Journal, tmp_path: Path
):
    for number in range(3):
        journal.add(Entry(**{**ENTRY.__dict__, "use_case_instance_id": f"ticket-{number}"}), now=NOVEMBER)
    _pull(tmp_path, NOVEMBER)
    [path] = journal.files()
    lines = path.read_bytes().splitlines(keepends=True)
    if old is None or new is None:
        path.write_bytes(b"".join([lines[0], lines[2]]))
    else:
        path.write_bytes(b"".join([lines[0], lines[1].replace(old, new), lines[2]]))
    [failure] = _pull(tmp_path)
    assert isinstance(failure, SourceFailure)
    assert not failure.is_transient
    assert "is not what was entered" in failure.message
    assert [row["score"] for row in _rows(tmp_path)] == [4.0, 4.0, 4.0]
    with pytest.raises(PermanentSourceError, match="is not what was entered"):
        journal.add(ENTRY, now=DECEMBER)


def test_a_former_month_that_was_changed_breaks_the_chain_of_the_next(journal: Journal, tmp_path: Path):
    journal.add(ENTRY, now=NOVEMBER)
    journal.add(ENTRY, now=DECEMBER)
    journal.files()[0].unlink()
    [failure] = _pull(tmp_path)
    assert isinstance(failure, SourceFailure)
    assert "2026-12.jsonl" in failure.message


@pytest.mark.parametrize("cut", ["last_line", "last_file"])
def test_an_end_that_was_cut_off_after_it_landed_is_refused_wherever_the_journal_is_read(cut: str, tmp_path: Path):
    journal = Journal(tmp_path / "scores")
    first = journal.add(ENTRY, now=NOVEMBER)
    journal.add(ENTRY, now=NOVEMBER)
    journal.add(ENTRY, now=DECEMBER)
    _pull(tmp_path)
    if cut == "last_line":
        path = journal.files()[1]
        path.write_bytes(b"")
    else:
        journal.files()[1].unlink()
    # What is left is a chain without a gap.
    assert len(list(journal.entries())) == 2
    [failure] = _pull(tmp_path, DECEMBER.replace(hour=9))
    assert isinstance(failure, SourceFailure)
    assert not failure.is_transient
    assert "2026-12.jsonl of the journal" in failure.message
    assert len(_rows(tmp_path)) == 3
    landed = LandingZone(tmp_path / "landing").landed_inputs(discover()[KIND], _options(tmp_path))
    anchored = Journal(tmp_path / "scores", landed)
    with pytest.raises(PermanentSourceError, match="or is gone"):
        list(anchored.entries())
    with pytest.raises(PermanentSourceError, match="or is gone"):
        anchored.add(ENTRY, now=DECEMBER)
    with pytest.raises(PermanentSourceError, match="or is gone"):
        anchored.find(first)
    check = discover()[KIND].check
    assert check is not None
    with pytest.raises(PermanentSourceError, match="or is gone"):
        check(_options(tmp_path), PullContext(DECEMBER, tmp_path, landed=landed))


def test_a_journal_that_was_written_anew_with_a_whole_chain_is_refused(journal: Journal, tmp_path: Path):
    journal.add(ENTRY, now=NOVEMBER)
    _pull(tmp_path)
    journal.files()[0].unlink()
    journal.add(replace(ENTRY, score=5.0), now=NOVEMBER)
    [failure] = _pull(tmp_path)
    assert isinstance(failure, SourceFailure)
    assert "is not what was entered" in failure.message


def test_entries_after_what_has_landed_land(journal: Journal, tmp_path: Path):
    journal.add(ENTRY, now=NOVEMBER)
    _pull(tmp_path, NOVEMBER)
    journal.add(ENTRY, now=NOVEMBER)
    journal.add(ENTRY, now=DECEMBER)
    assert all(isinstance(item, Landing) for item in _pull(tmp_path))
    assert len(_rows(tmp_path)) == 3


def test_an_entry_is_replaced_once_also_by_two_people_at_the_same_time(journal: Journal):
    first = journal.add(ENTRY, now=NOVEMBER)
    # Both have looked the entry up before either has entered anything.
    corrections = [
        replacing(journal.find(first), score=score, entered_by=name, reason="Misheard")
        for name, score in [("m.curie", 2.0), ("p.curie", 3.0)]
    ]
    second = journal.add(corrections[0], now=NOVEMBER)
    with pytest.raises(ConfigurationError, match=f"was replaced by {second}; name that one"):
        journal.add(corrections[1], now=NOVEMBER)
    assert [entry["score"] for entry in journal.entries()] == [4.0, 2.0]


def test_a_clock_that_is_behind_keeps_the_order_of_entry(journal: Journal):
    journal.add(ENTRY, now=DECEMBER)
    journal.add(ENTRY, now=NOVEMBER)
    assert [path.name for path in journal.files()] == ["2026-12.jsonl"]
    assert [entry["entered_at"][:7] for entry in journal.entries()] == ["2026-12", "2026-11"]


@pytest.mark.parametrize(
    ("kpi_name", "score", "problem"),
    [
        ("csat", 5.0, None),
        ("csat", 5.5, "csat is a likert5; 5.5 is not on its scale, 1 to 5"),
        ("csat", 0.0, "1 to 5"),
        ("resolved", 1.0, None),
        ("resolved", 0.5, "resolved is a boolean"),
        ("accuracy", 1.01, "0 to 1"),
        ("open_tickets", 420.0, None),
        ("open_tickets", 1784246400000.0, "1.78425e+12 is not on its scale, -1e+12 to 1e+12"),
        ("open_tickets", float("inf"), "is not on its scale"),
        ("open_tickets", float("nan"), "is not on its scale"),
        ("mood", 1.0, "support_chat has no KPI 'mood'; seed_kpis.csv has: csat, resolved, accuracy, open_tickets"),
    ],
)
def test_a_score_must_be_on_the_scale_of_its_kpi(kpi_name: str, score: float, problem: str | None):
    found = scale_problem(kpi_name, "support_chat", score, KPIS)
    assert (found is None) == (problem is None)
    assert problem is None or problem in str(found)


def test_check_counts_the_entries(journal: Journal, tmp_path: Path):
    check = discover()[KIND].check
    assert check is not None
    journal.add(ENTRY, now=NOVEMBER)
    assert check(_options(tmp_path), PullContext(DECEMBER, tmp_path)).endswith("1 entries, the chain holds")
