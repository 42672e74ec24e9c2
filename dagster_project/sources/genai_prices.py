"""Public list prices from the installed `genai-prices` package: rates with their history, and model patterns.

One input is one version of the package, and it is a snapshot: the installed version withdraws the one before it,
whose landing stays in the landing zone. Nothing is fetched. Rates keep the package's order of resolution as
explicit validity (valid_to is exclusive): a base entry holds until the first dated one, and a dated entry until
the next. A rate of a service tier covers only the unit kinds that the package lists for the tier; for the others
the standard rate applies.
"""

import hashlib
import importlib.util
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from decimal import Decimal
from importlib.metadata import PackageNotFoundError, version
from itertools import pairwise, product
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.compute as pc

from dagster_project.errors import PermanentSourceError
from dagster_project.sources._connector import (
    UTC_TIMESTAMP,
    Batch,
    Connector,
    Entity,
    InputIdentity,
    InputPull,
    PullContext,
    Reject,
    SourceOptions,
)

PACKAGE = "genai-prices"
_MODULE = "genai_prices"
_DATA_FILES = ("data.py", "data_units.py", "types.py")

PRICE_TYPE = pa.decimal128(18, 15)

RATES = Entity(
    name="rates",
    schema=pa.schema(
        [
            ("provider_name", pa.string()),
            ("model_id", pa.string()),
            ("unit_kind", pa.string()),
            ("usd_per_unit", PRICE_TYPE),
            ("pricing_unit", pa.string()),
            ("valid_from", UTC_TIMESTAMP),
            ("valid_to", UTC_TIMESTAMP),
            ("context_over_tokens", pa.int64()),
            ("context_up_to_tokens", pa.int64()),
            ("service_tier", pa.string()),
            ("off_peak_start_utc", pa.string()),
            ("off_peak_end_utc", pa.string()),
            ("known_from", UTC_TIMESTAMP),
            ("evidence_url", pa.string()),
        ]
    ),
)

MODEL_PATTERNS = Entity(
    name="model_patterns",
    schema=pa.schema(
        [
            ("provider_name", pa.string()),
            ("model_id", pa.string()),
            ("rate_provider_name", pa.string()),
            ("pattern_group", pa.int64()),
            ("regex", pa.string()),
            ("is_negated", pa.bool_()),
            ("priority", pa.int64()),
            ("known_from", UTC_TIMESTAMP),
        ]
    ),
)

_UNIT_KINDS = {
    "input_mtok": "input",
    "output_mtok": "output",
    "cache_read_mtok": "cache_read",
    "cache_write_mtok": "cache_write_5m",
    "cache_write_5m_mtok": "cache_write_5m",
    "cache_write_1h_mtok": "cache_write_1h",
    "output_reasoning_mtok": "reasoning",
    "input_audio_mtok": "input_audio",
    "output_audio_mtok": "output_audio",
    "input_image_mtok": "input_image",
    "requests_kcount": "request",
    "web_searches_kcount": "web_search",
}
# Units in one pricing unit, as a power of ten: prices are divided exactly by moving the point. An hour stays
# an hour, for a price per second would have to be rounded.
_PER_PRICING_UNIT = {"mtok": 6, "kcount": 3, "mchars": 6, "gpixels": 9, "kpages": 3, "hours": 0}
_PRICE_STEP = Decimal("1E-15")
_PRICE_LIMIT = Decimal(1000)

_LOOKAHEAD_ONLY = re.compile(r"^\^\(\?!(?P<inner>.*)\)$", re.DOTALL)


class GenaiPricesOptions(SourceOptions):
    """Options of the list prices: none; the installed package version is what there is."""


@dataclass(frozen=True)
class _Span:
    """Prices that hold from a date to another (exclusive), within a daily window if there is one."""

    prices: dict[str, Any]
    start: date | None
    end: date | None
    window: tuple[time, time] | None = None


# ---- resolution of the package's entries


