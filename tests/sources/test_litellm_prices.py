"""LiteLLM's price file: every pricing key it has, its names of models, its thresholds, tables, windows and places."""

import csv
import gzip
import json
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from dagster_project.sources import litellm_prices
from tests.sources.pulling import FIXTURES, NOW, SHARED_DATA, Pulled, pull

# The pricing keys of LiteLLM 1.109.1 with the number of its models that have each.
KEY_FILE = FIXTURES / "prices" / "litellm_price_keys.csv"
SNAPSHOTS = SHARED_DATA / "price_catalogs" / "litellm_snapshots"
MTOK = Decimal(1_000_000)


def _keys() -> list[str]:
    with KEY_FILE.open(encoding="utf-8", newline="") as stream:
        return [row["price_key"] for row in csv.DictReader(stream)]


def _pull(folder: Path, models: dict[str, Any], **options: Any) -> Pulled:  # noqa: ANN401 - any option
    path = folder / "prices.json"
    path.write_text(json.dumps(models), encoding="utf-8")
    return pull(folder, "litellm_prices", path=str(path), **options)


def _rejects(pulled: Pulled, entity: str = "rates") -> list[tuple[str, str]]:
    """Reason code and price key of each reject."""
    file = pulled.landings()[entity].rejects_file
    rows = pq.read_table(file.path).to_pylist() if file else []
    return [(row["reason_code"], json.loads(row["raw_text"]).get("price_key")) for row in rows]


def _land(folder: Path, provider: str = "openai", name: str = "gpt-5", **content: Any) -> Pulled:  # noqa: ANN401 - JSON
    return _pull(folder, {name: {"litellm_provider": provider, **content}})


def _prices(pulled: Pulled, *columns: str) -> set[tuple[Any, ...]]:
    """The price per million of each rate, after the columns that are asked for."""
    return {(*(row[name] for name in columns), row["unit_price"] * MTOK) for row in pulled.rows("rates")}


# ---- the 166 pricing keys

PLAIN_VALUES = {
    "tiered_pricing": [{"range": [0, 32000], "input_cost_per_token": 1e-6}],
    "off_peak_pricing": {"hours_utc": "16:30-00:30", "input_cost_per_token": 1e-6},
    "search_context_cost_per_query": {"search_context_size_medium": 0.01},
    "web_search_billing_unit": "per_query",
    "search_free_requests": {"count": 1500, "period": "day", "shared_group": "gemini"},
    "guardrail_cost_per_unit": {"contentPolicyUnits": 0.00015},
}
# What it says is said with the price of a search.
SILENT = {"web_search_billing_unit"}


def test_there_are_166_pricing_keys():
    assert len(_keys()) == len(set(_keys())) == 166


@pytest.mark.parametrize("key", _keys())
def test_every_pricing_key_is_landed_or_listed_with_a_reason(tmp_path: Path, key: str):
    """One model with one key more than a price: the key gives a row of its own, or a reject that says why not."""
    base = {"litellm_provider": "vertex_ai", "mode": "image_generation"}
    anchor = {**base, "input_cost_per_character": 1e-6}
    value = PLAIN_VALUES.get(key, 1.1 if "multiplier" in key else 1e-6)
    pulled = _pull(tmp_path, {"anchor": anchor, "model": {**base, key: value}})
    of_model = [row for entity in pulled.landings() for row in pulled.rows(entity) if row["model_id"] == "model"]
    reasons = [code for code, price_key in _rejects(pulled) if price_key == key]
    assert not pulled.landings()["multipliers"].rows_rejected
    assert not pulled.landings()["allowances"].rows_rejected
    if key in SILENT:
        assert (of_model, _rejects(pulled)) == ([], [])
    elif reasons:
        assert reasons == ["price_not_applicable"]
        assert of_model == []
    else:
        assert {row["price_key"].partition(".")[0] for row in of_model} == {key}


