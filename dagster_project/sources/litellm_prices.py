"""LiteLLM's price file: one JSON object of models, each with prices of single units under names of its own.

A price's name is `<base>[_<time to live>][_above_<N>k_tokens][_<service tier>]`; `BASES` says what each base prices,
and `NOT_APPLICABLE` why a name prices no call. Nothing is left out: what is neither is a reject with the reason, and
so is a model without any price. A price above a threshold holds for the whole request when its input has more tokens
than the threshold (for xAI: at least as many). The file has no dates: a version of which the configuration knows the
date holds from that date on, a later version of a URL's content from the UTC day on which it was first fetched, any
other one at all times.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

from dagster_project.errors import PermanentSourceError
from dagster_project.sources._connector import Batch, Connector, InputPull, PullContext
from dagster_project.sources._files import UTF8_MARK, open_bytes, refuse_utf16
from dagster_project.sources._rates import (
    ALL_WEEK,
    ALLOWANCES,
    EVERY_DAY,
    MULTIPLIERS,
    RATES,
    STANDARD,
    USD,
    CatalogueOptions,
    RateError,
    Records,
    Version,
    WeekWindow,
    WindowRule,
    catalogue_inputs,
    clock_window,
    context_bands,
    decimal_of,
    multiplier_of,
    offset_minutes_of,
    plausible,
    unit_price,
    week_windows,
    weekdays_of,
)


class _Base(NamedTuple):
    """What a base prices: the unit kind, and the pricing unit with how many units it has."""

    unit_kind: str
    pricing_unit: str
    per: int = 1


BASES = {
    "input_cost_per_token": _Base("input", "token"),
    "output_cost_per_token": _Base("output", "token"),
    "cache_read_input_token_cost": _Base("cache_read", "token"),
    "input_cost_per_token_cache_hit": _Base("cache_read", "token"),
    "cache_creation_input_token_cost": _Base("cache_write_5m", "token"),
    "cache_creation_input_token_cost_above_1hr": _Base("cache_write_1h", "token"),
    "cache_creation_input_token_cost_above_12hr": _Base("cache_write_12h", "token"),
    "output_cost_per_reasoning_token": _Base("reasoning", "token"),
    "input_cost_per_audio_token": _Base("input_audio", "token"),
    "output_cost_per_audio_token": _Base("output_audio", "token"),
    "cache_read_input_audio_token_cost": _Base("cache_read_audio", "token"),
    "input_cost_per_image_token": _Base("input_image", "token"),
    "output_cost_per_image_token": _Base("output_image", "token"),
    "cache_read_input_image_token_cost": _Base("cache_read_image", "token"),
    "input_cost_per_video_token": _Base("input_video", "token"),
    "output_cost_per_video_token": _Base("output_video", "token"),
    "output_cost_per_image": _Base("image", "image"),
    "input_cost_per_image": _Base("image", "image"),
    "cost_per_image": _Base("image", "image"),
    "input_cost_per_character": _Base("input_character", "character"),
    "output_cost_per_character": _Base("output_character", "character"),
    "input_cost_per_second": _Base("input_second", "second"),
    "input_cost_per_audio_per_second": _Base("input_second", "second"),
    "output_cost_per_second": _Base("output_second", "second"),
    "output_cost_per_video_per_second": _Base("output_second", "second"),
    "output_cost_per_audio_per_second": _Base("output_second", "second"),
    "ocr_cost_per_page": _Base("page", "page"),
    "input_cost_per_request": _Base("request", "request"),
    "input_cost_per_query": _Base("request", "request"),
    "google_maps_grounding_cost_per_query": _Base("maps_search", "search"),
    "code_interpreter_cost_per_session": _Base("code_session", "session"),
    "file_search_cost_per_1k_calls": _Base("file_search", "1k searches", 1_000),
}
# Of two bases that price one kind, the one further up here is taken.
_BASE_RANKS = {base: rank for rank, base in enumerate(BASES)}

_NO_RESOLUTION = "usage does not say of which resolution an image or a video is"
_NO_VIDEO_SECONDS = "usage tells seconds of video from no other seconds"
_NO_QUALITY = "usage does not say of which size or quality an image is"
_NO_DBU = "it is stated in Databricks units, not in money"
NOT_APPLICABLE = {
    "cache_creation_input_audio_token_cost": "usage tells cached audio that is written from no other cache writes",
    "explicit_cache_read_input_token_cost": "usage tells reads of an explicit cache from no other cache reads",
    "citation_cost_per_token": "usage counts the tokens of citations as output, not apart",
    "annotation_cost_per_page": "usage tells annotated pages from no others",
    "ocr_cost_per_credit": "usage counts no credits",
    "guardrail_cost_per_unit": "usage counts no text units of a guardrail",
    "input_cost_per_text_message": "usage counts no messages of a realtime session",
    "input_cost_per_pixel": "usage counts no pixels",
    "output_cost_per_pixel": "usage counts no pixels",
    "input_cost_per_video_per_second": _NO_VIDEO_SECONDS,
    "input_cost_per_video_per_second_above_15s_interval": _NO_VIDEO_SECONDS,
    "input_cost_per_video_per_second_above_8s_interval": _NO_VIDEO_SECONDS,
    "cost_per_second": "it is the price of bought throughput, which is a commitment, not of a call",
    "input_dbu_cost_per_token": _NO_DBU,
    "output_dbu_cost_per_token": _NO_DBU,
    "output_db_cost_per_token": _NO_DBU,
    **{f"output_cost_per_second_{name}": _NO_RESOLUTION for name in ("480p", "720p", "768p", "1080p", "2k", "4k")},
    **{f"output_cost_per_image_{name}": _NO_RESOLUTION for name in ("512", "1024", "1536", "0.5K", "1K", "2K", "4K")},
    **{
        f"output_cost_per_image_{name}": _NO_QUALITY
        for name in (
            "premium_image",
            "above_512_and_512_pixels",
            "above_512_and_512_pixels_and_premium_image",
            "above_1024_and_1024_pixels",
            "above_1024_and_1024_pixels_and_premium_image",
        )
    },
    "computer_use_input_cost_per_1k_tokens": "usage tells tokens of computer use from no others",
    "computer_use_output_cost_per_1k_tokens": "usage tells tokens of computer use from no others",
    "file_search_cost_per_gb_per_day": "it is the price of storage, not of a call",
    "vector_store_cost_per_gb_per_day": "it is the price of storage, not of a call",
}
# Names with a structure of their own, read one by one below.
STRUCTURED = (
    "tiered_pricing",
    "off_peak_pricing",
    "search_context_cost_per_query",
    "search_free_requests",
    "web_search_billing_unit",
    "regional_processing_uplift_multiplier_eu",
    "regional_processing_uplift_multiplier_us",
    "regional_endpoint_uplift_multiplier",
    "provider_specific_entry",
)
_SERVICE_TIERS = {
    "batches": "batch",
    "batch_requests": "batch",
    "priority": "priority",
    "fast": "priority",
    "flex": "flex",
    "balanced": "balanced",
    "ultrafast": "ultrafast",
    "decisions": "decisions",
}
_ALL_BASES = "|".join(re.escape(name) for name in sorted([*BASES, *NOT_APPLICABLE], key=len, reverse=True))
_TIER = "|".join(sorted(_SERVICE_TIERS, key=len, reverse=True))
_PRICE_KEY = re.compile(
    rf"(?P<base>{_ALL_BASES})(?:_(?P<tier>{_TIER}))?"
    rf"(?:_above_(?P<count>\d+)(?P<thousand>k?)_tokens)?(?:_(?P<late_tier>{_TIER}))?"
)
# What a name must look like to be taken for a price that is not known yet, and not for a property of the model.
_LIKE_A_PRICE = re.compile(r"cost|pric|multiplier|uplift|free_|surcharge|discount|_fee|billing")
_NOT_MODELS = ("sample_spec", "fallback_generalizations")

_SEARCH_SIZE = "search_context_size_medium"
_REGION_MULTIPLIERS = {
    "regional_processing_uplift_multiplier_eu": "eu",
    "regional_processing_uplift_multiplier_us": "us",
    # Any endpoint that is bound to a location, as against the global one.
    "regional_endpoint_uplift_multiplier": "regional",
}
_GEO = re.compile(r"[a-z]{2}(?:-[a-z0-9-]+)?")
_INCLUSIVE_PROVIDERS = frozenset({"xai"})
_COMMITMENT = re.compile(r"(?:^|/)\d+-month-commitment/")
_AWS_REGION = re.compile(r"[a-z]{2}(?:-gov)?-[a-z]+-\d|\*")
_AZURE_REGIONS = frozenset({"eu", "us", "us-gov", "apac", "global", "global-standard"})
# Kinds whose price in a table of tiers is its own or the tier's input price, never the model's.
_TIERED_KINDS = frozenset({"input", "cache_read", "cache_write_5m", "cache_write_1h", "reasoning"})
_IMAGE_MODES = frozenset({"image_generation", "image_edit"})
_PRICED_BY_TOKENS = {
    "output_cost_per_image": "output_cost_per_image_token",
    "input_cost_per_image": "output_cost_per_image_token",
}


class LitellmPricesOptions(CatalogueOptions):
    """Options of LiteLLM's price file, JSON; several files are versions of it."""


