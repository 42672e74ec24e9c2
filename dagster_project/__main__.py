"""Start tokenledger on a machine that has only Python 3.11 and pip: `python3 -m dagster_project <command>`.

Makes the project's own environment (`.venv`, or the directory in TOKENLEDGER_VENV) when it is missing or
stale, then becomes `tokenledger <command>` inside it; `test` runs the checks and the tests instead. What the
set-up says goes to stderr, so stdout is the command's alone.

Only the standard library may be imported here. The commands themselves live in cli.py.
"""

import contextlib
import fcntl
import hashlib
import importlib
import importlib.util
import json
import os
import subprocess
import sys
import venv
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

from dagster_project.errors import ConfigurationError

ROOT = Path(__file__).resolve().parent.parent
PYPROJECT = ROOT / "pyproject.toml"
CONSTRAINTS = ROOT / ".ci" / "constraints.txt"

CHECKS = (
    ("ruff", "check"),
    ("ruff", "format", "--check"),
    ("mypy",),
    ("sqlfluff", "lint", "--disable-progress-bar", "--processes", "2", "dbt_project/models", "sql"),
    # One worker more than the smallest machine has cores, for tests wait for servers and disks; a module's tests share
    # the companies that it builds. A worker that a hanging test ends is not replaced: the next would begin that test
    # again.
    ("pytest", "-n", "3", "--dist", "loadscope", "--no-loadscope-reorder", "--max-worker-restart", "0"),
)

_PYTHON = (3, 11)
_PIP = (22, 3)  # the first pip that installs into another environment (`--python`)


def main(arguments: Sequence[str]) -> int:
    """Prepare the environment and run a command in it.

    Args:
        arguments: `test` with arguments for pytest, or any command line of `tokenledger`.

    Returns:
        The exit code; commands that replace this process do not return.
    """
    try:
        check_interpreter(sys.version_info[:2])
        environment = environment_dir()
        command, *rest = [*arguments, ""]
        if command == "test":
            prepare(environment, "dev")
            return run_tests(environment, rest[:-1])
        prepare(environment)
        become(environment / "bin" / "tokenledger", arguments)
    except ConfigurationError as error:
        _say(str(error))
        return 2


def check_interpreter(version: tuple[int, ...]) -> None:
    """Refuse a Python that the pinned packages were not resolved for."""
    if version != _PYTHON:
        raise ConfigurationError(
            f"started by Python {'.'.join(map(str, version))} ({sys.executable}), expected Python 3.11. "
            "Next step: run `python3.11 -m dagster_project`."
        )


def environment_dir() -> Path:
    """Return the absolute directory of the project's environment; it may not exist yet."""
    chosen = os.environ.get("TOKENLEDGER_VENV")
    return Path(chosen).expanduser().absolute() if chosen else ROOT / ".venv"


def prepare(environment: Path, *extras: str) -> None:
    """Make the environment hold the project and its pinned packages; do nothing when it already does.

    Args:
        environment: Directory of the virtual environment.
        extras: Optional dependency groups of pyproject.toml. Groups that are already installed stay.

    Raises:
        ConfigurationError: pip is missing or too old, the directory holds something else, or the installation
            failed.
    """
    if _is_current(environment, extras):
        return
    with _only_one_setup():
        if _is_current(environment, extras):
            return
        check_pip()
        _create(environment)
        wanted = sorted({*extras, *_stamp(environment).get("extras", [])})
        # Until the installation is complete the stamp holds no digest: whoever starts now waits for it.
        _write_stamp(environment, digest="", extras=wanted)
        _install(environment, wanted)
        _write_stamp(environment, digest=_digest(), extras=wanted)


def run_tests(environment: Path, arguments: Sequence[str]) -> int:
    """Run every check in turn, or only pytest when there are arguments; return the first failure's code."""
    python = environment / "bin" / "python"
    if arguments:
        become(python, ["-m", "pytest", *arguments])
    for check in CHECKS:
        _say(f"running {' '.join(check)}")
        done = subprocess.run(  # noqa: S603 - the commands are the constants above
            [str(python), "-m", *check], cwd=ROOT, env=_environment_variables(python.parent), check=False
        )
        if done.returncode != 0:
            _say(f"`{' '.join(check)}` failed with exit code {done.returncode}; the later checks did not run.")
            return done.returncode
    return 0


def become(program: Path, arguments: Sequence[str]) -> NoReturn:
    """Replace this process with a program of the environment."""
    if not program.exists():
        raise ConfigurationError(
            f"tried to start {program}, but the environment does not have it. "
            f"Next step: delete {program.parent.parent} and run the same command again."
        )
    sys.stdout.flush()
    sys.stderr.flush()
    os.execve(program, [str(program), *arguments], _environment_variables(program.parent))  # noqa: S606