def test_pricing_keys_by_what_becomes_of_them():
    """30 of the 166 price no call and 8 have a structure of their own; the other 128 are rates.

    The 30: 4 of seconds of video, 6 and 7 of resolutions of videos and images, 2 each of annotated pages, of pixels and
    of Databricks units, and 7 single ones.
    """
    parsed = [litellm_prices.parse_price_key(key) for key in _keys() if key not in litellm_prices.STRUCTURED]
    bases = [found[0] for found in parsed if found]
    assert len(bases) == len(parsed) == 166 - 8
    assert sum(base in litellm_prices.NOT_APPLICABLE for base in bases) == 4 + 6 + 7 + 2 + 2 + 2 + 7
    assert sum(base in litellm_prices.BASES for base in bases) == 128


def test_unknown_key_that_reads_like_a_price_is_kept_as_a_reject(tmp_path: Path):
    pulled = _land(tmp_path, input_cost_per_token=1e-6, input_cost_per_smell=2e-6, supports_smell=True, rpm=5)
    assert _rejects(pulled) == [("price_key_unknown", "input_cost_per_smell")]
    assert len(pulled.rows("rates")) == 1


@pytest.mark.parametrize(
    ("key", "parsed"),
    [
        ("input_cost_per_token", ("input_cost_per_token", "standard", 0)),
        ("input_cost_per_token_batches", ("input_cost_per_token", "batch", 0)),
        ("output_cost_per_token_above_272k_tokens_flex", ("output_cost_per_token", "flex", 272_000)),
        ("output_cost_per_token_priority_above_200k_tokens", ("output_cost_per_token", "priority", 200_000)),
        ("input_cost_per_token_fast", ("input_cost_per_token", "priority", 0)),
        (
            "cache_creation_input_token_cost_above_1hr_above_200k_tokens",
            ("cache_creation_input_token_cost_above_1hr", "standard", 200_000),
        ),
        ("input_cost_per_token_above_128_tokens", ("input_cost_per_token", "standard", 128)),
        ("input_cost_per_token_flex_above_200k_tokens_flex", None),
        ("max_tokens", None),
    ],
)
def test_price_key_is_taken_apart(key: str, parsed: tuple[str, str, int] | None):
    assert litellm_prices.parse_price_key(key) == parsed


# ---- names of models


@pytest.mark.parametrize(
    ("name", "provider", "model_id", "region_id"),
    [
        ("gpt-4o", "openai", "gpt-4o", None),
        ("bedrock/us-east-1/anthropic.claude-v2:1", "bedrock", "anthropic.claude-v2:1", "us-east-1"),
        ("bedrock/us-gov-west-1/meta.llama3", "bedrock", "meta.llama3", "us-gov-west-1"),
        ("bedrock_mantle/us-gov-east-1/openai.gpt-oss", "bedrock_mantle", "openai.gpt-oss", "us-gov-east-1"),
        ("us.anthropic.claude-sonnet-4", "bedrock_converse", "us.anthropic.claude-sonnet-4", None),
        ("azure/eu/gpt-4o", "azure", "gpt-4o", "eu"),
        ("azure/global-standard/gpt-4o", "azure", "gpt-4o", "global-standard"),
        ("azure/gpt-4o", "azure", "gpt-4o", None),
        ("azure/gpt-3.5-turbo-instruct", "azure_text", "gpt-3.5-turbo-instruct", None),
        ("vertex_ai/claude-opus-4", "vertex_ai-anthropic_models", "claude-opus-4", None),
        ("amazon-nova/nova-pro", "amazon_nova", "nova-pro", None),
        ("groq/openai/gpt-oss-120b", "groq", "openai/gpt-oss-120b", None),
        ("openrouter/openai/gpt-4o", "openrouter", "openai/gpt-4o", None),
        ("low/1024-x-1024/gpt-image-1", "openai", "low/1024-x-1024/gpt-image-1", None),
    ],
)
def test_model_is_named_without_provider_and_region(name: str, provider: str, model_id: str, region_id: str | None):
    assert litellm_prices.model_identity(name, provider) == (model_id, region_id)


def test_of_two_keys_of_one_model_the_one_with_the_provider_holds(tmp_path: Path):
    pulled = _pull(
        tmp_path,
        {
            "deepseek-chat": {"litellm_provider": "deepseek", "input_cost_per_token": 1e-6},
            "deepseek/deepseek-chat": {"litellm_provider": "deepseek", "input_cost_per_token": 2e-6},
        },
    )
    assert _prices(pulled, "model_id") == {("deepseek-chat", 2)}
    assert [code for code, _ in _rejects(pulled)] == ["model_key_duplicate"]