@dataclass(frozen=True)
class _Price:
    """One price of a model, not yet checked against its others."""

    key: str
    base: str
    service_tier: str
    over_tokens: int
    amount: Decimal
    up_to_tokens: int | None = None
    windows: tuple[WeekWindow, ...] = ALL_WEEK

    @property
    def unit_kind(self) -> str:
        return BASES[self.base].unit_kind


@dataclass(frozen=True)
class _Model:
    """One model of the file, and where its rows go."""

    name: str
    content: Mapping[str, Any]
    provider_name: str
    model_id: str
    region_id: str | None
    version: Version
    rates: Records
    multipliers: Records
    allowances: Records

    @property
    def identity(self) -> tuple[str, str, str | None]:
        return self.provider_name, self.model_id, self.region_id

    @property
    def common(self) -> dict[str, Any]:
        """The columns that every row of the model has."""
        source = self.content.get("source")
        return {
            "provider_name": self.provider_name,
            "model_id": self.model_id,
            "valid_from": self.version.dated_from,
            "known_from": self.version.known_from,
            "evidence_url": source if isinstance(source, str) else None,
        }

    def reject(self, code: str, reason: str, key: str, value: object) -> None:
        self.rates.reject(code, f"{self.name}: {reason}", {"model": self.name, "price_key": key, "price": value})