def _dates(constraints: list[Any]) -> list[tuple[date | None, date | None]]:
    starts = sorted({item.start_date for item in constraints if hasattr(item, "start_date")})
    return list(pairwise([None, *starts, None]))


def _is_active(constraint: Any, start: date | None) -> bool:  # noqa: ANN401 - the package's classes
    """Whether a constraint without a time of day holds in an interval that begins at `start`."""
    if constraint is None:
        return True
    return hasattr(constraint, "start_date") and start is not None and constraint.start_date <= start


def _merged(spans: list[_Span]) -> list[_Span]:
    """Join spans that follow each other with the same prices and window."""
    joined: list[_Span] = []
    for span in sorted(spans, key=lambda item: (str(item.window), item.start or date.min)):
        last = joined[-1] if joined else None
        if last and last.end == span.start and (last.prices, last.window) == (span.prices, span.window):
            joined[-1] = _Span(span.prices, last.start, span.end, span.window)
        else:
            joined.append(span)
    return joined


def _standard_spans(prices: Any) -> list[_Span]:  # noqa: ANN401 - the package's classes
    """Resolve a model's entries as the package does: the last one that holds wins, none holds: the first."""
    if not isinstance(prices, list):
        return [_Span(_given(prices), None, None)]
    spans: list[_Span] = []
    for start, end in _dates([entry.constraint for entry in prices]):
        base = prices[0]
        for entry in reversed(prices):
            if hasattr(entry.constraint, "start_time"):
                window = (entry.constraint.start_time, entry.constraint.end_time)
                spans.append(_Span(_given(entry.prices), start, end, window))
            elif _is_active(entry.constraint, start):
                base = entry
                break
        spans.append(_Span(_given(base.prices), start, end))
    return _merged(spans)


def _variant_spans(variants: list[Any]) -> list[_Span]:
    """Resolve the variants of one condition: for each price, the first that holds wins."""
    spans: list[_Span] = []
    for start, end in _dates([variant.constraint for variant in variants]):
        found: dict[str, Any] = {}
        for variant in variants:
            if _is_active(variant.constraint, start):
                found = _given(variant.prices) | found
        if found:
            spans.append(_Span(found, start, end))
    return _merged(spans)


def _given(prices: Any) -> dict[str, Any]:  # noqa: ANN401 - the package's classes
    return {key: value for key, value in vars(prices).items() if value is not None and not key.startswith("_")}


def _service_tier(when: dict[str, str]) -> str:
    if when == {"processing": "batch"}:
        return "batch"
    if set(when) == {"service_tier"}:
        return "standard" if when["service_tier"] == "default" else when["service_tier"]
    return ",".join(f"{key}={value}" for key, value in sorted(when.items()))


# ---- rates


def _rate_rows(provider: Any, model: Any, known_from: datetime) -> Iterator[dict[str, Any]]:  # noqa: ANN401 - the package's classes
    tiers = [("standard", span) for span in _standard_spans(model.prices)] if model.prices else []
    conditions: dict[str, list[Any]] = {}
    for variant in model.price_variants or []:
        conditions.setdefault(_service_tier(variant.when), []).append(variant)
    for service_tier, variants in conditions.items():
        tiers.extend((service_tier, span) for span in _variant_spans(variants))
    for service_tier, span in tiers:
        for key, price in span.prices.items():
            for over_tokens, up_to_tokens, usd in _context_prices(price):
                yield {
                    "provider_name": provider.id,
                    "model_id": model.id,
                    "unit_kind": _UNIT_KINDS.get(key, key),
                    "price_key": key,
                    "usd_per_pricing_unit": usd,
                    "valid_from": _midnight(span.start),
                    "valid_to": _midnight(span.end),
                    "context_over_tokens": over_tokens,
                    "context_up_to_tokens": up_to_tokens,
                    "service_tier": service_tier,
                    "off_peak_start_utc": _clock(span.window[0]) if span.window else None,
                    "off_peak_end_utc": _clock(span.window[1]) if span.window else None,
                    "known_from": known_from,
                    "evidence_url": (provider.pricing_urls or [None])[0],
                }