def test_entry_without_prices_or_provider_is_listed(tmp_path: Path):
    pulled = _pull(
        tmp_path,
        {
            "sample_spec": {"litellm_provider": "one of", "input_cost_per_token": 0},
            "fallback_generalizations": {"rules": []},
            "a": {"litellm_provider": "openai", "input_cost_per_token": 0},
            "b": {"litellm_provider": "openai", "max_tokens": 5, "input_cost_per_token": None},
            "c": {"input_cost_per_token": 1e-6},
            "last_updated": "2025-03-02",
        },
    )
    assert [code for code, _ in _rejects(pulled)] == ["value_missing", "value_missing", "price_missing"]
    # A price of 0 is a price.
    assert _prices(pulled, "model_id") == {("a", 0)}


# ---- prices


def test_price_is_the_decimal_that_was_written(tmp_path: Path):
    (tmp_path / "p.json").write_text(
        '{"m": {"litellm_provider": "a", "input_cost_per_token": 2.5000000000000002e-06, '
        '"output_cost_per_token": "1e-5"}}'
    )
    pulled = pull(tmp_path, "litellm_prices", path=str(tmp_path / "p.json"))
    assert [f"{row['unit_price']:f}" for row in pulled.rows("rates")] == ["0.000002500000000", "0.000010000000000"]


@pytest.mark.parametrize("value", ["free", -1e-6, True, [1]])
def test_price_that_is_none_is_a_reject(tmp_path: Path, value: object):
    pulled = _land(tmp_path, input_cost_per_token=value, output_cost_per_token=1e-6)
    [(code, key)] = _rejects(pulled)
    assert key == "input_cost_per_token"
    assert code in {"value_unparsable", "value_out_of_range"}


def test_price_of_a_thousand_tokens_that_stands_as_that_of_one_is_a_reject(tmp_path: Path):
    """1.5 cents a token are 15,000 USD per million; a second of video may cost as much."""
    pulled = _land(tmp_path, "wandb", input_cost_per_token=0.015, output_cost_per_second=0.5)
    assert _rejects(pulled) == [("price_implausible", "input_cost_per_token")]
    assert _prices(pulled, "unit_kind") == {("output_second", 500_000)}


def test_threshold_holds_above_and_the_base_up_to_it(tmp_path: Path):
    pulled = _land(
        tmp_path,
        input_cost_per_token=1e-6,
        input_cost_per_token_above_128k_tokens=2e-6,
        input_cost_per_token_above_256k_tokens=3e-6,
    )
    columns = ("context_over_tokens", "context_up_to_tokens", "is_threshold_inclusive")
    assert _prices(pulled, *columns) == {
        (None, 128_000, False, 1), (128_000, 256_000, False, 2), (256_000, None, False, 3),
    }  # fmt: skip


def test_threshold_of_xai_belongs_to_the_band_above(tmp_path: Path):
    """At 128,000 tokens the higher price holds: the band begins above 127,999."""
    pulled = _land(tmp_path, "xai", input_cost_per_token=3e-6, input_cost_per_token_above_128k_tokens=6e-6)
    columns = ("context_over_tokens", "context_up_to_tokens", "is_threshold_inclusive")
    assert _prices(pulled, *columns) == {(None, 127_999, True, 3), (127_999, None, True, 6)}


def test_price_of_a_tier_ends_where_the_standard_price_has_a_threshold(tmp_path: Path):
    """The flex price has no price above 200k of its own: there the standard one holds, as LiteLLM computes."""
    pulled = _land(
        tmp_path,
        input_cost_per_token=2e-6,
        input_cost_per_token_above_200k_tokens=4e-6,
        input_cost_per_token_flex=1e-6,
        input_cost_per_token_priority=3e-6,
        input_cost_per_token_above_200k_tokens_priority=6e-6,
    )
    assert _prices(pulled, "service_tier", "context_over_tokens", "context_up_to_tokens") == {
        ("standard", None, 200_000, 2), ("standard", 200_000, None, 4), ("flex", None, 200_000, 1),
        ("priority", None, 200_000, 3), ("priority", 200_000, None, 6),
    }  # fmt: skip


