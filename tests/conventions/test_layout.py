"""The top level of the checkout: what a newcomer sees first stays what design and README promise."""

import fnmatch
from pathlib import Path

ENTRIES = {
    "README.md",
    "pyproject.toml",
    "workspace.yaml",
    "dagster_project",
    "dbt_project",
    "seeds",
    "sql",
    "tests",
    ".ci",
    ".gitignore",
    ".git",
}
MAX_BYTES = 1_000_000


def _top_level(repository: Path) -> set[str]:
    ignored = [line.rstrip("/") for line in (repository / ".gitignore").read_text(encoding="utf-8").split()]
    names = (path.name for path in repository.iterdir())
    return {name for name in names if not any(fnmatch.fnmatch(name, rule) for rule in ignored)}


def test_top_level_has_every_promised_entry(repository: Path):
    assert ENTRIES - {".git"} - _top_level(repository) == set()


def test_top_level_has_nothing_else_without_a_reason_in_the_decisions(repository: Path):
    decisions = (repository / "dbt_project" / "DECISIONS.md").read_text(encoding="utf-8")
    extras = _top_level(repository) - ENTRIES
    assert {name for name in extras if f"`{name}`" not in decisions} == set()


def test_no_file_is_too_large_to_be_source(own_files: list[Path], repository: Path):
    assert [str(path.relative_to(repository)) for path in own_files if path.stat().st_size > MAX_BYTES] == []


def test_every_package_of_the_tests_mirrors_one_of_the_project(repository: Path):
    own = {"conventions", "dbt", "integration", "faults", "benchmarks", "conformance", "fixtures"}
    packages = {path.name for path in (repository / "dagster_project").iterdir() if path.is_dir()}
    folders = {path.name for path in (repository / "tests").iterdir() if path.is_dir()} - {"__pycache__"}
    assert folders - own - packages == set()
