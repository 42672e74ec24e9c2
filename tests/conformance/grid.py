"""The grid: calls that exercise every price that a library states, made from the library's own data.

A cell is one call of one model. Its quantities are the disjoint unit kinds; each calculator brings them to its own
inclusive form. Quantities are different primes, so that no two mix-ups of kinds cost the same.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any

from dagster_project.sources.litellm_prices import model_identity

GENAI_PRICES = "genai_prices"
LITELLM = "litellm"

# A Thursday after every price that has a date, but for those that begin later; at noon no library has a window's edge.
USUAL_AT = datetime(2026, 10, 15, 12, tzinfo=UTC)
_TICK = timedelta(microseconds=1)

INPUT, CACHE_READ, CACHE_WRITE_5M, CACHE_WRITE_1H = 1009, 503, 251, 127
OUTPUT, REASONING = 401, 199
INPUT_AUDIO, OUTPUT_AUDIO, INPUT_IMAGE, EMBEDDING, WEB_SEARCH = 97, 89, 83, 1013, 3

_EMBEDDED = {"embedding": EMBEDDING}
_PLAIN = {"input": INPUT, "output": OUTPUT}
_MIXED = {
    "input": INPUT,
    "cache_read": CACHE_READ,
    "cache_write_5m": CACHE_WRITE_5M,
    "output": OUTPUT,
    "reasoning": REASONING,
}

# What every model that is priced by tokens is asked, by dimension.
_USUAL: Mapping[str, Mapping[str, int]] = {
    "plain": _PLAIN,
    "cache_read": {**_PLAIN, "cache_read": CACHE_READ},
    "cache_write_5m": {**_PLAIN, "cache_write_5m": CACHE_WRITE_5M},
    "cache_write_1h": {**_PLAIN, "cache_write_1h": CACHE_WRITE_1H},
    "cache_write_both": {**_PLAIN, "cache_write_5m": CACHE_WRITE_5M, "cache_write_1h": CACHE_WRITE_1H},
    "reasoning": {**_PLAIN, "reasoning": REASONING},
    "input_audio": {**_PLAIN, "input_audio": INPUT_AUDIO},
    "output_audio": {**_PLAIN, "output_audio": OUTPUT_AUDIO},
    "input_image": {**_PLAIN, "input_image": INPUT_IMAGE},
    "combination": {**_MIXED, "cache_write_1h": CACHE_WRITE_1H},
}

INPUT_KINDS = (
    "input", "cache_read", "cache_write_5m", "cache_write_1h", "input_audio", "input_image", "embedding",
)  # fmt: skip
OUTPUT_KINDS = ("output", "reasoning", "output_audio")


@dataclass(frozen=True)
class Cell:
    """One call of the grid.

    Attributes:
        cell_id: Unique in its library's grid.
        dimension: What the cell is about.
        provider: The library's own name of the provider.
        model: The library's own name of the model.
        reported_model: The model's name as a feed of calls reports it.
        at: UTC instant of the call, ISO 8601.
        quantities: Units by disjoint unit kind.
        service_tier: The tier as the ledger names it.
        context: What the calculator is told beside the usage: genai-prices' price context, litellm's tier and region.
        region_id: Where the call was served, as the ledger names it; None for everywhere.
    """

    cell_id: str
    dimension: str
    provider: str
    model: str
    reported_model: str
    at: str
    quantities: Mapping[str, int]
    service_tier: str = "standard"
    context: Mapping[str, str] = field(default_factory=dict)
    region_id: str | None = None

    @property
    def input_tokens(self) -> int:
        """All input tokens, whatever their kind."""
        return sum(self.quantities.get(kind, 0) for kind in INPUT_KINDS)

    @property
    def output_tokens(self) -> int:
        """All output tokens, whatever their kind."""
        return sum(self.quantities.get(kind, 0) for kind in OUTPUT_KINDS)


@dataclass(frozen=True)
class _Model:
    """Whose call a cell is."""

    provider: str
    name: str
    reported_name: str
    region_id: str | None = None


@dataclass(frozen=True)
class _Draft:
    """A cell that has no model yet."""

    dimension: str
    quantities: Mapping[str, int]
    at: datetime = USUAL_AT
    service_tier: str = "standard"
    context: Mapping[str, str] = field(default_factory=dict)
    region_id: str | None = None


def write_cells(cells: Iterable[Cell], path: Path) -> None:
    """Write cells as JSON Lines."""
    path.write_text("".join(f"{json.dumps(asdict(cell))}\n" for cell in cells), encoding="utf-8")


def _numbered(drafts: Iterable[tuple[_Model, _Draft]]) -> list[Cell]:
    return [
        Cell(
            cell_id=f"{number:06d}",
            dimension=draft.dimension,
            provider=model.provider,
            model=model.name,
            reported_model=model.reported_name,
            at=draft.at.isoformat(),
            quantities=draft.quantities,
            service_tier=draft.service_tier,
            context=draft.context,
            region_id=draft.region_id or model.region_id,
        )
        for number, (model, draft) in enumerate(drafts)
    ]


def _usual() -> Iterator[_Draft]:
    for dimension, quantities in _USUAL.items():
        yield _Draft(dimension, quantities)


def _around(threshold: int, mixed: Mapping[str, int] = _MIXED, **tier: Any) -> Iterator[_Draft]:  # noqa: ANN401
    """Give calls whose input, cached part included, is just below, at and just above a threshold."""
    first, *others = mixed
    rest = sum(mixed[kind] for kind in others if kind in INPUT_KINDS)
    for difference in (-1, 0, 1):
        yield _Draft("long_context", {**mixed, first: threshold + difference - rest}, **tier)


# ---- genai-prices


def genai_prices_cells(providers: Iterable[Any]) -> list[Cell]:
    """Build the grid from genai-prices' providers."""
    return _numbered(
        (_Model(provider.id, model.id, model.id), draft)
        for provider in providers
        for model in provider.models
        for draft in _genai_drafts(model)
    )


