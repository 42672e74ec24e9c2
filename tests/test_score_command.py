"""`tokenledger score`: what a user's shell sees of entering, correcting, withdrawing and listing scores."""

import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from dagster_project.settings import load_settings
from dagster_project.sources import discover
from dagster_project.warehouse.landing import LandingZone, pull_source

REPOSITORY = Path(__file__).resolve().parents[1]
WHO = ("--by", "m.curie", "--reason", "Phone survey")
SCORE = ("--use-case", "support", "--kpi", "csat", "--instance", "run-1", "--at", "2026-07-01T10:00:00", *WHO)


@pytest.fixture
def company(tmp_path: Path) -> Path:
    (tmp_path / "reference").mkdir()
    header = "kpi_name,use_case_id,kpi_type,unit,goal,direction,baseline,is_outcome,description"
    rows = [header, "csat,support,likert5,score,4,up,3,false,Stars"]
    (tmp_path / "reference" / "seed_kpis.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    (tmp_path / "company.yaml").write_text(
        "organization: Mill\nstart_date: 2026-07-01\nreference_dir: reference\nsources:\n"
        "  - {name: by_hand, kind: manual_scores, path: scores}\n",
        encoding="utf-8",
    )
    return tmp_path


def _score(company: Path, command: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    code = "from dagster_project.cli import main; main()"
    places = ["--config", str(company / "company.yaml"), "--state-dir", str(company / "state")]
    return subprocess.run(
        [sys.executable, "-c", code, "score", command, *places, *arguments],
        cwd=REPOSITORY, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def test_a_score_is_entered_corrected_withdrawn_and_listed(company: Path):
    added = _score(company, "add", *SCORE, "4")
    assert (added.returncode, added.stderr) == (0, "")
    first = added.stdout.split()[1].rstrip(";")
    corrected = _score(company, "correct", *WHO, first, "2")
    second = corrected.stdout.split()[1]
    assert corrected.stdout == f"Entered {second} in the place of {first}; the next pull lands it.\n"
    assert _score(company, "withdraw", *WHO, second).returncode == 0
    lines = _score(company, "log").stdout.splitlines()
    assert [line.partition("csat = ")[2] for line in lines] == [
        "4 (attested): Phone survey",
        f"2 (attested, replaces {first}): Phone survey",
        f"withdrawn (attested, replaces {second}): Phone survey",
    ]
    entries = json.loads(_score(company, "log", "--json").stdout)["entries"]
    assert [(entry["score"], entry["scored_at"], entry["entered_by"]) for entry in entries] == [
        (4.0, "2026-07-01T10:00:00+00:00", "m.curie"), (2.0, "2026-07-01T10:00:00+00:00", "m.curie"),
        (None, "2026-07-01T10:00:00+00:00", "m.curie"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((*SCORE, "6"), "csat is a likert5; 6 is not on its scale, 1 to 5. Nothing was entered."),
        ((*SCORE, "--kpi", "mood", "1"), "support has no KPI 'mood'; seed_kpis.csv has: csat"),
        ((*SCORE, "--at", "2199-01-01", "4"), "is in the future"),
        ((*SCORE, "--source", "other", "4"), "expected one"),
        ((*SCORE[:-2], "4"), "Missing option '--reason'"),
    ],
    ids=["off_scale", "unknown_kpi", "future", "unknown_source", "no_reason"],
)
def test_what_cannot_be_a_score_is_refused_with_a_reason(company: Path, arguments: tuple[str, ...], words: str):
    done = _score(company, "add", *arguments)
    assert done.returncode == 2
    assert words in " ".join(done.stderr.split())
    assert not (company / "scores").exists()


def test_a_journal_that_was_changed_is_said_and_not_added_to(company: Path):
    _score(company, "add", *SCORE, "4")
    [path] = (company / "scores").glob("*.jsonl")
    path.write_bytes(path.read_bytes().replace(b'"score":4.0', b'"score":5.0'))
    before = path.read_bytes()
    done = _score(company, "add", *SCORE, "3")
    assert done.returncode == 2
    assert "is not what was entered" in done.stderr
    assert path.read_bytes() == before


def test_a_journal_that_was_cut_after_it_landed_is_neither_listed_nor_added_to(company: Path):
    _score(company, "add", *SCORE, "4")
    settings = load_settings(config_path=company / "company.yaml", state_dir=company / "state", environ={})
    [options] = settings.sources
    now = datetime.now(UTC)
    pull_source(LandingZone(settings.landing_dir), discover()["manual_scores"], options, now=now)
    [path] = (company / "scores").glob("*.jsonl")
    path.write_bytes(b"")
    for refused in (_score(company, "log"), _score(company, "add", *SCORE, "5")):
        assert refused.returncode == 2
        assert "an entry is not what was entered, or is gone" in refused.stderr
    assert path.read_bytes() == b""
