"""Reference data: every seed has its columns, their types, its grain and its key written down beside it."""

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

SEEDS = Path(__file__).resolve().parents[2] / "seeds"
UNIQUENESS_TESTS = {"unique", "grain_unique"}


def _described() -> dict[str, dict[str, Any]]:
    described = {}
    for path in sorted(SEEDS.glob("*.yml")):
        content = YAML(typ="safe").load(path.read_text(encoding="utf-8")) or {}
        described.update({seed["name"]: seed for seed in content.get("seeds", [])})
    return described


def _description_of(path: Path) -> dict[str, Any]:
    described = _described()
    assert path.stem in described, f"no seeds/*.yml describes {path.name}"
    return described[path.stem]


def _rows(path: Path) -> list[list[str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file, strict=True))


def _tests(entry: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield name and arguments of each data test of a seed or a column."""
    for test in entry.get("data_tests", []):
        if isinstance(test, str):
            yield test, {}
            continue
        if "test_name" in test:
            yield test["test_name"], test.get("arguments", test)
            continue
        ((name, properties),) = test.items()
        yield name, (properties or {}).get("arguments", properties or {})


def _keys(seed: dict[str, Any]) -> Iterator[list[str]]:
    """Yield the columns of every uniqueness test of a seed."""
    for name, arguments in _tests(seed):
        if name in UNIQUENESS_TESTS:
            yield arguments["columns"]
    for column in seed.get("columns", []):
        if any(name in UNIQUENESS_TESTS for name, _ in _tests(column)):
            yield [column["name"]]


def test_there_are_seeds_and_each_is_a_seed():
    assert [path.name for path in SEEDS.glob("*.csv") if not path.name.startswith("seed_")] == []
    assert list(SEEDS.glob("*.csv"))


def test_every_description_is_of_a_seed_that_exists():
    assert set(_described()) - {path.stem for path in SEEDS.glob("*.csv")} == set()


each_seed = pytest.mark.parametrize("path", sorted(SEEDS.glob("*.csv")), ids=lambda path: path.stem)


@each_seed
def test_seed_has_a_header_and_rows_of_its_width(path: Path):
    header, *rows = _rows(path)
    assert all(header)
    assert len(set(header)) == len(header)
    assert [number for number, row in enumerate(rows, start=2) if len(row) != len(header)] == []


@each_seed
def test_seed_description_states_the_grain(path: Path):
    assert _description_of(path)["description"].startswith("One row per ")


@each_seed
def test_seed_every_column_is_described_with_its_type(path: Path):
    seed = _description_of(path)
    types = seed.get("config", {}).get("column_types", {})
    columns = {column["name"]: column for column in seed["columns"]}
    assert list(columns) == _rows(path)[0]
    assert [name for name, column in columns.items() if not column.get("description")] == []
    assert [name for name, column in columns.items() if not (column.get("data_type") or types.get(name))] == []


@each_seed
def test_seed_key_is_declared_and_unique(path: Path):
    header, *rows = _rows(path)
    keys = list(_keys(_description_of(path)))
    assert keys, "no uniqueness test is declared"
    for key in keys:
        positions = [header.index(column) for column in key]
        values = [tuple(row[position] for position in positions) for row in rows]
        assert len(set(values)) == len(values), f"{key} is not unique"