def _context_prices(price: Any) -> list[tuple[int, int | None, Decimal]]:  # noqa: ANN401 - the package's classes
    """Give (over_tokens, up_to_tokens, price); a tier holds for more tokens than its start."""
    if isinstance(price, Decimal):
        return [(0, None, price)]
    steps = [(0, price.base), *((tier.start, tier.price) for tier in price.tiers)]
    ends = [start for start, _ in steps[1:]]
    return [(start, end, usd) for (start, usd), end in zip(steps, [*ends, None], strict=True)]


def _midnight(day: date | None) -> datetime | None:
    return datetime.combine(day, time(), UTC) if day else None


def _clock(moment: time) -> str:
    if moment.tzinfo is not None:
        moment = datetime.combine(date(1970, 1, 2), moment).astimezone(UTC).time()
    return moment.strftime("%H:%M")


def _per_unit(row: dict[str, Any]) -> dict[str, Any] | str:
    """Bring a row's price to one unit; gives the reason instead when that cannot be done."""
    suffix = row.pop("price_key").rpartition("_")[2]
    usd = row.pop("usd_per_pricing_unit")
    if suffix not in _PER_PRICING_UNIT:
        return f"pricing unit {suffix!r} is unknown, expected one of {', '.join(_PER_PRICING_UNIT)}"
    sign, digits, exponent = usd.as_tuple()
    exact = Decimal((sign, digits, exponent - _PER_PRICING_UNIT[suffix]))
    # The package holds prices with the dust of binary floats (0.18000000000000002 per million). No vendor
    # prices finer than 1E-15 USD per unit, so what is finer is dust.
    rounded = exact.quantize(_PRICE_STEP)
    if rounded < 0 or rounded >= _PRICE_LIMIT or (exact and not rounded):
        return f"price {usd} per {suffix} is not within 1E-15 to 999 USD per unit"
    return {**row, "usd_per_unit": rounded, "pricing_unit": suffix}


# ---- patterns


class _NotRe2Error(ValueError):
    """A pattern that RE2 cannot express."""


_Pattern = tuple[str, bool]


def _groups(clause: Any) -> list[tuple[_Pattern, ...]]:  # noqa: ANN401 - the package's classes
    """Write a match clause as alternatives of patterns that must all hold."""
    if hasattr(clause, "or_"):
        return [group for part in clause.or_ for group in _groups(part)]
    if hasattr(clause, "and_"):
        return [sum(choice, ()) for choice in product(*(_groups(part) for part in clause.and_))]
    return [(_pattern(clause),)]


def _pattern(clause: Any) -> _Pattern:  # noqa: ANN401 - the package's classes
    """Write one clause as (regex, is_negated), to be searched in the lower-cased model name."""
    literals = {"equals": "^{}$", "starts_with": "^{}", "ends_with": "{}$", "contains": "{}"}
    for name, frame in literals.items():
        if hasattr(clause, name):
            return frame.format(_escaped(getattr(clause, name).lower())), False
    regex, is_negated = clause.regex, False
    if found := _LOOKAHEAD_ONLY.match(regex):
        regex, is_negated = f"^(?:{found['inner']})", True
    try:
        pc.match_substring_regex(pa.array([""]), regex)
    except pa.ArrowInvalid as error:
        msg = f"RE2 cannot express {clause.regex!r}: {error}"
        raise _NotRe2Error(msg) from None
    return regex, is_negated


def _escaped(text: str) -> str:
    return re.sub(r"([^A-Za-z0-9_/:@ -])", r"\\\1", text)


