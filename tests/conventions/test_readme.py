"""The README is believed: its tree, its links and its commands exist."""

import io
import json
import re
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click
import pytest
from ruamel.yaml import YAML

from dagster_project.cli import main
from dagster_project.settings import load_settings
from dagster_project.sources import discover

BRANCH = re.compile(r"^(?P<indent>(?:[│ ] {3}|\s{4})*)[├└]── (?P<text>.*)$")
NAME = re.compile(r"[\w.\-/]+(?:/|\.\w+)")
BLOCK = re.compile(r"^```(?P<language>\w*)\n(?P<body>.*?)^```", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\]\((?P<target>[^)#\s]+)(?:#[^)]*)?\)")
SHELL_LANGUAGES = {"", "bash", "sh", "shell", "console"}
SHELL_OPERATORS = {"|", "||", "&&", ";", ">", ">>", "<", "&", "2>"}


@pytest.fixture(scope="module")
def readme(repository: Path) -> str:
    return (repository / "README.md").read_text(encoding="utf-8")


def _tree_paths(text: str) -> Iterator[str]:
    """Yield the paths that a drawn tree names; a name in <angle brackets> stands for many and is left out."""
    parents: list[str] = []
    for line in text.splitlines():
        branch = BRANCH.match(line)
        if branch is None:
            continue
        depth = len(branch["indent"]) // 4
        first, *others = branch["text"].split()
        names = [first]
        for word in others:
            if not NAME.fullmatch(word):
                break
            names.append(word)
        parents = [*parents[:depth], first.rstrip("/")]
        for name in names:
            path = "/".join([*parents[:depth], name.rstrip("/")])
            if not re.search(r"[<>…*]", path):
                yield path


def _commands(text: str) -> Iterator[list[str]]:
    """Yield the arguments of every tokenledger command line in a code block."""
    for block in BLOCK.finditer(text):
        if block["language"] not in SHELL_LANGUAGES:
            continue
        for line in block["body"].replace("\\\n", " ").splitlines():
            words = line.removeprefix("$ ").strip()
            if not re.match(r"(?:\w+=\S+ )*(?:python3? -m dagster_project|(?:\S+/)?tokenledger)\b", words):
                continue
            parts = [part for part in shlex.split(words, comments=True) if not re.match(r"[A-Z_]+=", part)]
            end = next((i for i, part in enumerate(parts) if part in SHELL_OPERATORS), len(parts))
            is_bootstrap = "dagster_project" in parts[:3]
            arguments = parts[3 if is_bootstrap else 1 : end]
            if not (is_bootstrap and arguments[:1] == ["test"]):
                yield arguments


def _problem(arguments: Sequence[str], command: click.Command) -> str | None:
    """Say what a command line asks for that the command line interface does not have."""
    waiting = list(arguments)
    while waiting:
        word = waiting.pop(0)
        if word.startswith("-"):
            name, has_value = word.split("=")[0], "=" in word
            option = next((p for p in command.params if name in (*p.opts, *p.secondary_opts)), None)
            if option is None and name != "--help":
                return f"{command.name} has no option {name}"
            if isinstance(option, click.Option) and not (option.is_flag or option.count or has_value):
                waiting[: option.nargs] = []
        elif isinstance(command, click.Group):
            if word not in command.commands:
                return f"{command.name} has no command {word}; it has {', '.join(sorted(command.commands))}"
            command = command.commands[word]
    return None


def test_tree_names_only_paths_that_exist(readme: str, repository: Path):
    paths = list(_tree_paths(readme))
    assert paths, "the README draws no tree"
    assert [path for path in paths if not (repository / path).exists()] == []


def test_links_lead_to_files_that_exist(readme: str, repository: Path):
    targets = [link["target"] for link in LINK.finditer(readme) if "://" not in link["target"]]
    assert [target for target in targets if not (repository / target).exists()] == []


def test_commands_exist_with_their_options(readme: str):
    commands = list(_commands(readme))
    assert ["run"] in [command[:1] for command in commands]
    problems = [(" ".join(command), _problem(command, main)) for command in commands]
    assert [problem for problem in problems if problem[1] is not None] == []


def test_readme_tells_how_to_run_the_tests(readme: str):
    assert "python3 -m dagster_project test" in readme


def test_paths_of_a_tree_are_read_with_their_parents():
    tree = """
.
├── README.md           what it answers
├── dbt_project/
│   ├── models/<source>/     1:1 with raw
│   └── macros/  tests/  DECISIONS.md
└── seeds/              reference data
"""
    assert list(_tree_paths(tree)) == [
        "README.md",
        "dbt_project",
        "dbt_project/macros",
        "dbt_project/tests",
        "dbt_project/DECISIONS.md",
        "seeds",
    ]


def test_commands_of_code_blocks_are_read_without_what_the_shell_does():
    lines = [
        "```bash",
        "A=b python3 -m dagster_project run --json > out.json  # why",
        "$ tokenledger ui",
        "python3 -m dagster_project test -k x",
        "```",
    ]
    text = "\n".join([*lines, ""])
    assert list(_commands(text)) == [["run", "--json"], ["ui"]]


def test_unknown_commands_and_options_are_problems():
    @click.group()
    @click.option("--state-dir")
    def tool() -> None:
        """Do nothing."""

    @tool.command()
    @click.option("--json", is_flag=True)
    def run() -> None:
        """Do nothing."""

    assert _problem(["--state-dir", "x", "run", "--json"], tool) is None
    assert _problem(["run", "--jsn"], tool) == "run has no option --jsn"
    assert _problem(["walk"], tool) == "tool has no command walk; it has run"


def _configured_sources(text: str) -> list[dict[str, Any]]:
    """Give every source that a YAML block of the README configures."""
    found: list[dict[str, Any]] = []
    for block in BLOCK.finditer(text):
        if block["language"] != "yaml":
            continue
        content = YAML(typ="safe").load(block["body"])
        entries = content.get("sources", []) if isinstance(content, dict) else content
        found += [entry for entry in entries if isinstance(entry, dict) and "kind" in entry]
    return found


def test_every_kind_of_source_has_a_configuration_that_loads(readme: str, tmp_path: Path):
    sources = _configured_sources(readme)
    lines = io.StringIO()
    YAML(typ="safe").dump({"organization": "Example", "start_date": "2026-07-01", "sources": sources}, lines)
    config = tmp_path / "tokenledger.yaml"
    config.write_text(lines.getvalue(), encoding="utf-8")
    names = set(re.findall(r"\$\{(\w+)\}", config.read_text(encoding="utf-8")))
    # What is a URL of a database must be one, and Google's key a key of a service account.
    environ = {name: "postgresql://reader@db.example/ledger" if name.endswith("_URL") else "key" for name in names}
    account = {"client_email": "reader@example", "private_key": "key", "token_uri": "https://oauth2.example/token"}
    environ["GOOGLE_SERVICE_ACCOUNT_JSON"] = json.dumps({"type": "service_account", **account})
    settings = load_settings(config_path=config, state_dir=tmp_path / "state", environ=environ)
    assert {options.kind for options in settings.sources} == set(discover())
