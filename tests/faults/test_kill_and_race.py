"""A job that is killed, two jobs at once: the published tables are those of one clean run.

Processes are real: the command line is started, watched through its progress lines and its files, and killed.
"""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from tests.faults.publication import assert_as_published_by_a_clean_run
from tests.integration.small_company import SmallCompany

pytestmark = pytest.mark.integration

_DEADLINE_S = 300


class Job:
    """`tokenledger run --json` as a process; what it says on stderr is collected line by line."""

    def __init__(self, company: SmallCompany) -> None:
        arguments = ["run", "--json", "--state-dir", "state", "--config", "company.yaml"]
        self._process = subprocess.Popen(
            [sys.executable, "-c", "from dagster_project.cli import main; main()", *arguments],
            cwd=company.root,
            env={"PYTHONPATH": str(Path(__file__).resolve().parents[2]), "PATH": "/usr/bin:/bin", "COLUMNS": "140"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.lines: list[str] = []
        self._output: list[str] = []
        self._readers = [
            Thread(target=self._read_lines, daemon=True),
            Thread(target=lambda: self._output.append(self._process.stdout.read()), daemon=True),  # type: ignore[union-attr]
        ]
        for reader in self._readers:
            reader.start()

    def kill_once(self, is_time: Callable[["Job"], bool]) -> None:
        """Send SIGKILL as soon as a condition holds."""
        deadline = time.monotonic() + _DEADLINE_S
        while not is_time(self):
            assert self._process.poll() is None, "\n".join(["ended before it was killed", *self.lines])
            assert time.monotonic() < deadline, "\n".join(["never got there", *self.lines])
            time.sleep(0.005)
        self._process.kill()
        assert self._process.wait() == -signal.SIGKILL

    def end(self) -> dict[str, Any]:
        """Wait for success and give the printed JSON."""
        code = self._process.wait(timeout=_DEADLINE_S)
        for reader in self._readers:
            reader.join(timeout=10)
        assert code == 0, "\n".join(self.lines)
        found: dict[str, Any] = json.loads(self._output[0])
        return found

    def has_said(self, stage: str, name: str) -> bool:
        """Whether a step has ended."""
        return any(line.split()[:2] == [stage, name] for line in list(self.lines))

    def _read_lines(self) -> None:
        for line in self._process.stderr or ():
            self.lines.append(line.rstrip())


@pytest.fixture
def unbuilt(built_company: SmallCompany, tmp_path: Path) -> SmallCompany:
    """The small company without anything that a run has written."""
    return built_company.copy_without_state(tmp_path / "company")


def _is_publishing(company: SmallCompany) -> bool:
    return any((company.root / "state" / "serving").glob(".*.building"))


# ---- killed


def test_job_killed_at_every_stage_in_turn_ends_like_one_clean_run(unbuilt: SmallCompany, built_company: SmallCompany):
    moments: dict[str, Callable[[Job], bool]] = {
        "during landing": lambda job: job.has_said("raw", "contract_files"),
        "during the marts": lambda job: job.has_said("marts", "capacity"),
        "during publication": lambda _: _is_publishing(unbuilt),
        "during the exports": lambda job: job.has_said("publish", "serving_warehouse"),
    }
    for moment, is_time in moments.items():
        Job(unbuilt).kill_once(is_time)
        is_published = unbuilt.settings.serving_path.exists()
        assert is_published == (moment == "during the exports"), moment
    assert Job(unbuilt).end()["is_success"]
    assert_as_published_by_a_clean_run(unbuilt, built_company)
    assert list(unbuilt.settings.serving_path.parent.glob(".*.building*")) == []
    assert unbuilt.warehouse_rows("select count(*) from ops.restatements where built_at is null") == [(0,)]
    landed = unbuilt.warehouse_rows("select input_uri, rows_landed_count from ops.landings order by all")
    assert landed == built_company.warehouse_rows("select input_uri, rows_landed_count from ops.landings order by all")


# ---- two at once


def test_two_jobs_at_once_both_succeed_and_publish_what_one_would(unbuilt: SmallCompany, built_company: SmallCompany):
    jobs = [Job(unbuilt), Job(unbuilt)]
    outcomes = sorted((job.end() for job in jobs), key=lambda outcome: len(outcome["built_days"]))
    assert [outcome["is_success"] for outcome in outcomes] == [True, True]
    assert [len(outcome["built_days"]) for outcome in outcomes] == [0, 1]
    assert_as_published_by_a_clean_run(unbuilt, built_company)
