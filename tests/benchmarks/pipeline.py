"""Benchmarks (b), (c), (d): whole runs of the main job on a generated company, step by step."""

import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.benchmarks.company import Company
from tests.benchmarks.measure import peak_memory_bytes

PULL_STAGES = ("raw", "raw gates")
"""Stages that the aim for the warehouse does not count: reading feed files and judging what landed."""

_COMMAND_LINE = "from dagster_project.cli import main; main()"


def found_company(folder: str, days: int, calls_per_day: int) -> Mapping[str, Any]:
    """Make a company and the feed files of its first days."""
    company = Company(Path(folder))
    company.found(days=days)
    company.feed(first_day=0, days=days, calls_per_day=calls_per_day)
    return {"bytes": sum(path.stat().st_size for path in (company.folder / "calls").iterdir())}


def add_days(folder: str, built_days: int, days: int, calls_per_day: int) -> Mapping[str, Any]:
    """Let days pass; without calls they have no feed file."""
    company = Company(Path(folder))
    company.end_on(built_days + days)
    if calls_per_day:
        company.feed(first_day=built_days, days=days, calls_per_day=calls_per_day)
    return {}


def run_job(folder: str) -> Mapping[str, Any]:
    """Run the main job as the command line does, in this process.

    Returns:
        Seconds of the job and of its imports; each step as (stage, name, seconds, peak bytes of the process by its
        end); the ranges that were built.
    """
    started = time.perf_counter()
    from dagster_project.progress import Progress  # noqa: PLC0415 - what importing takes is measured too
    from dagster_project.runner import run_main_job  # noqa: PLC0415 - as above

    imported = time.perf_counter()
    settings = Company(Path(folder)).settings()
    peak_bytes: list[int] = []
    progress = Progress(on_end=lambda _: peak_bytes.append(peak_memory_bytes()))
    outcome = run_main_job(settings, progress)
    ended = time.perf_counter()
    if not outcome.is_success:
        failed = [check.name for check in outcome.failed_checks]
        raise RuntimeError(f"the run failed: {'; '.join([*outcome.failures, *failed])}")
    return {
        "seconds": ended - imported,
        "import_s": imported - started,
        "steps": [
            (step.stage, step.name, step.seconds, peak) for step, peak in zip(progress.steps, peak_bytes, strict=True)
        ],
        "ranges": [f"{first}..{last}" for first, last in outcome.ranges],
        "warehouse_bytes": settings.warehouse_path.stat().st_size,
    }


def run_command_line(folder: str) -> Mapping[str, Any]:
    """Run `tokenledger run --json` as a process of its own; only its wall time is of interest."""
    settings = Company(Path(folder)).settings()
    arguments = ["run", "--json", "--config", str(settings.config_path), "--state-dir", str(settings.state_dir)]
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", _COMMAND_LINE, *arguments],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False,
    )  # fmt: skip
    seconds = time.perf_counter() - started
    if done.returncode != 0:
        raise RuntimeError(f"the command line ended with exit code {done.returncode}: {done.stderr[-2000:]}")
    return {"seconds": seconds}