# ---- names


def parse_price_key(key: str) -> tuple[str, str, int] | None:
    """Take a price's name apart: base, service tier, threshold in tokens (0 is none); None when it is no such name."""
    found = _PRICE_KEY.fullmatch(key)
    if found is None or (found["tier"] and found["late_tier"]):
        return None
    tier = found["tier"] or found["late_tier"]
    count = int(found["count"] or 0) * (1_000 if found["thousand"] else 1)
    return found["base"], _SERVICE_TIERS[tier] if tier else STANDARD, count


def model_identity(name: str, provider_name: str) -> tuple[str, str | None]:
    """Give the model's own name and region: the file's key without the provider's name and the region before it.

    What stands before a dot (`us.anthropic.claude-…`) is part of the name that Bedrock calls the model by, and stays.
    """
    parts = name.split("/")
    if len(parts) > 1 and _is_prefix(parts[0], provider_name):
        parts = parts[1:]
    region_id = None
    if len(parts) > 1 and _is_region(parts[0], provider_name):
        region_id = None if parts[0] == "*" else parts[0]
        parts = parts[1:]
    return "/".join(parts), region_id


def _is_prefix(segment: str, provider_name: str) -> bool:
    family = segment.replace("-", "_")
    return provider_name == family or provider_name.startswith((f"{family}_", f"{family}-"))