def _pattern_rows(
    provider: Any,  # noqa: ANN401 - the package's classes
    providers: dict[str, Any],
    known_from: datetime,
) -> Iterator[dict[str, Any] | tuple[dict[str, Any], str]]:
    """Give a provider's pattern rows: its own models, then those of its fallback providers."""
    sources = [
        provider,
        *(providers[name] for name in provider.fallback_model_providers or [] if name in providers),
    ]
    priority = 0
    for source in sources:
        for model in source.models:
            row = {
                "provider_name": provider.id,
                "model_id": model.id,
                "rate_provider_name": source.id,
                "priority": priority,
                "known_from": known_from,
            }
            priority += 1
            try:
                groups = _groups(model.match)
            except _NotRe2Error as error:
                yield row, str(error)
                continue
            for number, group in enumerate(groups):
                for regex, is_negated in group:
                    yield {**row, "pattern_group": number, "regex": regex, "is_negated": is_negated}


# ---- batches


def _batch(entity: Entity, rows: list[tuple[int, dict[str, Any]]], rejects: list[Reject]) -> Batch:
    records = pa.RecordBatch.from_pylist([row for _, row in rows], schema=entity.schema)
    indices = pa.array([index for index, _ in rows], pa.int64())
    return Batch(entity.name, records, indices, len(rows) + len(rejects), tuple(rejects))


def _rates_batch(providers: list[Any], known_from: datetime) -> Batch:
    rows: list[tuple[int, dict[str, Any]]] = []
    rejects: list[Reject] = []
    found = (row for item in providers for model in item.models for row in _rate_rows(item, model, known_from))
    for index, row in enumerate(found):
        raw = orjson.dumps(row, default=str)
        priced = _per_unit(row)
        if isinstance(priced, str):
            rejects.append(Reject.of(index, "value_unparsable", f"usd_per_unit: {priced}", raw))
        else:
            rows.append((index, priced))
    return _batch(RATES, rows, rejects)


def _patterns_batch(providers: list[Any], known_from: datetime) -> Batch:
    rows: list[tuple[int, dict[str, Any]]] = []
    rejects: list[Reject] = []
    by_id = {provider.id: provider for provider in providers}
    found = (row for provider in providers for row in _pattern_rows(provider, by_id, known_from))
    for index, row in enumerate(found):
        if isinstance(row, tuple):
            rejects.append(Reject.of(index, "pattern_not_re2", row[1], orjson.dumps(row[0], default=str)))
        else:
            rows.append((index, row))
    return _batch(MODEL_PATTERNS, rows, rejects)


def _read(_: GenaiPricesOptions, context: PullContext) -> Iterator[InputPull]:
    def identify() -> InputIdentity:
        digest = hashlib.sha256()
        size_bytes = 0
        for path in _data_files():
            content = path.read_bytes()
            digest.update(content)
            size_bytes += len(content)
        return InputIdentity(digest.hexdigest(), size_bytes)

    def batches() -> Iterator[Batch]:
        # Imported here because the package builds its 2,300 models when it is imported.
        from genai_prices.data import providers  # noqa: PLC0415

        yield _rates_batch(providers, context.now)
        yield _patterns_batch(providers, context.now)

    yield InputPull(f"package:{PACKAGE}@{_installed_version()}", "", identify, batches)


def _installed_version() -> str:
    try:
        return version(PACKAGE)
    except PackageNotFoundError:
        msg = f"Looked for the package {PACKAGE}: it is not installed, expected the pinned version. Install it."
        raise PermanentSourceError(msg) from None


def _data_files() -> list[Path]:
    found = importlib.util.find_spec(_MODULE)
    if found is None or found.origin is None:
        msg = f"Looked for the module {_MODULE}: it is absent, expected the pinned package. Install it."
        raise PermanentSourceError(msg)
    return [Path(found.origin).with_name(name) for name in _DATA_FILES]


connector = Connector(
    kind="genai_prices",
    feed="rates",
    entities=(RATES, MODEL_PATTERNS),
    options=GenaiPricesOptions,
    read=_read,
    is_snapshot=True,
)