def _genai_drafts(model: Any) -> Iterator[_Draft]:  # noqa: ANN401 - the package's classes
    entries = model.prices if isinstance(model.prices, list) else [_Undated(model.prices)]
    variants = model.price_variants or []
    prices = [entry.prices for entry in (*entries, *variants)]
    keys = {key for price in prices for key, value in vars(price).items() if value is not None}
    if "output_mtok" in keys:
        yield from _usual()
    else:
        yield _Draft("embedding", _EMBEDDED)
        yield _Draft("output_without_price", _PLAIN)
    mixed = _MIXED if "output_mtok" in keys else _EMBEDDED
    if "web_searches_kcount" in keys:
        yield _Draft("web_search", {**_PLAIN, "web_search": WEB_SEARCH})
    thresholds = sorted({tier.start for price in prices for value in vars(price).values() for tier in _tiers(value)})
    for threshold in thresholds:
        yield from _around(threshold, mixed)
    for context in _distinct(dict(variant.when) for variant in variants):
        tier = {"service_tier": genai_service_tier(context), "context": context}
        yield _Draft("service_tier", _PLAIN if mixed is _MIXED else mixed, **tier)
        yield _Draft("service_tier", mixed, **tier)
        for threshold in thresholds:
            yield from _around(threshold, mixed, **tier)
    for constraint in (item.constraint for item in (*entries, *variants) if item.constraint is not None):
        yield from (_Draft("off_peak", mixed, at) for at in _window_edges(constraint))
        yield from (_Draft("dated", mixed, at) for at in _date_edges(constraint))


@dataclass(frozen=True)
class _Undated:
    prices: Any
    constraint: None = None


def genai_service_tier(context: Mapping[str, str]) -> str:
    """Name the tier that a price context selects as the ledger does."""
    if context == {"processing": "batch"}:
        return "batch"
    if set(context) == {"service_tier"}:
        return "standard" if context["service_tier"] == "default" else context["service_tier"]
    return ",".join(f"{key}={value}" for key, value in sorted(context.items()))


def _tiers(price: Any) -> list[Any]:  # noqa: ANN401 - the package's classes
    return list(getattr(price, "tiers", []))


def _distinct(items: Iterable[dict[str, str]]) -> list[dict[str, str]]:
    found: list[dict[str, str]] = []
    for item in items:
        if item not in found:
            found.append(item)
    return found


def _window_edges(constraint: Any) -> Iterator[datetime]:  # noqa: ANN401 - the package's classes
    """Give the instants on both sides of a daily window's ends, on a working day and on a Sunday."""
    if not hasattr(constraint, "start_time"):
        return
    for day in (date(2026, 10, 15), date(2026, 10, 18)):
        for edge in (constraint.start_time, constraint.end_time):
            at = datetime.combine(day, time(edge.hour, edge.minute), UTC)
            yield from (at - _TICK, at)


