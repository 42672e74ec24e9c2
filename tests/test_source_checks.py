"""Trying the sources: what is right, what is wrong and how it is said, and that nothing is landed."""

import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from dagster_project.errors import ConfigurationError
from dagster_project.settings import Settings, load_settings
from dagster_project.source_checks import SourceCheck, check_sources
from dagster_project.sources import discover
from dagster_project.sources.manual_scores import Entry, Journal
from dagster_project.warehouse.landing import LandingZone, pull_source
from tests.sources.api_server import ApiServer, api_server, reply
from tests.sources.vendors import OPENAI_KEY, openai

REPOSITORY = Path(__file__).resolve().parents[1]
AT = datetime(2026, 7, 1, 12, tzinfo=UTC)
CALLS = """\
  - {name: calls, kind: table_files, path: calls.csv, format: csv, columns: {event_at: at, input_tokens: tokens}}
"""


def _settings(folder: Path, sources: str, key: str = OPENAI_KEY) -> Settings:
    config = folder / "company.yaml"
    config.write_text(
        f"organization: Mill\nstart_date: 2026-07-01\nas_of: 2026-07-02T12:00:00Z\nsources:\n{sources}",
        encoding="utf-8",
    )
    return load_settings(config_path=config, state_dir=folder / "state", environ={"OPENAI_ADMIN_KEY": key})


def _costs(server: ApiServer) -> str:
    http = "{pause_seconds: 0, timeout_seconds: 1}"
    return (
        "  - name: costs\n    kind: openai_costs\n    billing_account_id: org-1\n"
        f"    api: {{url: '{server.url}', key: '${{OPENAI_ADMIN_KEY}}', start_date: 2026-07-01, http: {http}}}\n"
    )


def _found(settings: Settings) -> dict[str, SourceCheck]:
    return {item.name: item for item in check_sources(settings, settings.sources)}


def test_each_source_is_tried_and_nothing_is_landed(tmp_path: Path):
    (tmp_path / "calls.csv").write_text("at,tokens\n2026-07-01T10:00:00Z,5\nnever,7\n", encoding="utf-8")
    with api_server(openai({"costs": {}})) as server:
        settings = _settings(tmp_path, CALLS + _costs(server))
        found = _found(settings)
    assert [(item.name, item.is_good, item.text) for item in found.values()] == [
        ("calls", True, "calls.csv: 1 of the first 2 records can be read"),
        ("costs", True, "key accepted, 1 reports asked, 0 results on the first pages of 2026-07-01"),
    ]
    assert not settings.state_dir.exists()


def test_what_is_wrong_is_said_in_one_line_with_what_to_fix(tmp_path: Path):
    with api_server(openai({"costs": {}})) as server:
        found = _found(_settings(tmp_path, CALLS + _costs(server), key="sk-wrong"))
    assert [(item.name, item.is_good) for item in found.values()] == [("calls", False), ("costs", False)]
    assert "no file matches, expected at least one. Correct `path`" in found["calls"].text
    assert "status 401 (invalid key)" in found["costs"].text
    assert found["costs"].text.endswith("Set the environment variable OPENAI_ADMIN_KEY to a key that may read this.")
    assert not any("\n" in item.text or "sk-wrong" in item.text for item in found.values())


def test_a_file_of_which_no_record_can_be_read_is_wrong(tmp_path: Path):
    (tmp_path / "calls.csv").write_text("at,tokens\nnever,7\nalways,8\n", encoding="utf-8")
    found = _found(_settings(tmp_path, CALLS))["calls"]
    assert not found.is_good
    assert "none of the first 2 records can be read; the first one: event_at: 'at' is not" in found.text


def test_a_server_that_is_away_is_wrong(tmp_path: Path):
    with api_server({"/v1/organization/costs": lambda _: reply({}, 503)}) as server:
        found = _found(_settings(tmp_path, _costs(server)))["costs"]
    assert not found.is_good
    assert "4 times: status 503" in found.text


def test_an_error_that_nobody_foresaw_does_not_stop_the_check_of_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def broken(*_: object) -> str:
        raise KeyError(OPENAI_KEY)

    costs = discover()["openai_costs"]
    monkeypatch.setitem(discover(), "openai_costs", replace(costs, check=broken))
    (tmp_path / "calls.csv").write_text("at,tokens\n2026-07-01T10:00:00Z,5\n", encoding="utf-8")
    with api_server({}) as server:
        found = _found(_settings(tmp_path, _costs(server) + CALLS))
    assert [(item.name, item.is_good) for item in found.values()] == [("costs", False), ("calls", True)]
    assert found["costs"].text.startswith("Tried costs: KeyError at source_checks.py:")
    assert OPENAI_KEY not in found["costs"].text


def test_a_key_from_a_file_with_a_line_break_is_accepted(tmp_path: Path):
    with api_server(openai({"costs": {}})) as server:
        found = _found(_settings(tmp_path, _costs(server), key=f"{OPENAI_KEY}\n"))
    assert found["costs"].is_good


def test_a_key_that_no_header_can_have_stops_the_start_by_the_name_of_its_variable(tmp_path: Path):
    with pytest.raises(ConfigurationError, match="OPENAI_ADMIN_KEY holds a character") as raised:
        _settings(tmp_path, _costs(ApiServer("http://127.0.0.1:9")), key="sk-sec\u2019ret")
    assert "sk-sec" not in str(raised.value)


def _command(tmp_path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    code = "from dagster_project.cli import main; main()"
    options = ["--config", str(tmp_path / "company.yaml"), "--state-dir", str(tmp_path / "state")]
    return subprocess.run(
        [sys.executable, "-c", code, "sources", "check", *options, *arguments],
        cwd=REPOSITORY, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def test_the_command_prints_a_line_per_source_and_fails_when_one_does(tmp_path: Path):
    (tmp_path / "calls.csv").write_text("at,tokens\n2026-07-01T10:00:00Z,5\n", encoding="utf-8")
    _settings(tmp_path, CALLS + CALLS.replace("calls", "others"))
    done = _command(tmp_path)
    assert done.returncode == 1
    assert [line.split()[:2] for line in done.stdout.splitlines()] == [["ok", "calls"], ["FAILED", "others"]]
    assert _command(tmp_path, "calls").returncode == 0
    unknown = _command(tmp_path, "nobody")
    assert unknown.returncode == 2
    assert "No source nobody is configured; known: calls, others." in unknown.stderr


def test_a_journal_is_compared_with_what_has_landed_from_it(tmp_path: Path):
    settings = _settings(tmp_path, "  - {name: by_hand, kind: manual_scores, path: scores}\n")
    [options] = settings.sources
    entry = Entry(
        kpi_name="csat", use_case_id="support_chat", use_case_version=None, use_case_instance_id=None, score=4.0,
        scored_at=AT, provenance="attested", entered_by="m.curie", reason="Phone survey",
    )  # fmt: skip
    journal = Journal(tmp_path / "scores")
    journal.add(entry, now=AT)
    pull_source(LandingZone(settings.landing_dir), discover()["manual_scores"], options, now=AT)
    assert _found(settings)["by_hand"].is_good
    journal.files()[0].unlink()
    lost = _found(settings)["by_hand"]
    assert (lost.is_good, "2026-07.jsonl of the journal" in lost.text) == (False, True)
