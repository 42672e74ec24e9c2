"""Reference data: every seed has its columns, their types, its grain and what it means written down.

The descriptions lie with the dbt project, not beside the files: a company may have a reference folder of its own, and
the project is copied together with it into the state directory.
"""

import csv
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

REPOSITORY = Path(__file__).resolve().parents[2]
SEEDS = REPOSITORY / "seeds"
DESCRIPTIONS = REPOSITORY / "dbt_project" / "models" / "reference" / "_seeds.yml"


def _described() -> dict[str, dict[str, Any]]:
    content = YAML(typ="safe").load(DESCRIPTIONS.read_text(encoding="utf-8"))
    return {seed["name"]: seed for seed in content["seeds"]}


def _rows(path: Path) -> list[list[str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file, strict=True))


def test_seeds_are_those_that_are_described():
    assert {path.stem for path in SEEDS.glob("*.csv")} == set(_described())


def test_seeds_folder_holds_tables_only():
    # It is copied as a whole and read as a whole; a company replaces it by its own.
    assert [path.name for path in SEEDS.iterdir() if path.suffix != ".csv"] == []


each_seed = pytest.mark.parametrize("path", sorted(SEEDS.glob("*.csv")), ids=lambda path: path.stem)


@each_seed
def test_seed_has_a_header_and_rows_of_its_width(path: Path):
    header, *rows = _rows(path)
    assert all(header)
    assert len(set(header)) == len(header)
    assert [number for number, row in enumerate(rows, start=2) if len(row) != len(header)] == []


@each_seed
def test_seed_description_states_the_grain_and_who_maintains_it(path: Path):
    grain, _, rest = _described()[path.stem]["description"].partition(".")
    assert grain.startswith("One row per ")
    assert "Maintained by " in rest or "Source: " in rest


@each_seed
def test_seed_every_column_is_described_with_its_type(path: Path):
    seed = _described()[path.stem]
    columns = {column["name"]: column["description"] for column in seed["columns"]}
    assert list(columns) == _rows(path)[0]
    assert [name for name, description in columns.items() if not description] == []
    assert set(seed["config"]["column_types"]) == set(columns)


@each_seed
def test_seed_has_a_gate_that_shows_the_rows_of_a_repeated_key(path: Path):
    seed = _described()[path.stem]
    [gate] = [test["grain_unique"] for test in seed["data_tests"] if "grain_unique" in test]
    grain, shown = gate["arguments"]["columns"], gate["arguments"]["shown_columns"]
    assert gate["name"] == f"reference__{path.stem}_unique"
    assert grain == seed["config"]["meta"]["grain"]
    assert sorted(grain + shown) == sorted(_rows(path)[0])
    assert path.name in gate["config"]["meta"]["rule"]
    # A file without rows is no mistake: its gate is left out.
    assert gate["config"]["tags"] == [f"needs_{path.stem}"]


@each_seed
def test_seed_key_is_declared_and_unique(path: Path):
    header, *rows = _rows(path)
    grain = _described()[path.stem]["config"]["meta"]["grain"]
    positions = [header.index(column) for column in grain]
    keys = [tuple(row[position] for position in positions) for row in rows]
    assert len(set(keys)) == len(keys), f"{grain} is not unique"
