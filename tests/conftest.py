"""Companies that several packages of tests look at: each is built once per session and only read."""

import os
import pickle
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from filelock import FileLock

from dagster_project.demo.truths import Truths
from dagster_project.progress import Progress
from dagster_project.runner import RunOutcome, run_main_job
from dagster_project.settings import DEFAULT_CONFIG_PATH, Settings, load_settings
from dagster_project.warehouse.dbt import DbtProject
from tests.integration.small_company import SmallCompany, query


@pytest.fixture(scope="session", autouse=True)
def _equal_projects_are_parsed_once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Reuse what dbt parsed for a company with the same project and reference data: it takes longer than most tests."""
    parse, kept = DbtProject._parse, tmp_path_factory.mktemp("parsed")

    def parse_or_reuse(project: DbtProject) -> None:
        target = project.manifest_path.parent
        known = kept / project.parsed_fingerprint()
        if known.exists():
            shutil.copytree(known, target, copy_function=shutil.copyfile, dirs_exist_ok=True)
            return
        parse(project)
        known.mkdir()
        for name in ("manifest.json", "partial_parse.msgpack"):
            shutil.copyfile(target / name, known / name)

    with mock.patch.object(DbtProject, "_parse", parse_or_reuse):
        yield


CALLS = 20_000
DAYS = 21


@dataclass(frozen=True)
class NovaSpark:
    """The demo company after one run of the main job.

    Attributes:
        settings: Its configuration.
        truths: What was planted in its feeds.
        outcome: What the run did.
        progress: Every step of it.
    """

    settings: Settings
    truths: Truths
    outcome: RunOutcome
    progress: Progress

    def rows(self, sql: str, parameters: dict[str, Any] | None = None) -> list[tuple[Any, ...]]:
        """Query the published file."""
        return query(self.settings.serving_path, sql, parameters)

    def warehouse_rows(self, sql: str, parameters: dict[str, Any] | None = None) -> list[tuple[Any, ...]]:
        """Query the warehouse."""
        return query(self.settings.warehouse_path, sql, parameters)


def _once_per_session(
    tmp_path_factory: pytest.TempPathFactory, name: str, run: Callable[[Path], tuple[RunOutcome, Progress]]
) -> tuple[Path, RunOutcome, Progress]:
    """Run a company in a folder that the session's worker processes share; whoever comes second finds it built."""
    own = tmp_path_factory.getbasetemp()
    folder = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / name
    kept = folder / "outcome.pickle"
    with FileLock(folder.with_suffix(".lock")):
        if not kept.exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            outcome, progress = run(folder)
            kept.write_bytes(pickle.dumps((outcome, progress.steps)))
        outcome, steps = pickle.loads(kept.read_bytes())  # noqa: S301 - written above
    return folder, outcome, Progress(steps=steps)


def _novaspark_settings(folder: Path) -> Settings:
    config, state = folder / "novaspark.yaml", folder / "state"
    return load_settings(config_path=config, state_dir=state, environ={})


def _run_novaspark(folder: Path) -> tuple[RunOutcome, Progress]:
    text = DEFAULT_CONFIG_PATH.read_text(encoding="utf-8")
    lines = {
        "as_of:": "as_of: 2026-07-22T00:00:00Z",
        "demo:": f"demo: {{seed: 7, calls: {CALLS}, days: {DAYS}}}",
    }
    smaller = [lines.get(line.split(" ")[0], line) for line in text.splitlines()]
    (folder / "novaspark.yaml").write_text("\n".join(smaller) + "\n", encoding="utf-8")
    progress = Progress()
    return run_main_job(_novaspark_settings(folder), progress), progress


@pytest.fixture(scope="session")
def novaspark(tmp_path_factory: pytest.TempPathFactory) -> NovaSpark:
    """Three weeks of NovaSpark, 20,000 calls, run as `tokenledger run` does."""
    folder, outcome, progress = _once_per_session(tmp_path_factory, "novaspark", _run_novaspark)
    settings = _novaspark_settings(folder)
    truths = Truths.from_json((settings.feeds_dir / "truths.json").read_text(encoding="utf-8"))
    return NovaSpark(settings, truths, outcome, progress)


@dataclass(frozen=True)
class FirstRun:
    """The small company after its first run; copy it before changing anything.

    Attributes:
        company: Its files and its state.
        outcome: What the run did.
        progress: Every step of it.
    """

    company: SmallCompany
    outcome: RunOutcome
    progress: Progress


@pytest.fixture(scope="session")
def first_run(tmp_path_factory: pytest.TempPathFactory) -> FirstRun:
    """The small company, run as `tokenledger run` does."""

    def run(folder: Path) -> tuple[RunOutcome, Progress]:
        progress = Progress()
        return SmallCompany.found(folder / "company").run(progress), progress

    folder, outcome, progress = _once_per_session(tmp_path_factory, "small", run)
    return FirstRun(SmallCompany(folder / "company"), outcome, progress)


@pytest.fixture(scope="session")
def built_company(first_run: FirstRun) -> SmallCompany:
    """The small company after one successful run; copy it before changing anything."""
    assert first_run.outcome.is_success, first_run.outcome
    return first_run.company


@pytest.fixture
def company(built_company: SmallCompany, tmp_path: Path) -> SmallCompany:
    """A built small company of the test's own."""
    return built_company.copy_to(tmp_path / "company")