def _is_region(segment: str, provider_name: str) -> bool:
    if provider_name.startswith("bedrock"):
        return _AWS_REGION.fullmatch(segment) is not None
    return provider_name.startswith("azure") and segment in _AZURE_REGIONS


# ---- one model


def _land_model(model: _Model) -> None:
    """Land everything that a model states; what is no price is passed over."""
    prices: list[_Price] = []
    is_priced = False
    for key, value in model.content.items():
        if value is None or not (key in STRUCTURED or parse_price_key(key) or _LIKE_A_PRICE.search(key)):
            continue
        is_priced = is_priced or key != "provider_specific_entry"
        try:
            prices.extend(_read_key(model, key, value))
        except RateError as error:
            model.reject(error.code, f"{key}: {error}", key, value)
    prices = _with_fast_speed(model, prices)
    for price, up_to_tokens in _banded(_unshadowed(model, prices)):
        _land_price(model, price, up_to_tokens)
    if not is_priced:
        model.reject("price_missing", "no price is stated", "", None)


def _read_key(model: _Model, key: str, value: Any) -> list[_Price]:  # noqa: ANN401 - JSON
    if key in STRUCTURED:
        return _read_structured(model, key, value)
    parsed = parse_price_key(key)
    if parsed is None:
        raise RateError("price_key_unknown", "it reads like a price and is none that is known")
    base, service_tier, over_tokens = parsed
    _check_applicable(model, base)
    return [_Price(key, base, service_tier, over_tokens, decimal_of(value))]


def _check_applicable(model: _Model, base: str) -> None:
    code = "price_not_applicable"
    if _COMMITMENT.search(model.name):
        raise RateError(code, "it is the price of a commitment, not of a call")
    if base in NOT_APPLICABLE:
        raise RateError(code, NOT_APPLICABLE[base])
    if base == "input_cost_per_image" and model.content.get("mode") not in _IMAGE_MODES:
        raise RateError(code, "usage counts images that are made, not those that are read")


def _read_structured(model: _Model, key: str, value: Any) -> list[_Price]:  # noqa: ANN401 - JSON
    match key:
        case "tiered_pricing":
            return _tiered_prices(model, value)
        case "off_peak_pricing":
            return _off_peak_prices(model, value)
        case "search_context_cost_per_query":
            _land_searches(model, key, value)
        case "search_free_requests":
            _land_allowance(model, key, value)
        case "provider_specific_entry":
            _land_provider_entry(model, value)
        case "web_search_billing_unit":
            if value != "per_query":
                raise RateError("price_key_unknown", f"a search is billed {value!r}, expected 'per_query'")
        case _:
            _land_multiplier(model, key, _REGION_MULTIPLIERS[key], value)
    return []


def _tiered_prices(model: _Model, value: Any) -> list[_Price]:  # noqa: ANN401 - JSON
    """Read a table of ranges of input tokens, (start, end]; what lies above the last is priced by the last."""
    tiers = [tier for tier in _list_of_objects(value) if _is_token_tier(model, tier)]
    starts = [_tokens(tier["range"]) for tier in tiers]
    bands = context_bands(starts)
    prices = []
    for tier, start in zip(tiers, starts, strict=True):
        stated = dict(tier)
        if "output_cost_per_token" not in tier and model.content.get("output_cost_per_token") is not None:
            stated["output_cost_per_token"] = model.content["output_cost_per_token"]
        for key, amount in stated.items():
            if key == "range":
                continue
            where = f"tiered_pricing.{key}"
            if key not in BASES:
                model.reject("price_key_unknown", f"{where} is no price that is known", where, amount)
                continue
            try:
                prices.append(_Price(where, key, STANDARD, start, decimal_of(amount), bands[start]))
            except RateError as error:
                model.reject(error.code, f"{where}: {error}", where, amount)
    return prices