def check_pip() -> None:
    """Refuse to go on without a pip that can install into another environment."""
    if importlib.util.find_spec("pip") is None:
        raise ConfigurationError(
            f"{sys.executable} has no pip, which installs the pinned packages. "
            "Next step: install it (on Debian `apt-get install python3-pip`) and run the same command again."
        )
    observed: str = importlib.import_module("pip").__version__
    if tuple(int(part) for part in observed.split(".")[:2] if part.isdigit()) < _PIP:
        raise ConfigurationError(
            f"{sys.executable} has pip {observed}, expected 22.3 or newer. Next step: upgrade pip."
        )


def _create(environment: Path) -> None:
    """Make the virtual environment; one of ours that was moved or lost its Python is made anew."""
    stamp = _stamp(environment)
    if stamp and stamp["place"] == _place(environment) and (environment / "bin" / "python").exists():
        return
    is_foreign = environment.exists() and not stamp and not (environment / "pyvenv.cfg").exists()
    if is_foreign and (not environment.is_dir() or any(environment.iterdir())):
        raise ConfigurationError(
            f"{environment} exists and is not a virtual environment. "
            "Next step: move it away, or set TOKENLEDGER_VENV to a directory that may be created."
        )
    _say(f"creating the environment {environment}")
    try:
        # ensurepip is a separate package on Debian; the pip outside the environment fills it.
        venv.EnvBuilder(with_pip=False, symlinks=True, clear=bool(stamp)).create(environment)
    except (OSError, subprocess.CalledProcessError) as error:
        raise ConfigurationError(
            f"tried to create the environment {environment}, observed: {error}. "
            "Next step: set TOKENLEDGER_VENV to a directory that may be created."
        ) from error


def _install(environment: Path, extras: Sequence[str]) -> None:
    project = str(ROOT) + (f"[{','.join(extras)}]" if extras else "")
    command = [sys.executable, "-m", "pip", "--python", str(environment / "bin" / "python"), "install"]
    command += ["--quiet", "--disable-pip-version-check", "--no-input", "-c", str(CONSTRAINTS), "-e", project]
    _say("installing the pinned packages; the first time this takes a minute or two")
    done = subprocess.run(command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=sys.stderr, check=False)  # noqa: S603
    if done.returncode != 0:
        raise ConfigurationError(
            f"`{' '.join(command)}` failed with exit code {done.returncode}; pip's reason is above. "
            "Next step: check that pip reaches its package index, then run the same command again."
        )


def _is_current(environment: Path, extras: Sequence[str]) -> bool:
    stamp = _stamp(environment)
    return (
        bool(stamp)
        and stamp["place"] == _place(environment)
        and stamp["digest"] == _digest()
        and set(extras) <= set(stamp["extras"])
        and (environment / "bin" / "python").exists()
    )


def _place(environment: Path) -> list[str]:
    # Scripts and the editable installation hold absolute paths: a moved environment has to be made anew.
    return [str(environment), str(ROOT)]


def _digest() -> str:
    """Hash what decides the content of the environment."""
    digest = hashlib.sha256()
    for path in (PYPROJECT, CONSTRAINTS):
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def _stamp_path(environment: Path) -> Path:
    return environment / "tokenledger-setup.json"


def _stamp(environment: Path) -> dict[str, Any]:
    """Return what this module last did in the environment; empty when it did not make it."""
    try:
        return dict(json.loads(_stamp_path(environment).read_text(encoding="utf-8")))
    except (FileNotFoundError, NotADirectoryError):
        return {}


def _write_stamp(environment: Path, *, digest: str, extras: Sequence[str]) -> None:
    stamp = {"place": _place(environment), "digest": digest, "extras": list(extras)}
    partial = _stamp_path(environment).with_suffix(".partial")
    partial.write_text(json.dumps(stamp), encoding="utf-8")
    partial.replace(_stamp_path(environment))


@contextlib.contextmanager
def _only_one_setup() -> Iterator[None]:
    # The lock is on pyproject.toml itself: nothing is left behind, and two environments of one checkout wait
    # for each other too, because they share the project's build metadata.
    with PYPROJECT.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _say("waiting for another set-up of this checkout to finish")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _environment_variables(bin_dir: Path) -> dict[str, str]:
    """Return the variables of this process with the environment's programs found first."""
    path = os.environ.get("PATH", os.defpath)
    return {**os.environ, "PATH": f"{bin_dir}{os.pathsep}{path}"}


def _say(message: str) -> None:
    print(f"tokenledger: {message}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
