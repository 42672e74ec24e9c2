"""The set-up on a bare Python: what it installs, when, what it says; pip and the tools are stand-ins."""

import fcntl
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from dagster_project import __main__ as bootstrap
from dagster_project.errors import ConfigurationError

REPOSITORY = Path(__file__).resolve().parent.parent

PIP_INIT = '__version__ = "23.0.1"\n'
PIP_MAIN = """
import json, os, sys, time
from pathlib import Path

with Path(os.environ["CALLS"]).open("a") as calls:
    calls.write(json.dumps(["pip", *sys.argv[1:]]) + "\\n")
print("pip says hello")
time.sleep(float(os.environ.get("PIP_SECONDS", "0")))
if os.environ.get("PIP_EXIT_CODE"):
    sys.exit(int(os.environ["PIP_EXIT_CODE"]))
python = Path(sys.argv[sys.argv.index("--python") + 1])
script = python.parent / "tokenledger"
script.write_text("#!/bin/sh\\nexec '" + str(python) + "' -m echo_arguments \\"$@\\"\\n")
script.chmod(0o755)
"""
ECHO = """
import json, os, sys
print(json.dumps({"arguments": sys.argv[1:], "first_on_path": os.environ["PATH"].split(os.pathsep)[0]}))
"""
TOOL = """
import json, os, sys
from pathlib import Path

with Path(os.environ["CALLS"]).open("a") as calls:
    calls.write(json.dumps([__spec__.name, *sys.argv[1:]]) + "\\n")
sys.exit(int(os.environ.get(__spec__.name.upper() + "_EXIT_CODE", "0")))
"""


class Machine:
    """A checkout with stand-ins for pip and the tools, on a Python that has no ensurepip."""

    def __init__(self, directory: Path) -> None:
        self.checkout = directory / "check out"
        self.environment = self.checkout / ".venv"
        self.modules = directory / "modules"
        self.calls_file = directory / "calls.jsonl"
        (self.checkout / ".ci").mkdir(parents=True)
        (self.checkout / ".ci" / "constraints.txt").write_text("click==8.4.2\n")
        (self.checkout / "pyproject.toml").write_text('[project]\nname = "tokenledger"\n')
        (self.checkout / "dagster_project").mkdir()
        for name in ("__init__.py", "__main__.py", "errors.py"):
            shutil.copy(REPOSITORY / "dagster_project" / name, self.checkout / "dagster_project")
        (self.modules / "pip").mkdir(parents=True)
        (self.modules / "pip" / "__init__.py").write_text(PIP_INIT)
        (self.modules / "pip" / "__main__.py").write_text(PIP_MAIN)
        (self.modules / "ensurepip.py").write_text('raise ImportError("python3-venv is not installed")\n')
        (self.modules / "echo_arguments.py").write_text(ECHO)
        for name in ("ruff", "mypy", "sqlfluff", "pytest"):
            (self.modules / f"{name}.py").write_text(TOOL)
        self.variables = {
            **{name: value for name, value in os.environ.items() if name != "TOKENLEDGER_VENV"},
            "PYTHONPATH": str(self.modules),
            "CALLS": str(self.calls_file),
        }

    def start(self, *arguments: str, **variables: str) -> subprocess.Popen[str]:
        """Start `python3 -m dagster_project` in the checkout."""
        return subprocess.Popen(
            [sys.executable, "-m", "dagster_project", *arguments],
            cwd=self.checkout,
            env={**self.variables, **variables},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run `python3 -m dagster_project` in the checkout to its end."""
        process = self.start(*arguments, **variables)
        stdout, stderr = process.communicate(timeout=60)
        return subprocess.CompletedProcess(arguments, process.returncode, stdout, stderr)

    @property
    def calls(self) -> list[list[str]]:
        """The command lines that the stand-ins have seen."""
        if not self.calls_file.exists():
            return []
        return [json.loads(line) for line in self.calls_file.read_text().splitlines()]


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


@pytest.fixture
def here(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """The same machine for calls within this process."""
    monkeypatch.setattr(bootstrap, "ROOT", machine.checkout)
    monkeypatch.setattr(bootstrap, "PYPROJECT", machine.checkout / "pyproject.toml")
    monkeypatch.setattr(bootstrap, "CONSTRAINTS", machine.checkout / ".ci" / "constraints.txt")
    monkeypatch.syspath_prepend(machine.modules)
    monkeypatch.delitem(sys.modules, "pip", raising=False)
    for name, value in machine.variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("TOKENLEDGER_VENV", raising=False)
    return machine


@pytest.fixture
def became(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Record the command line that the process would turn into."""
    command_lines: list[list[str]] = []

    class Replaced(BaseException):
        pass

    def execve(_program: Path, arguments: list[str], _variables: dict[str, str]) -> None:
        command_lines.append(arguments)
        raise Replaced

    monkeypatch.setattr(os, "execve", execve)
    original = bootstrap.main

    def main(arguments: list[str]) -> int:
        try:
            return original(arguments)
        except Replaced:
            return 0

    monkeypatch.setattr(bootstrap, "main", main)
    return command_lines


def test_first_start_makes_the_environment_and_passes_the_command_through_with_clean_stdout(machine: Machine):
    done = machine.run("run", "--json", "--name", "two words")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "arguments": ["run", "--json", "--name", "two words"],
        "first_on_path": str(machine.environment / "bin"),
    }
    assert "pip says hello" in done.stderr
    assert machine.calls == [
        [
            "pip",
            "--python",
            str(machine.environment / "bin" / "python"),
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "--no-input",
            "-c",
            str(machine.checkout / ".ci" / "constraints.txt"),
            "-e",
            str(machine.checkout),
        ]
    ]
    assert not list(machine.environment.glob("lib/python3.11/site-packages/pip*"))