def _is_token_tier(model: _Model, tier: Mapping[str, Any]) -> bool:
    where = "tiered_pricing"
    if "max_results_range" in tier:
        model.reject("price_not_applicable", "usage counts no results of a search", where, tier)
    elif "input_cost_per_token" not in tier or len(tier.get("range") or ()) != 2:  # noqa: PLR2004 - (start, end]
        model.reject("value_unparsable", f"{where}: a tier without range [start, end] or input price", where, tier)
    else:
        return True
    return False


def _tokens(bounds: Any) -> int:  # noqa: ANN401 - JSON
    start = decimal_of(bounds[0])
    if start < 0 or start != int(start):
        raise RateError("value_unparsable", f"the range {bounds!r} does not begin at a whole number of tokens")
    return int(start)


def _off_peak_prices(model: _Model, value: Any) -> list[_Price]:  # noqa: ANN401 - JSON
    """Read prices that replace all others while a window is open."""
    if not isinstance(value, dict):
        raise RateError("value_unparsable", "it is not an object")
    windows = week_windows(_window_rules(value))
    prices = []
    for key, amount in value.items():
        if key in {"hours_utc", "windows", "weekday_timezone"} or amount is None:
            continue
        where = f"off_peak_pricing.{key}"
        if key not in BASES:
            model.reject("price_key_unknown", f"{where} is no price that is known", where, amount)
            continue
        prices.append(_Price(where, key, STANDARD, 0, decimal_of(amount), None, windows))
    return prices


def _window_rules(value: Mapping[str, Any]) -> list[WindowRule]:
    rules = []
    if value.get("hours_utc"):
        rules.append(WindowRule(_clocks(value["hours_utc"])))
    for rule in _list_of_objects(value.get("windows") or []):
        weekdays = weekdays_of(rule["weekdays"]) if rule.get("weekdays") is not None else EVERY_DAY
        zone = value.get("weekday_timezone")
        offset_minutes = offset_minutes_of(zone) if zone and weekdays != EVERY_DAY else 0
        rules.append(WindowRule(_clocks(rule.get("hours_utc")), weekdays, offset_minutes))
    if not rules:
        raise RateError("window_unparsable", "no window says when it holds")
    return rules


def _clocks(value: object) -> tuple[tuple[int, int], ...]:
    texts = value if isinstance(value, list) else [value]
    if not texts or not all(isinstance(text, str) for text in texts):
        raise RateError("window_unparsable", f"the hours {value!r} are not HH:MM-HH:MM")
    return tuple(clock_window(text) for text in texts)


def _list_of_objects(value: object) -> list[dict[str, Any]]:
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise RateError("value_unparsable", "it is not a list of objects")
    return value


def _land_searches(model: _Model, key: str, value: Any) -> None:  # noqa: ANN401 - JSON
    """Land the price of a search; usage does not say its context size, and the vendors' default is medium."""
    if not isinstance(value, dict) or _SEARCH_SIZE not in value:
        raise RateError("value_unparsable", f"{_SEARCH_SIZE} is not stated")
    medium = decimal_of(value[_SEARCH_SIZE])
    for size, amount in value.items():
        if amount is None:
            continue
        where = f"{key}.{size}"
        if size == _SEARCH_SIZE:
            _land_row(model, where, "web_search", "search", unit_price(medium))
        elif decimal_of(amount) != medium:
            reason = f"{where}: usage does not say the context size of a search; the medium one's price is taken"
            model.reject("price_not_applicable", reason, where, amount)


def _land_allowance(model: _Model, key: str, value: Any) -> None:  # noqa: ANN401 - JSON
    stated = value if isinstance(value, dict) else {}
    count, period_type = stated.get("count"), stated.get("period")
    is_count = isinstance(count, int) and not isinstance(count, bool) and count > 0
    if not is_count or period_type not in {"day", "month"}:
        reason = f"{model.name}: {key} is not a count above 0 per day or month"
        model.allowances.reject("value_unparsable", reason, {"model": model.name, key: value})
        return
    model.allowances.add(
        {
            **model.common,
            "allowance_group": stated.get("shared_group") or model.model_id,
            "unit_kind": "web_search",
            "price_key": key,
            "period_type": period_type,
            "allowance_units": count,
        }
    )


