"""List prices of the installed package: history, tiers, windows, variants, patterns; against the package."""

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq
import pytest
from genai_prices.data import providers
from genai_prices.data_units import unit_data
from genai_prices.types import ModelPrice, TieredPrices

from dagster_project.sources import genai_prices
from dagster_project.sources._rates import COUNTED_KINDS, TOKEN_KINDS
from tests.sources.pulling import NOW, Pulled, pull

MTOK = Decimal(1_000_000)


@pytest.fixture(scope="module")
def prices(tmp_path_factory: pytest.TempPathFactory) -> Pulled:
    return pull(tmp_path_factory.mktemp("prices"), "genai_prices")


@pytest.fixture(scope="module")
def rates(prices: Pulled) -> list[dict[str, Any]]:
    return prices.rows("rates")


@pytest.fixture(scope="module")
def patterns(prices: Pulled) -> list[dict[str, Any]]:
    return prices.rows("model_patterns")


def _of(
    rates: list[dict[str, Any]], provider: str, model: str, kind: str, tier: str = "standard"
) -> list[dict[str, Any]]:
    wanted = (provider, model, kind, tier)
    names = ("provider_name", "model_id", "unit_kind", "service_tier")
    return [rate for rate in rates if tuple(rate[name] for name in names) == wanted]


def test_genai_prices_lands_every_price_and_pattern(prices: Pulled):
    for landing in prices.landings().values():
        assert landing.rows_landed > 4_000
        assert landing.input_uri.startswith("package:genai-prices@")
    assert prices.landings()["model_patterns"].rows_rejected == 0


def test_genai_prices_names_a_unit_kind_or_a_reason_for_each_of_its_59_units():
    keys = {unit["price_key"]: unit["per"] for unit in unit_data.values()}
    assert len(keys) == 59
    assert set(genai_prices.UNIT_KINDS) | set(genai_prices.NOT_APPLICABLE) == set(keys)
    assert not set(genai_prices.UNIT_KINDS) & set(genai_prices.NOT_APPLICABLE)
    assert set(genai_prices.UNIT_KINDS.values()) <= {*TOKEN_KINDS, *COUNTED_KINDS}
    assert {key: genai_prices._PER_PRICING_UNIT[key.rpartition("_")[2]] for key in keys} == keys


def test_genai_prices_lists_what_prices_no_call(prices: Pulled):
    """Annotated pages, messages and citations have no unit kind; an hour of audio that is read is stated twice."""
    file = prices.landings()["rates"].rejects_file
    assert file is not None
    rejected = pq.read_table(file.path).to_pylist()
    assert Counter((row["reason_code"], row["reason"].partition(":")[0]) for row in rejected) == {
        ("price_not_applicable", "input_annotated_document_kpages"): 10,
        ("price_not_applicable", "input_text_messages_kcount"): 4,
        ("price_not_applicable", "output_citation_mtok"): 1,
        ("price_shadowed", "audio_hours"): 14,
    }


def test_genai_prices_prices_a_second_of_what_is_stated_by_the_hour(rates: list[dict[str, Any]]):
    found = [rate for rate in rates if rate["pricing_unit"] == "hours"]
    assert {rate["unit_kind"] for rate in found} == {"input_second"}
    # The package has 24 prices of audio_hours, and 14 of input_audio_hours beside them.
    assert Counter(rate["price_key"] for rate in found) == {"audio_hours": 24 - 14, "input_audio_hours": 14}
    # The dearest hour costs 4.80: 4.80 / 3600 = 0.00133333..., cut at the 15th decimal.
    assert max(rate["unit_price"] for rate in found) == Decimal("0.001333333333333")


def test_genai_prices_has_every_model_of_every_provider(patterns: list[dict[str, Any]]):
    own = {
        (row["provider_name"], row["model_id"]) for row in patterns if row["rate_provider_name"] == row["provider_name"]
    }
    found = Counter(provider for provider, _ in own)
    assert found == {provider.id: len(provider.models) for provider in providers}
    assert (found["openai"], found["anthropic"], found["google"]) == (113, 27, 70)
    assert (len(found), found.total()) == (47, 2330)


def test_genai_prices_bounds_a_base_price_by_the_first_dated_one(rates: list[dict[str, Any]]):
    change = datetime(2025, 6, 10, tzinfo=UTC)
    for kind, before, after in (("input", 10, 2), ("output", 40, 8)):
        history = {rate["valid_from"]: rate for rate in _of(rates, "openai", "o3", kind)}
        assert set(history) == {None, change}
        assert (history[None]["unit_price"] * MTOK, history[None]["valid_to"]) == (before, change)
        assert (history[change]["unit_price"] * MTOK, history[change]["valid_to"]) == (after, None)