def test_second_start_installs_nothing_and_says_nothing(machine: Machine):
    machine.run("--help")
    done = machine.run("--help")
    assert json.loads(done.stdout)["arguments"] == ["--help"]
    assert done.stderr == ""
    assert len(machine.calls) == 1


def test_two_starts_at_once_install_once(machine: Machine):
    processes = [machine.start("run", str(number), PIP_SECONDS="1") for number in range(3)]
    outputs = [process.communicate(timeout=60) for process in processes]
    assert [json.loads(stdout)["arguments"] for stdout, _ in outputs] == [["run", str(number)] for number in range(3)]
    assert len(machine.calls) == 1
    assert sum("waiting for another set-up" in stderr for _, stderr in outputs) == 2


def test_environment_can_be_somewhere_else(machine: Machine, tmp_path: Path):
    elsewhere = tmp_path / "elsewhere"
    done = machine.run("run", TOKENLEDGER_VENV=str(elsewhere))
    assert json.loads(done.stdout)["first_on_path"] == str(elsewhere / "bin")
    assert not machine.environment.exists()


def test_failed_installation_is_told_and_tried_again_next_time(machine: Machine):
    failed = machine.run("run", PIP_EXIT_CODE="1")
    assert failed.returncode == 2
    assert failed.stdout == ""
    assert "failed with exit code 1; pip's reason is above. Next step: check that pip reaches" in failed.stderr
    assert machine.run("run").returncode == 0
    assert len(machine.calls) == 2


def test_python_without_pip_is_told_what_to_install(machine: Machine):
    shutil.rmtree(machine.modules / "pip")
    (machine.modules / "sitecustomize.py").write_text(
        "import importlib.util as util\n"
        "find_spec = util.find_spec\n"
        "util.find_spec = lambda name, *more: None if name == 'pip' else find_spec(name, *more)\n"
    )
    done = machine.run("run")
    assert done.returncode == 2
    assert "has no pip" in done.stderr
    assert "apt-get install python3-pip" in done.stderr


@pytest.mark.parametrize("changed", ["pyproject.toml", ".ci/constraints.txt"])
def test_changed_pins_are_installed_at_the_next_start(here: Machine, became: list[list[str]], changed: str):
    bootstrap.main(["run"])
    with (here.checkout / changed).open("a") as file:
        file.write("# changed\n")
    bootstrap.main(["run"])
    bootstrap.main(["run"])
    assert len(here.calls) == 2
    assert became == [[str(here.environment / "bin" / "tokenledger"), "run"]] * 3