def _land_provider_entry(model: _Model, value: Any) -> None:  # noqa: ANN401 - JSON
    """Land the multipliers for places among what only one provider has; the rest are properties, not prices."""
    for name, amount in value.items() if isinstance(value, dict) else ():
        if _GEO.fullmatch(name) and not isinstance(amount, dict | list):
            _land_multiplier(model, f"provider_specific_entry.{name}", name, amount)


def _land_multiplier(model: _Model, key: str, region_id: str, value: object) -> None:
    try:
        multiplier = multiplier_of(decimal_of(value))
    except RateError as error:
        raw = {"model": model.name, "price_key": key, "multiplier": value}
        model.multipliers.reject(error.code, f"{model.name}: {key}: {error}", raw)
        return
    model.multipliers.add({**model.common, "region_id": region_id, "price_key": key, "multiplier": multiplier})


def _with_fast_speed(model: _Model, prices: list[_Price]) -> list[_Price]:
    """Add the prices of tokens in fast mode, which are stated as a multiple of the standard ones."""
    entry = model.content.get("provider_specific_entry")
    if not isinstance(entry, dict) or entry.get("fast") is None:
        return prices
    try:
        multiple = multiplier_of(decimal_of(entry["fast"]))
    except RateError as error:
        model.reject(error.code, f"provider_specific_entry.fast: {error}", "provider_specific_entry.fast", entry)
        return prices
    fast = [
        _Price(
            f"{price.key} * provider_specific_entry.fast",
            price.base,
            "fast",
            price.over_tokens,
            price.amount * multiple,
            price.up_to_tokens,
            price.windows,
        )
        for price in prices
        if price.service_tier == STANDARD and BASES[price.base].pricing_unit == "token"
    ]
    return [*prices, *fast]


def _unshadowed(model: _Model, prices: list[_Price]) -> list[_Price]:
    """Leave out prices that state otherwise what another one states, each with the name of that one."""
    is_tiered = any(price.key.startswith("tiered_pricing.") for price in prices)
    has_tiered_output = any(price.key == "tiered_pricing.output_cost_per_token" for price in prices)
    tiered_kinds = _TIERED_KINDS | ({"output"} if has_tiered_output else set())
    given = {price.key for price in prices}
    taken: dict[tuple[str, str, int, tuple[WeekWindow, ...]], str] = {}
    kept = []
    for price in sorted(prices, key=lambda item: (_BASE_RANKS[item.base], item.over_tokens)):
        is_of_table = price.key.startswith(("tiered_pricing.", "off_peak_pricing."))
        place = (price.unit_kind, price.service_tier, price.over_tokens, price.windows)
        by_tokens = _PRICED_BY_TOKENS.get(price.base)
        other = None
        if is_tiered and not is_of_table and price.service_tier == STANDARD and price.unit_kind in tiered_kinds:
            other = "tiered_pricing"
        elif by_tokens in given:
            other = by_tokens
        elif place in taken:
            other = taken[place]
        if other is None:
            taken[place] = price.key
            kept.append(price)
        else:
            model.reject("price_shadowed", f"{price.key}: {other} prices the same units", price.key, price.amount)
    return kept


def _banded(prices: list[_Price]) -> Iterator[tuple[_Price, int | None]]:
    """Give each price with the threshold at which another one takes over.

    A tier's price ends at the standard price's thresholds too: above one that the tier does not name, the standard
    price above it holds.
    """
    steps: dict[tuple[str, str], set[int]] = {}
    for price in prices:
        if price.windows == ALL_WEEK:
            steps.setdefault((price.unit_kind, price.service_tier), set()).add(price.over_tokens)
    for price in prices:
        if price.windows != ALL_WEEK or price.up_to_tokens is not None:
            yield price, price.up_to_tokens
            continue
        own = steps[price.unit_kind, price.service_tier]
        standard = steps.get((price.unit_kind, STANDARD), set())
        yield price, context_bands(own, standard)[price.over_tokens]


