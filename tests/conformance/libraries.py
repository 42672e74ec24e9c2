"""Where the libraries live and how their calculators are asked.

genai-prices is a dependency of the project. litellm wants packages that clash with the project's pins, so it gets an
environment of its own, built once beside the running one from `requirements.txt`.
"""

import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from importlib.metadata import version
from pathlib import Path
from typing import Any

from filelock import FileLock

from tests.conformance.grid import GENAI_PRICES, LITELLM, Cell, write_cells

_HERE = Path(__file__).resolve().parent
_REQUIREMENTS = _HERE / "requirements.txt"


@dataclass(frozen=True)
class Answer:
    """What a library's calculator says about a cell: a cost in USD, or why there is none."""

    cost_usd: Decimal | None
    refusal: str = ""


@dataclass(frozen=True)
class Speed:
    """How long a library's warm calculator took for so many calls, one after the other."""

    call_count: int
    seconds: float


def litellm_environment() -> Path:
    """Give the directory of the environment that has litellm; build it when it is not there or is another one."""
    return built_environment("conformance", _REQUIREMENTS)


def built_environment(name: str, requirements: Path, finish: Callable[[Path], None] | None = None) -> Path:
    """Give the directory of an environment of its own, beside the running one; build it when it is not there.

    Args:
        name: What its directory is called, before a hash of the requirements.
        requirements: What is installed, without dependencies.
        finish: What is done with it once, after that.
    """
    digest = hashlib.sha256(requirements.read_bytes()).hexdigest()[:12]
    environment = Path(sys.prefix) / f"{name}-{digest}"
    complete = environment / "complete"
    if complete.exists():
        return environment
    with FileLock(f"{environment}.lock"):
        if not complete.exists():
            for stale in environment.parent.glob(f"{name}-*"):
                if stale.is_dir():
                    shutil.rmtree(stale)
            _build(environment, requirements)
            if finish:
                finish(environment)
            complete.touch()
    return environment


def _build(environment: Path, requirements: Path) -> None:
    # The project's own environment has no pip; the interpreter that it was made from does.
    base = str(Path(sys.base_prefix) / "bin" / f"python{sys.version_info.major}.{sys.version_info.minor}")
    subprocess.run([base, "-m", "venv", "--without-pip", str(environment)], check=True)
    install = [base, "-m", "pip", "--python", str(environment / "bin" / "python"), "install", "--no-deps", "--quiet"]
    # What needs another Python by its metadata says so in its requirements file.
    install += ["--ignore-requires-python", "--disable-pip-version-check", "--no-input", "-r", str(requirements)]
    subprocess.run(install, check=True, stdin=subprocess.DEVNULL)


def litellm_price_file() -> Path:
    """Give litellm's own price file."""
    name = "model_prices_and_context_window_backup.json"
    (path,) = litellm_environment().glob(f"lib/python*/site-packages/litellm/{name}")
    return path


def litellm_entries() -> Mapping[str, Mapping[str, Any]]:
    """Read litellm's own price file."""
    entries: Mapping[str, Mapping[str, Any]] = json.loads(litellm_price_file().read_text(encoding="utf-8"))
    return entries


def library_version(library: str) -> str:
    """Give the version whose prices and calculator are compared."""
    if library == GENAI_PRICES:
        return version("genai-prices")
    pins = dict(line.split("==") for line in _REQUIREMENTS.read_text(encoding="utf-8").split("\n") if "==" in line)
    return pins[LITELLM]


def ask(library: str, cells: Sequence[Cell], folder: Path) -> dict[str, Answer]:
    """Price cells by a library's calculator, in a process of its own.

    Returns:
        The answer by cell id.
    """
    lines = _run(library, cells, folder, repeats=0)
    return {
        line["cell_id"]: Answer(Decimal(line["cost_usd"]) if "cost_usd" in line else None, line.get("refusal", ""))
        for line in lines
    }


def time_calculator(library: str, cells: Sequence[Cell], folder: Path, repeats: int) -> Speed:
    """Measure a library's calculator on cells, without start-up, reading and first look-ups."""
    return Speed(**_run(library, cells, folder, repeats=repeats)[-1])


def _run(library: str, cells: Sequence[Cell], folder: Path, repeats: int) -> list[dict[str, Any]]:
    python = sys.executable if library == GENAI_PRICES else str(litellm_environment() / "bin" / "python")
    grid, results = folder / f"{library}_grid.jsonl", folder / f"{library}_results.jsonl"
    write_cells(cells, grid)
    command = [python, "-W", "ignore", str(_HERE / "calculators.py"), library, str(grid), str(results), str(repeats)]
    subprocess.run(command, check=True, cwd=folder)
    return [json.loads(line) for line in results.read_text(encoding="utf-8").splitlines()]