def test_table_of_tiers_replaces_the_flat_prices_but_a_missing_output_price(tmp_path: Path):
    pulled = _land(
        tmp_path,
        "dashscope",
        input_cost_per_token=9e-6,
        output_cost_per_token=5e-6,
        cache_read_input_token_cost=8e-6,
        tiered_pricing=[
            {"range": [0, 32e3], "input_cost_per_token": 1e-6, "output_cost_per_token": 4e-6},
            {"range": [32e3, 128e3], "input_cost_per_token": 2e-6, "cache_read_input_token_cost": 1e-6},
        ],
    )
    # Above the last range, too, the last tier holds.
    assert _prices(pulled, "unit_kind", "context_over_tokens", "context_up_to_tokens") == {
        ("input", None, 32_000, 1), ("input", 32_000, None, 2), ("cache_read", 32_000, None, 1),
        ("output", None, 32_000, 4), ("output", 32_000, None, 5),
    }  # fmt: skip
    assert sorted(_rejects(pulled)) == [
        ("price_shadowed", "cache_read_input_token_cost"),
        ("price_shadowed", "input_cost_per_token"),
        ("price_shadowed", "output_cost_per_token"),
    ]


def test_off_peak_price_is_one_row_per_window_of_the_week(tmp_path: Path):
    pulled = _land(
        tmp_path,
        "deepseek",
        input_cost_per_token=2e-6,
        off_peak_pricing={
            "input_cost_per_token": 1e-6,
            "weekday_timezone": "Asia/Shanghai",
            "windows": [{"hours_utc": ["00:00-00:00"], "weekdays": [6, 7]}],
        },
    )
    # Saturday and Sunday in Shanghai: from Friday 16:00 UTC (4 x 1,440 + 960) to Sunday 16:00 UTC (6 x 1,440 + 960).
    assert _prices(pulled, "week_minute_from", "week_minute_to") == {(None, None, 2), (6_720, 9_600, 1)}


def test_off_peak_windows_that_cannot_be_read_are_a_reject(tmp_path: Path):
    broken = {"input_cost_per_token": 1e-6, "windows": [{"hours_utc": "16:30", "weekdays": [1]}]}
    pulled = _land(tmp_path, input_cost_per_token=2e-6, off_peak_pricing=broken)
    assert _rejects(pulled) == [("window_unparsable", "off_peak_pricing")]


def test_search_is_priced_by_its_medium_size(tmp_path: Path):
    sizes = {f"search_context_size_{name}": usd for name, usd in (("low", 0.005), ("medium", 0.008), ("high", 0.008))}
    pulled = _land(tmp_path, "perplexity", search_context_cost_per_query=sizes)
    [row] = pulled.rows("rates")
    assert (row["unit_kind"], row["unit_price"]) == ("web_search", Decimal("0.008"))
    assert _rejects(pulled) == [("price_not_applicable", "search_context_cost_per_query.search_context_size_low")]


def test_free_searches_are_shared_by_a_group_of_models(tmp_path: Path):
    free = {"count": 5000, "period": "month", "shared_group": "gemini-3"}
    content = {"litellm_provider": "gemini", "input_cost_per_token": 1e-6, "search_free_requests": free}
    broken = content | {"search_free_requests": {"count": 0, "period": "month"}}
    pulled = _pull(tmp_path, {"gemini/a": content, "gemini/b": content, "gemini/c": broken})
    names = ("allowance_group", "model_id", "unit_kind", "period_type", "allowance_units")
    assert [tuple(row[name] for name in names) for row in pulled.rows("allowances")] == [
        ("gemini-3", "a", "web_search", "month", 5000),
        ("gemini-3", "b", "web_search", "month", 5000),
    ]
    assert pulled.landings()["allowances"].rows_rejected == 1