def test_genai_prices_lands_a_context_tier_as_its_own_rate(rates: list[dict[str, Any]]):
    base, above = _of(rates, "google", "gemini-2.5-pro", "input")
    assert (base["context_over_tokens"], base["context_up_to_tokens"]) == (None, 200_000)
    assert (above["context_over_tokens"], above["context_up_to_tokens"]) == (200_000, None)
    assert (base["unit_price"] * MTOK, above["unit_price"] * MTOK) == (Decimal("1.25"), Decimal("2.5"))


def test_genai_prices_lands_time_windows_beside_the_dated_prices(rates: list[dict[str, Any]]):
    """The peaks from 01:00 to 04:00 and from 06:00 to 10:00 are minutes 60 to 240 and 360 to 600 of each day."""
    found = _of(rates, "deepseek", "deepseek-v4-pro", "input")
    windows = {(rate["week_minute_from"], rate["week_minute_to"]) for rate in found}
    days = range(0, 7 * 1440, 1440)
    assert windows == {
        (None, None),
        *((day + 60, day + 240) for day in days),
        *((day + 360, day + 600) for day in days),
    }
    [peak] = [rate for rate in found if rate["week_minute_from"] == 60]
    assert (peak["unit_price"] * MTOK, peak["valid_from"], peak["valid_to"]) == (
        Decimal("1.32"),
        None,
        None,
    )


def test_genai_prices_lands_variants_as_service_tiers(rates: list[dict[str, Any]]):
    [batch] = _of(rates, "openai", "gpt-4o", "input", "batch")
    assert batch["unit_price"] * MTOK == Decimal("1.25")
    assert batch["valid_from"] == datetime(2026, 10, 14, tzinfo=UTC)
    tiers = {rate["service_tier"] for rate in rates}
    assert {"standard", "batch", "priority", "flex", "fast", "speed=fast", "route=mistral/eu"} <= tiers
    assert "default" not in tiers


def test_genai_prices_counts_one_unit_of_every_pricing_unit(rates: list[dict[str, Any]]):
    [search] = _of(rates, "openai", "gpt-4o", "web_search")
    assert (search["unit_price"], search["pricing_unit"]) == (Decimal("0.01"), "kcount")
    assert {rate["known_from"] for rate in rates} == {NOW}


def _instants() -> Iterator[datetime]:
    for day in (
        "2024-01-15",
        "2025-06-09",
        "2025-06-10",
        "2026-08-17",
        "2026-09-30",
        "2026-10-13",
        "2026-11-05",
    ):
        for hour in (2, 5, 8, 20):
            yield datetime.fromisoformat(day).replace(tzinfo=UTC) + timedelta(hours=hour, minutes=1)


def _resolved(rates: list[dict[str, Any]], at: datetime) -> dict[tuple[str, int], Decimal]:
    """Give unit kind and context step to USD per unit of the rates that hold: a window goes before none."""
    minute = (at.weekday() * 24 + at.hour) * 60 + at.minute
    found: dict[tuple[str, int], Decimal] = {}
    for rate in sorted(rates, key=lambda item: item["week_minute_from"] is not None):
        start, end = rate["week_minute_from"], rate["week_minute_to"]
        is_in_window = start is None or start <= minute < end
        has_begun = rate["valid_from"] is None or rate["valid_from"] <= at
        if is_in_window and has_begun and (rate["valid_to"] is None or at < rate["valid_to"]):
            found[rate["unit_kind"], rate["context_over_tokens"] or 0] = rate["unit_price"]
    return found


def _as_the_package_says(prices: ModelPrice) -> dict[tuple[str, int], Decimal]:
    found: dict[tuple[str, int], Decimal] = {}
    for key, price in vars(prices).items():
        if price is None or key in genai_prices.NOT_APPLICABLE:
            continue
        kind = genai_prices.UNIT_KINDS[key]
        per = {unit["price_key"]: unit["per"] for unit in unit_data.values()}[key]
        steps = [(0, price)]
        if isinstance(price, TieredPrices):
            steps = [(0, price.base), *((tier.start, tier.price) for tier in price.tiers)]
        for over, usd in steps:
            found[kind, over] = (usd / per).quantize(Decimal("1E-15"))
    return found


