"""The llm-prices catalogue: per million, dates, and the names that mean a long context."""

import json
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.sources.pulling import NOW, SHARED_DATA, Pulled, pull

MTOK = Decimal(1_000_000)
OPEN = {"from_date": None, "to_date": None}


def _pull(folder: Path, content: object) -> Pulled:
    path = folder / "google.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    return pull(folder, "llm_prices", path=str(path))


def _vendor(*models: tuple[str, list[dict[str, Any]]]) -> dict[str, Any]:
    return {
        "vendor": "google",
        "models": [{"id": name, "name": name, "price_history": history} for name, history in models],
    }


def _found(pulled: Pulled, *columns: str) -> set[tuple[Any, ...]]:
    return {(*(row[name] for name in columns), row["unit_price"] * MTOK) for row in pulled.rows()}


def test_prices_are_per_million_and_null_is_unknown(tmp_path: Path):
    pulled = _pull(tmp_path, _vendor(("gemini", [{"input": 0.075, "output": 0.3, "input_cached": None, **OPEN}])))
    assert _found(pulled, "unit_kind") == {("input", Decimal("0.075")), ("output", Decimal("0.3"))}
    assert {row["known_from"] for row in pulled.rows()} == {NOW}


def test_dates_are_the_first_day_and_the_first_day_after(tmp_path: Path):
    history = [
        {"input": 10, "from_date": None, "to_date": "2025-06-10"},
        {"input": 2, "from_date": "2025-06-10", "to_date": None},
    ]
    change = datetime(2025, 6, 10, tzinfo=UTC)
    pulled = _pull(tmp_path, _vendor(("o3", history)))
    assert _found(pulled, "valid_from", "valid_to") == {(None, change, 10), (change, None, 2)}


def test_name_of_a_long_context_is_the_price_above_so_many_tokens(tmp_path: Path):
    pulled = _pull(
        tmp_path,
        _vendor(
            ("gemini-2.5-pro", [{"input": 1.25, "input_cached": 0.125, **OPEN}]),
            ("gemini-2.5-pro-200k", [{"input": 2.5, **OPEN}]),
            ("lonely-128k", [{"input": 1, **OPEN}]),
        ),
    )
    # Above 200,000 tokens only the input price is stated; the cached one of the base does not reach there.
    assert _found(pulled, "model_id", "unit_kind", "context_over_tokens", "context_up_to_tokens") == {
        ("gemini-2.5-pro", "input", None, 200_000, Decimal("1.25")),
        ("gemini-2.5-pro", "cache_read", None, 200_000, Decimal("0.125")),
        ("gemini-2.5-pro", "input", 200_000, None, Decimal("2.5")),
        ("lonely-128k", "input", None, None, 1),
    }


def test_flat_list_of_all_history_is_read_alike(tmp_path: Path):
    prices = [{"id": "o3", "vendor": "openai", "name": "o3", "input": 2, "output": 8, "input_cached": 0.5, **OPEN}]
    pulled = _pull(tmp_path, {"updated_at": "2026-08-05", "prices": prices})
    assert _found(pulled, "provider_name", "unit_kind") == {
        ("openai", "input", 2), ("openai", "output", 8), ("openai", "cache_read", Decimal("0.5")),
    }  # fmt: skip


def test_model_that_is_listed_twice_is_priced_once(tmp_path: Path):
    pulled = _pull(
        tmp_path, _vendor(("grok-4-fast", [{"input": 0.2, **OPEN}]), ("grok-4-fast", [{"input": 0.3, **OPEN}]))
    )
    assert _found(pulled, "unit_kind") == {("input", Decimal("0.2"))}
    assert pulled.reasons() == {1: "price_shadowed"}


def test_what_cannot_be_read_is_a_reject(tmp_path: Path):
    pulled = _pull(
        tmp_path,
        _vendor(
            ("a", [{"input": 1, "output": -2, "smell": 3, **OPEN}]),
            ("b", [{"input": 1, "from_date": "2025-02-01", "to_date": "2025-02-01"}]),
            ("c", [{"input": 1, "from_date": "soon", "to_date": None}]),
        ),
    )
    assert list(pulled.reasons().values()) == [
        "value_out_of_range", "price_key_unknown", "period_empty", "value_unparsable",
    ]  # fmt: skip
    assert pulled.landing.rows_read == 5


@pytest.mark.parametrize(
    "content", [[], {"vendor": "a"}, {"prices": [{"id": "a"}]}, {"prices": []}, {"vendor": "a", "models": []}]
)
def test_another_format_is_refused(tmp_path: Path, content: object):
    failure = _pull(tmp_path, content).failure
    assert not failure.is_transient
    assert "expected" in failure.message


@pytest.mark.skipif(not SHARED_DATA.exists(), reason="the shared data sets are not on this machine")
def test_real_catalogue_lands_whole(tmp_path: Path):
    """11 vendors, 142 models and 148 entries of history; each price that is not null is a row."""
    folder = SHARED_DATA / "price_catalogs" / "simonw_llm_prices"
    contents = [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]
    histories = [entry for content in contents for model in content["models"] for entry in model["price_history"]]
    assert (len(contents), sum(len(content["models"]) for content in contents), len(histories)) == (11, 142, 148)
    stated = sum(entry.get(name) is not None for entry in histories for name in ("input", "output", "input_cached"))
    # xAI lists grok-4-fast twice, with three prices each time.
    stated -= 3
    pulled = pull(tmp_path, "llm_prices", path=str(folder / "*.json"))
    landings = pulled.zone.current("llm_prices")
    assert sum(item.rows_landed for item in landings) == stated
    assert sum(item.rows_rejected for item in landings) == 1