def _date_edges(constraint: Any) -> Iterator[datetime]:  # noqa: ANN401 - the package's classes
    if hasattr(constraint, "start_date"):
        at = datetime.combine(constraint.start_date, time(), UTC)
        yield from (at - _TICK, at)


# ---- litellm

_TIER_SUFFIXES = {"_priority": "priority", "_flex": "flex", "_balanced": "balanced", "_ultrafast": "ultrafast"}
_KEY_THRESHOLD = re.compile(r"_above_(\d+)k_tokens")
_NOT_MODELS = {"sample_spec", "fallback_generalizations"}


def litellm_cells(entries: Mapping[str, Mapping[str, Any]]) -> list[Cell]:
    """Build the grid from litellm's price file: model name to its prices.

    A feed reports a model by its own name and region, without the prefixes of the file's key.
    """
    return _numbered(
        (_Model(entry["litellm_provider"], name, *model_identity(name, entry["litellm_provider"])), draft)
        for name, entry in entries.items()
        if name not in _NOT_MODELS and _is_priced_by_tokens(entry)
        for draft in _litellm_drafts(entry)
    )


def _is_priced_by_tokens(entry: Mapping[str, Any]) -> bool:
    return "tiered_pricing" in entry or "input_cost_per_token" in entry


def _litellm_drafts(entry: Mapping[str, Any]) -> Iterator[_Draft]:
    if entry.get("mode") == "embedding":
        yield _Draft("embedding", _EMBEDDED)
        return
    if entry.get("mode") == "rerank" and entry.get("input_cost_per_query"):
        yield _Draft("rerank", {}, context={"call_type": "rerank"})
        return
    yield from _usual()
    thresholds = sorted({*_key_thresholds(entry), *_range_thresholds(entry)})
    for threshold in thresholds:
        yield from _around(threshold)
    if "fast" in entry.get("provider_specific_entry", {}):
        yield _Draft("service_tier", _MIXED, service_tier="fast", context={"speed": "fast"})
    for service_tier in _litellm_tiers(entry):
        tier = {"service_tier": service_tier, "context": {"service_tier": service_tier}}
        yield _Draft("service_tier", _PLAIN, **tier)
        yield _Draft("service_tier", _MIXED, **tier)
        for threshold in thresholds:
            yield from _around(threshold, **tier)
    for context, region_id in _litellm_regions(entry):
        yield _Draft("region", _MIXED, context=context, region_id=region_id)
    for at in _off_peak_edges(entry.get("off_peak_pricing", {})):
        yield _Draft("off_peak", _MIXED, at)


def _key_thresholds(entry: Mapping[str, Any]) -> Iterator[int]:
    yield from (1000 * int(found[1]) for key in entry if (found := _KEY_THRESHOLD.search(key)))


def _range_thresholds(entry: Mapping[str, Any]) -> Iterator[int]:
    for tier in entry.get("tiered_pricing", []):
        yield from (int(edge) for edge in tier.get("range", []) if edge)


def _litellm_tiers(entry: Mapping[str, Any]) -> list[str]:
    tiers = {tier for suffix, tier in _TIER_SUFFIXES.items() if any(key.endswith(suffix) for key in entry)}
    if any(key.endswith("_batches") for key in entry):
        tiers.add("batch")
    return sorted(tiers)


def _litellm_regions(entry: Mapping[str, Any]) -> Iterator[tuple[dict[str, str], str]]:
    """Give how litellm is told a place with prices of its own, and the place's name in the ledger."""
    for place in ("eu", "us"):
        if f"regional_processing_uplift_multiplier_{place}" in entry:
            yield {"data_residency": place}, place
    if "regional_endpoint_uplift_multiplier" in entry:
        yield {"vertex_location": "us-east5"}, "regional"
    if "us" in entry.get("provider_specific_entry", {}):
        yield {"inference_geo": "us"}, "us"


def _off_peak_edges(off_peak: Mapping[str, Any]) -> Iterator[datetime]:
    rules = [off_peak, *off_peak.get("windows", [])]
    clocks = {
        clock.strip() for rule in rules for hours in _as_list(rule.get("hours_utc", [])) for clock in hours.split("-")
    }
    # Thursday to Monday: a working day, both ends of a weekend, and the day after it.
    for day in range(15, 20):
        for clock in sorted(clocks):
            at = datetime.combine(date(2026, 10, day), time.fromisoformat(clock), UTC)
            yield from (at - _TICK, at)


def _as_list(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value