def _land_price(model: _Model, price: _Price, up_to_tokens: int | None) -> None:
    base = BASES[price.base]
    try:
        amount = plausible(base.unit_kind, unit_price(price.amount, per=base.per))
    except RateError as error:
        model.reject(error.code, f"{price.key}: {error}", price.key, price.amount)
        return
    is_inclusive = model.provider_name in _INCLUSIVE_PROVIDERS
    step_back = 1 if is_inclusive else 0
    for minute_from, minute_to in price.windows:
        _land_row(
            model,
            price.key,
            base.unit_kind,
            base.pricing_unit,
            amount,
            service_tier=price.service_tier,
            context_over_tokens=price.over_tokens - step_back if price.over_tokens else None,
            context_up_to_tokens=up_to_tokens - step_back if up_to_tokens is not None else None,
            is_threshold_inclusive=is_inclusive,
            week_minute_from=minute_from,
            week_minute_to=minute_to,
        )


def _land_row(
    model: _Model, key: str, unit_kind: str, pricing_unit: str, amount: Decimal, **columns: str | int | bool | None
) -> None:
    model.rates.add(
        {
            **model.common,
            "region_id": model.region_id,
            "unit_kind": unit_kind,
            "price_key": key,
            "unit_price": amount,
            "pricing_currency": USD,
            "pricing_unit": pricing_unit,
            "service_tier": STANDARD,
            "is_threshold_inclusive": False,
            **columns,
        }
    )


# ---- the file


def _read_version(path: Path, version: Version) -> Iterator[Batch]:
    content = _content(path, version.input_uri)
    rates, multipliers, allowances = Records(RATES), Records(MULTIPLIERS), Records(ALLOWANCES)
    models = []
    for name, stated in content.items():
        if name in _NOT_MODELS:
            continue
        provider_name = stated.get("litellm_provider") if isinstance(stated, dict) else None
        if not isinstance(provider_name, str) or not provider_name:
            rates.reject("value_missing", f"{name}: no litellm_provider is stated", {name: stated})
            continue
        model_id, region_id = model_identity(name, provider_name)
        models.append(_Model(name, stated, provider_name, model_id, region_id, version, rates, multipliers, allowances))
    # LiteLLM looks a model up under its provider's name first, so of two keys of one model that one holds.
    heads: dict[tuple[str, str, str | None], str] = {}
    for model in sorted(models, key=lambda item: item.name == item.model_id):
        heads.setdefault(model.identity, model.name)
    for model in models:
        if heads[model.identity] == model.name:
            _land_model(model)
        else:
            model.reject("model_key_duplicate", f"{heads[model.identity]} is the same model", "", model.content)
    if not rates.rows:
        msg = (
            f"Read {version.input_uri}: none of its {len(content):,} entries has a price that is known, expected "
            "LiteLLM's price file. Correct the source's `path` or `url`."
        )
        raise PermanentSourceError(msg)
    yield from (records.batch() for records in (rates, multipliers, allowances))


def _content(path: Path, input_uri: str) -> dict[str, Any]:
    with open_bytes(path, input_uri) as stream:
        data = stream.read()
    refuse_utf16(data[:4], input_uri)
    try:
        content = json.loads(data.removeprefix(UTF8_MARK), parse_float=Decimal)
    except ValueError as error:
        msg = f"Read {input_uri}: not valid JSON: {error}. Expected LiteLLM's price file, whole; fetch it again."
        raise PermanentSourceError(msg) from None
    if not isinstance(content, dict):
        msg = f"Read {input_uri}: expected a JSON object of models, found a {type(content).__name__}. Correct the file."
        raise PermanentSourceError(msg)
    return content


def _read(options: LitellmPricesOptions, context: PullContext) -> Iterator[InputPull]:
    return catalogue_inputs(options, context, _read_version, keeps_versions=True)


connector = Connector(
    kind="litellm_prices",
    feed="rates",
    entities=(RATES, MULTIPLIERS, ALLOWANCES),
    options=LitellmPricesOptions,
    read=_read,
    is_snapshot=True,
)
