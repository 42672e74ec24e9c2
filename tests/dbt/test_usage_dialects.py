"""The tables that the usage models are written from agree with each other: dialects, unit kinds, reference data."""

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import jinja2
import pytest

from dagster_project.settings import DEFAULT_REFERENCE_DIR
from dagster_project.sources.usage_payloads import Dialect
from dagster_project.warehouse.dbt import DBT_PROJECT_DIR

WIDE_KINDS = {
    "input": "input", "cache_read": "input", "cache_write_5m": "input", "cache_write_1h": "input", "output": "output",
    "reasoning": "output", "input_audio": "input", "output_audio": "output", "input_image": "input",
    "embedding": "input", "web_search": "none", "request": "none",
}  # fmt: skip


def _macro(name: str) -> Any:  # noqa: ANN401 - whatever the macro returns
    """Call a macro that has no arguments, as dbt does: `return` hands on a value and not its text."""
    returned: list[Any] = []
    environment = jinja2.Environment(extensions=["jinja2.ext.do"], autoescape=False)  # noqa: S701 - SQL, not HTML
    environment.globals["return"] = lambda value: returned.append(value) or ""
    files = ("unit_kinds.sql", "usage_dialects.sql")
    text = "\n".join((DBT_PROJECT_DIR / "macros" / file).read_text(encoding="utf-8") for file in files)
    call: Callable[[], str] = getattr(environment.from_string(text).module, name)
    call()
    return returned[-1]


@pytest.fixture(scope="module")
def seed() -> dict[str, dict[str, str]]:
    with Path(DEFAULT_REFERENCE_DIR / "seed_unit_kinds.csv").open(encoding="utf-8", newline="") as file:
        return {row["unit_kind"]: row for row in csv.DictReader(file)}


def test_every_dialect_that_is_landed_has_a_rule():
    assert set(_macro("usage_dialects")) == set(get_args(Dialect))


def test_every_rule_states_the_whole_input_and_known_kinds(seed: dict[str, dict[str, str]]):
    for dialect, rule in _macro("usage_dialects").items():
        assert set(rule) <= {"input", "output", "total", "kinds"}, dialect
        assert rule["input"], dialect
        # What is left of a whole is its plain kind: no rule may state that too.
        assert set(rule["kinds"]) <= set(seed) - {"input", "output", "embedding", "request"}, dialect


def test_kinds_with_and_without_a_column_are_those_of_the_reference_data(seed: dict[str, dict[str, str]]):
    directions = {
        **WIDE_KINDS,
        **dict.fromkeys(_macro("other_input_token_kinds"), "input"),
        **dict.fromkeys(_macro("other_output_token_kinds"), "output"),
        **dict.fromkeys(_macro("other_counted_kinds"), "none"),
    }
    assert {kind: row["direction_type"] for kind, row in seed.items()} == directions
    assert {kind: (row["is_token"], row["unit_name"] == "token") for kind, row in seed.items()} == {
        kind: ("false", False) if direction == "none" else ("true", True) for kind, direction in directions.items()
    }