def test_tests_add_the_development_packages_and_run_keeps_them(here: Machine, became: list[list[str]]):
    bootstrap.main(["run"])
    bootstrap.main(["test", "-k", "name"])
    bootstrap.main(["run"])
    (here.checkout / "pyproject.toml").write_text("# changed\n")
    bootstrap.main(["run"])
    assert [call[-1] for call in here.calls] == [
        str(here.checkout),
        f"{here.checkout}[dev]",
        f"{here.checkout}[dev]",
    ]
    assert became[1] == [str(here.environment / "bin" / "python"), "-m", "pytest", "-k", "name"]


def test_tests_without_arguments_run_every_check_in_order(here: Machine):
    assert bootstrap.main(["test"]) == 0
    assert here.calls[1:] == [
        ["ruff", "check"],
        ["ruff", "format", "--check"],
        ["mypy"],
        ["sqlfluff", "lint", "--disable-progress-bar", "--processes", "2", "dbt_project/models", "sql"],
        ["pytest", "-n", "3", "--dist", "loadscope", "--no-loadscope-reorder", "--max-worker-restart", "0"],
    ]


def test_failed_check_stops_the_tests_with_its_exit_code(
    here: Machine, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("MYPY_EXIT_CODE", "3")
    assert bootstrap.main(["test"]) == 3
    assert [call[0] for call in here.calls] == ["pip", "ruff", "ruff", "mypy"]
    assert "`mypy` failed with exit code 3; the later checks did not run." in capfd.readouterr().err


def test_moved_checkout_gets_a_new_environment(here: Machine, became: list[list[str]]):
    bootstrap.main(["run"])
    left_over = here.environment / "left_over"
    left_over.touch()
    stamp = here.environment / "tokenledger-setup.json"
    stamp.write_text(stamp.read_text().replace("check out", "former place"))
    assert bootstrap.main(["run"]) == 0
    assert not left_over.exists()
    assert len(here.calls) == 2


def test_environment_that_lost_its_python_is_made_anew(here: Machine, became: list[list[str]]):
    bootstrap.main(["run"])
    (here.environment / "bin" / "python").unlink()
    assert bootstrap.main(["run"]) == 0
    assert (here.environment / "bin" / "python").exists()


def test_environment_that_the_user_made_is_filled_and_not_cleared(here: Machine, became: list[list[str]]):
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(here.environment)], check=True)
    own = here.environment / "own_file"
    own.touch()
    assert bootstrap.main(["run"]) == 0
    assert own.exists()


def test_directory_that_is_no_environment_is_left_alone(here: Machine, capfd: pytest.CaptureFixture[str]):
    here.environment.mkdir()
    (here.environment / "letter.txt").touch()
    assert bootstrap.main(["run"]) == 2
    assert "exists and is not a virtual environment. Next step: move it away" in capfd.readouterr().err
    assert [path.name for path in here.environment.iterdir()] == ["letter.txt"]
    assert here.calls == []


def test_directory_that_cannot_be_made_is_told(
    here: Machine, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
):
    (here.checkout / "file").touch()
    monkeypatch.setenv("TOKENLEDGER_VENV", str(here.checkout / "file" / "venv"))
    assert bootstrap.main(["run"]) == 2
    assert "Next step: set TOKENLEDGER_VENV" in capfd.readouterr().err


def test_environment_without_the_command_is_told(here: Machine, capfd: pytest.CaptureFixture[str]):
    with pytest.raises(ConfigurationError, match="Next step: delete"):
        bootstrap.become(here.environment / "bin" / "tokenledger", ["run"])


def test_other_python_is_refused():
    with pytest.raises(ConfigurationError, match=r"started by Python 3\.12 .*expected Python 3\.11.*python3\.11 -m"):
        bootstrap.check_interpreter((3, 12))


def test_old_pip_is_refused(here: Machine):
    (here.modules / "pip" / "__init__.py").write_text('__version__ = "20.3.4"\n')
    with pytest.raises(ConfigurationError, match=r"has pip 20\.3\.4, expected 22\.3 or newer"):
        bootstrap.check_pip()


def test_lock_is_free_after_a_set_up(here: Machine, became: list[list[str]]):
    bootstrap.main(["run"])
    with (here.checkout / "pyproject.toml").open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_package_root_imports_nothing():
    done = subprocess.run(
        [
            sys.executable,
            "-S",
            "-c",
            "import sys; n = set(sys.modules); import dagster_project; print(set(sys.modules) - n)",
        ],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "{'dagster_project'}"