def test_genai_prices_resolve_as_the_package_resolves_at_any_time(rates: list[dict[str, Any]]):
    by_model: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for rate in rates:
        if rate["service_tier"] == "standard":
            by_model.setdefault((rate["provider_name"], rate["model_id"]), []).append(rate)
    compared = 0
    for provider in providers:
        for model in provider.models:
            own = by_model.get((provider.id, model.id), [])
            for at in _instants() if isinstance(model.prices, list) else [NOW]:
                assert _resolved(own, at) == _as_the_package_says(model.get_prices(at)), (
                    provider.id,
                    model.id,
                    at,
                )
                compared += 1
    assert compared > 2_330


def _matching(patterns: list[dict[str, Any]], provider: str, reference: str) -> str | None:
    """Give the first model, in the package's order, that has a group of which every pattern holds."""
    con = duckdb.connect()
    groups: dict[tuple[int, int], list[dict[str, Any]]] = {}
    for row in patterns:
        if row["provider_name"] == provider:
            groups.setdefault((row["priority"], row["pattern_group"]), []).append(row)
    for _, rows in sorted(groups.items()):
        held = [
            con.execute("select regexp_matches(lower(?), ?)", [reference, row["regex"]]).fetchone()[0]  # type: ignore[index]
            is not row["is_negated"]
            for row in rows
        ]
        if all(held):
            return str(rows[0]["model_id"])
    return None


@pytest.mark.parametrize(
    ("provider", "reference"),
    [
        ("openai", "gpt-4o"),
        ("openai", "gpt-4o-2024-11-20"),
        ("openai", "GPT-4o-2024-08-06"),
        ("openai", "gpt-4o-mini"),
        ("openai", "gpt-5.4-2026-01-31"),
        ("openai", "gpt-nothing"),
        ("anthropic", "claude-haiku-4-5-20251001"),
        ("google", "gemini-2.5-pro"),
        ("google", "gemini-2.5-pro-preview-tts"),
        ("google", "claude-3-haiku@20240307"),
        ("azure", "gpt-4o"),
        ("deepseek", "deepseek-chat"),
    ],
)
def test_genai_prices_patterns_find_the_models_that_the_package_finds(
    patterns: list[dict[str, Any]], provider: str, reference: str
):
    own = next(item for item in providers if item.id == provider)
    expected = own.find_model(reference, all_providers=providers)
    assert _matching(patterns, provider, reference) == (expected.id if expected else None)


def test_genai_prices_patterns_of_a_fallback_name_the_provider_whose_rates_hold(
    patterns: list[dict[str, Any]],
):
    found = [row for row in patterns if (row["provider_name"], row["model_id"]) == ("azure", "gpt-4o")]
    assert {row["rate_provider_name"] for row in found} == {"openai"}
    assert [row["regex"] for row in found] == ["^gpt-4o$", "^gpt-4o-2024-08-06$", "^gpt-4o-2024-11-20$"]


def test_genai_prices_turns_a_lookahead_into_a_negated_pattern(patterns: list[dict[str, Any]]):
    rows = [row for row in patterns if (row["provider_name"], row["model_id"]) == ("google", "gemini-2.5-pro")]
    assert [(row["regex"], row["is_negated"], row["pattern_group"]) for row in rows] == [
        (r"^gemini-2\.5-pro", False, 0),
        ("^(?:.*-[tT][tT][sS](?:$|-))", True, 0),
    ]


def test_genai_prices_of_a_new_version_replace_those_of_the_former_as_a_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    first = pull(tmp_path, "genai_prices")
    kept = [item for item in providers if item.id != "deepseek"]
    monkeypatch.setattr("genai_prices.data.providers", kept)
    monkeypatch.setattr(genai_prices, "_installed_version", lambda: "999.0.0")
    monkeypatch.setattr(genai_prices, "_data_files", lambda: [Path(__file__)])
    second = pull(tmp_path, "genai_prices", now=NOW + timedelta(days=1))
    assert {item.input_uri for item in second.zone.current()} == {"package:genai-prices@999.0.0"}
    assert second.zone.current() == sorted(second.landings().values(), key=lambda item: item.entity)
    assert "deepseek" not in {rate["provider_name"] for rate in second.rows("rates")}
    assert "deepseek" in {rate["provider_name"] for rate in first.rows("rates")}


def test_genai_prices_same_version_is_landed_once(tmp_path: Path):
    first = pull(tmp_path, "genai_prices")
    second = pull(tmp_path, "genai_prices", now=NOW + timedelta(days=1))
    assert second.results == first.results
