"""What no file may contain: leftovers, paths of one machine, addresses of package registries."""

import re
from collections.abc import Sequence
from pathlib import Path

import pytest

# Written with character classes so that this file does not contain what it looks for.
FORBIDDEN = {
    "a leftover": r"\b(?:TO[D]O|FIX[M]E|XX[X])\b",
    "a path of one machine": r"(?<![\w.\-/:}])/(?:hom[e]|roo[t]|wor[k]|far[m]|User[s]|op[t])/\w",
    "the address of a package registry": r"pyp[i]\.org|pythonhoste[d]|registry\.npmj[s]|de[b]\.debian\.org",
    "a merge conflict": r"^(?:<{7}|>{7}|={7})(?: |$)",
}
LOCK_FILES = {"uv.lock", "poetry.lock", "pdm.lock", "Pipfile.lock", "package-lock.json"}
BINARY_SUFFIXES = {".parquet", ".duckdb", ".gz", ".zst", ".png", ".xlsx"}


def _findings(files: Sequence[Path], pattern: str) -> list[str]:
    findings = []
    for path in files:
        if path.suffix in BINARY_SUFFIXES:
            continue
        text = path.read_text(encoding="utf-8", errors="replace")
        for number, line in enumerate(text.splitlines(), start=1):
            if re.search(pattern, line):
                findings.append(f"{path}:{number}: {line.strip()[:120]}")
    return findings


@pytest.mark.parametrize("kind", FORBIDDEN)
def test_no_file_contains(own_files: list[Path], kind: str):
    assert _findings(own_files, FORBIDDEN[kind]) == []


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("a leftover", "# TO" + "DO: later"),
        ("a path of one machine", "open('/ho" + "me/somebody/x.csv')"),
        ("the address of a package registry", "index-url = https://py" + "pi.org/simple"),
        ("a merge conflict", "<<<<" + "<<< ours"),
    ],
)
def test_pattern_finds_what_it_forbids(tmp_path: Path, kind: str, text: str):
    file = tmp_path / "file.txt"
    file.write_text(f"first line\n{text}\n", encoding="utf-8")
    assert _findings([file], FORBIDDEN[kind]) == [f"{file}:2: {text}"]


def test_pattern_of_machine_paths_leaves_addresses_alone(tmp_path: Path):
    file = tmp_path / "file.txt"
    file.write_text("see https://example.com/ho" + "me/page and {state}/wo" + "rk/x\n", encoding="utf-8")
    assert _findings([file], FORBIDDEN["a path of one machine"]) == []


def test_no_lock_file_with_download_addresses(own_files: list[Path]):
    assert [path for path in own_files if path.name in LOCK_FILES] == []


def test_constraints_pin_versions_and_nothing_else(repository: Path):
    lines = (repository / ".ci" / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [line for line in lines if not line.startswith("#")]
    assert [line for line in pins if not re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.+!]+", line)] == []
