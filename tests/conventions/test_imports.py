"""Who may import what: Dagster stays at the edge, the environment is read in one place."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

WITHOUT_DAGSTER = (
    "statistics",
    "demo",
    "sources",
    "settings.py",
    "errors.py",
    "warehouse/landing.py",
    "warehouse/value_equations.py",
)
ENVIRONMENT_NAMES = {"environ", "environb", "getenv", "putenv"}
# Each with the reason why it may touch the environment.
ENVIRONMENT_USERS = {
    "settings.py": "the one reader",
    "__main__.py": "runs before anything is installed and hands the environment on",
    "warehouse/dbt.py": "sets what dbt's env_var reads while dbt runs in this process",
}


def _modules(package: Path) -> Iterator[Path]:
    yield from sorted(path for path in package.rglob("*.py"))


def _imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield "." * node.level + (node.module or "")


def _touches_environment(path: Path) -> bool:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        match node:
            case ast.Attribute(value=ast.Name(id="os"), attr=name) if name in ENVIRONMENT_NAMES:
                return True
            case ast.ImportFrom(module="os", names=names) if {alias.name for alias in names} & ENVIRONMENT_NAMES:
                return True
    return False


@pytest.fixture
def package(repository: Path) -> Path:
    return repository / "dagster_project"


@pytest.mark.parametrize("part", WITHOUT_DAGSTER)
def test_part_never_imports_dagster(package: Path, part: str):
    files = [package / part] if part.endswith(".py") else list(_modules(package / part))
    assert files
    found = [
        f"{path.relative_to(package)}: {name}"
        for path in files
        for name in _imported(path)
        if name.split(".")[0] != "dagster_project" and name.startswith("dagster")
    ]
    assert found == []


def test_parts_without_dagster_do_not_load_it_through_others(package: Path, repository: Path):
    names = [
        path.relative_to(repository).with_suffix("").as_posix().replace("/", ".").removesuffix(".__init__")
        for part in WITHOUT_DAGSTER
        for path in ([package / part] if part.endswith(".py") else _modules(package / part))
    ]
    script = (
        "import importlib, sys\n"
        f"for name in {names!r}:\n"
        "    importlib.import_module(name)\n"
        "    assert 'dagster' not in sys.modules, name + ' loads dagster'\n"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=repository, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_environment_is_touched_only_where_there_is_a_reason(package: Path):
    users = {path.relative_to(package).as_posix() for path in _modules(package) if _touches_environment(path)}
    assert users - set(ENVIRONMENT_USERS) == set()


@pytest.mark.parametrize(
    ("source", "is_touching"),
    [
        ("import os\nos.environ['A']", True),
        ("import os\nos.getenv('A')", True),
        ("from os import environ", True),
        ("import os\nos.getpid()", False),
        ("def f(environ): return environ['A']", False),
    ],
)
def test_touching_the_environment_is_recognised(tmp_path: Path, source: str, is_touching: bool):
    file = tmp_path / "module.py"
    file.write_text(source, encoding="utf-8")
    assert _touches_environment(file) is is_touching


def test_no_import_is_relative(package: Path, repository: Path):
    files = [*_modules(package), *_modules(repository / "tests")]
    assert [f"{path}: {name}" for path in files for name in _imported(path) if name.startswith(".")] == []


def test_bootstrap_imports_only_the_standard_library_and_the_errors(package: Path):
    for file in ("__main__.py", "errors.py", "__init__.py"):
        foreign = {name for name in _imported(package / file) if name.split(".")[0] not in sys.stdlib_module_names}
        assert foreign <= {"dagster_project.errors"}


def test_bootstrap_does_not_read_a_module_that_shadows_the_standard_library(package: Path):
    # `python3 -m dagster_project` puts the checkout first on the path.
    top = {path.stem for path in package.parent.iterdir() if path.suffix == ".py" or path.is_dir()}
    assert top & set(sys.stdlib_module_names) == set()
