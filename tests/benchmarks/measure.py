"""Run one piece of work in a process of its own, so that seconds and peak memory are its own.

`measure(work, ...)` starts this module again as a program; the child calls the work by name and writes what it found
to a file. What the work is belongs to the other modules.
"""

import importlib
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[2]

Work = Callable[..., Mapping[str, Any]]

# dbt's semaphores are still open when a child ends; their watcher, a process of its own, would say so.
_QUIET = "ignore::UserWarning:multiprocessing.resource_tracker"


@dataclass(frozen=True)
class Measurement:
    """What a piece of work took.

    Attributes:
        process_s: Wall time of the whole process, its imports included.
        work_s: Wall time of the work itself.
        peak_bytes: Largest resident set of the process.
        found: What the work returned.
    """

    process_s: float
    work_s: float
    peak_bytes: int
    found: Mapping[str, Any]


def measure(work: Work, **arguments: object) -> Measurement:
    """Run a function of one of these modules in a new process.

    Raises:
        RuntimeError: The process ended with an error; its output is above.
    """
    with tempfile.TemporaryDirectory() as folder:
        answer = Path(folder) / "answer.json"
        name = f"{work.__module__}:{work.__name__}"
        command = [sys.executable, "-W", _QUIET, "-m", "tests.benchmarks.measure"]
        command += [name, json.dumps(arguments), str(answer)]
        started = time.perf_counter()
        done = subprocess.run(command, cwd=REPOSITORY, stdout=subprocess.DEVNULL, check=False)
        process_s = time.perf_counter() - started
        if done.returncode != 0:
            raise RuntimeError(f"{name} with {arguments} ended with exit code {done.returncode}; see above.")
        return Measurement(process_s=process_s, **json.loads(answer.read_text(encoding="utf-8")))


def peak_memory_bytes() -> int:
    """Give the largest resident set of this process so far."""
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _answer(name: str, arguments: str, answer: str) -> None:
    module, _, function = name.partition(":")
    work: Work = getattr(importlib.import_module(module), function)
    started = time.perf_counter()
    found = work(**json.loads(arguments))
    work_s = time.perf_counter() - started
    content = {"work_s": work_s, "peak_bytes": peak_memory_bytes(), "found": found}
    Path(answer).write_text(json.dumps(content, default=str), encoding="utf-8")
    sys.stderr.flush()
    os._exit(0)  # DuckDB 2.0 reports leaks of its own in the interpreter's teardown


if __name__ == "__main__":
    _answer(*sys.argv[1:])