def test_places_have_multipliers_and_speed_has_prices(tmp_path: Path):
    pulled = _land(
        tmp_path,
        "anthropic",
        input_cost_per_token=5e-6,
        search_context_cost_per_query={"search_context_size_medium": 0.01},
        provider_specific_entry={"us": 1.1, "fast": 2.0, "free_input_images": 5},
        regional_processing_uplift_multiplier_eu=1.2,
        regional_endpoint_uplift_multiplier="1.3",
    )
    found = {(row["region_id"], row["multiplier"]) for row in pulled.rows("multipliers")}
    assert found == {("us", Decimal("1.1")), ("eu", Decimal("1.2")), ("regional", Decimal("1.3"))}
    # Fast mode doubles tokens (5 x 2 = 10), not searches (0.01 each, 10,000 per million).
    assert _prices(pulled, "unit_kind", "service_tier") == {
        ("input", "standard", 5), ("input", "fast", 10), ("web_search", "standard", 10_000),
    }  # fmt: skip


def test_image_that_is_priced_by_tokens_is_not_priced_again(tmp_path: Path):
    pulled = _land(tmp_path, mode="image_generation", output_cost_per_image=0.04, output_cost_per_image_token=3e-5)
    assert _prices(pulled, "unit_kind") == {("output_image", 30)}
    assert _rejects(pulled) == [("price_shadowed", "output_cost_per_image")]


def test_price_of_a_commitment_prices_no_call(tmp_path: Path):
    pulled = _pull(
        tmp_path,
        {
            "bedrock/us-east-1/1-month-commitment/c": {"litellm_provider": "bedrock", "input_cost_per_second": 0.011},
            "c": {"litellm_provider": "bedrock", "input_cost_per_token": 1e-6},
        },
    )
    assert _rejects(pulled) == [("price_not_applicable", "input_cost_per_second")]


# ---- versions


def test_dated_versions_lie_side_by_side(tmp_path: Path):
    for day, usd in (("2025-01-01", "1e-6"), ("2025-02-01", "2e-6")):
        text = f'{{"m": {{"litellm_provider": "a", "input_cost_per_token": {usd}}}}}'
        (tmp_path / f"{day}.json.gz").write_bytes(gzip.compress(text.encode()))
    pattern = r"(\d{4}-\d\d-\d\d)\.json"
    pulled = pull(tmp_path, "litellm_prices", path=str(tmp_path / "*.json.gz"), known_from_pattern=pattern)
    rates = [item for item in pulled.zone.current("litellm_prices") if item.entity == "rates"]
    rows = [row for item in rates for file in item.files for row in pq.read_table(file.path).to_pylist()]
    found = {(row["valid_from"], row["known_from"], row["unit_price"] * MTOK) for row in rows}
    january, february = (datetime(2025, month, 1, tzinfo=UTC) for month in (1, 2))
    assert found == {(january, january, 1), (february, february, 2)}


def test_version_without_a_date_is_known_from_its_landing_and_holds_always(tmp_path: Path):
    [row] = _land(tmp_path, input_cost_per_token=1e-6).rows("rates")
    assert (row["valid_from"], row["known_from"]) == (None, NOW)


@pytest.mark.skipif(not SHARED_DATA.exists(), reason="the shared data sets are not on this machine")
def test_real_snapshots_land_with_every_entry_accounted_for(tmp_path: Path):
    paths = sorted(SNAPSHOTS.glob("*.json.gz"))
    assert len(paths) == 11
    for path in paths:
        content = json.loads(gzip.decompress(path.read_bytes()))
        pulled = pull(tmp_path / path.stem, "litellm_prices", path=str(path))
        rejects = pulled.landings()["rates"].rejects_file
        rejected = pq.read_table(rejects.path).to_pylist() if rejects else []
        assert {row["reason_code"] for row in rejected} <= {
            "price_not_applicable", "price_implausible", "price_shadowed", "model_key_duplicate", "price_missing",
            "value_missing",
        }  # fmt: skip
        named = {json.loads(row["raw_text"]).get("model") for row in rejected}
        priced = {(row["provider_name"], row["model_id"], row["region_id"]) for row in pulled.rows("rates")}
        models = {name: item for name, item in content.items() if isinstance(item, dict) and name != "sample_spec"}
        for name, item in models.items():
            identity = litellm_prices.model_identity(name, item["litellm_provider"])
            assert name in named or (item["litellm_provider"], *identity) in priced, name
