"""What the convention tests look at: the checkout's own files and the parsed dbt project."""

import fnmatch
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]


def _ignored_names() -> list[str]:
    lines = (REPOSITORY / ".gitignore").read_text(encoding="utf-8").splitlines()
    return [line.strip().rstrip("/") for line in lines if line.strip() and not line.startswith("#")]


def _own_files(folder: Path, ignored: list[str]) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        relative = path.relative_to(REPOSITORY).as_posix()
        if path.name == ".git" or any(
            fnmatch.fnmatch(name, rule) for name in (path.name, relative) for rule in ignored
        ):
            continue
        if path.is_dir():
            yield from _own_files(path, ignored)
        else:
            yield path


@pytest.fixture(scope="session")
def repository() -> Path:
    """Root of the checkout."""
    return REPOSITORY


@pytest.fixture(scope="session")
def own_files() -> list[Path]:
    """Every file of the checkout that .gitignore does not exclude."""
    return list(_own_files(REPOSITORY, _ignored_names()))


@pytest.fixture(scope="session")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Any]:
    """The manifest of the dbt project, parsed into a temporary directory."""
    from dbt.adapters.duckdb.connections import DuckDBConnectionManager  # noqa: PLC0415 - slow to import
    from dbt.cli.main import dbtRunner  # noqa: PLC0415 - slow to import

    scratch = tmp_path_factory.mktemp("dbt")
    project = str(REPOSITORY / "dbt_project")
    folders = ["--project-dir", project, "--profiles-dir", project]
    outputs = ["--target-path", str(scratch / "target"), "--log-path", str(scratch / "logs")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TOKENLEDGER_WAREHOUSE", str(scratch / "warehouse.duckdb"))
        try:
            flags = ["--quiet", "--no-partial-parse", "--no-send-anonymous-usage-stats"]
            outcome = dbtRunner().invoke([*flags, "parse", *folders, *outputs])
        finally:
            DuckDBConnectionManager.close_all_connections()
    assert outcome.success, f"dbt parse failed: {outcome.exception}"
    content: Mapping[str, Any] = json.loads((scratch / "target" / "manifest.json").read_text(encoding="utf-8"))
    return content
