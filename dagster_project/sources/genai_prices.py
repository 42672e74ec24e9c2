"""Public list prices from the installed `genai-prices` package: rates with their history, and model patterns.

One input is one version of the package, and it is a snapshot: the installed version withdraws the one before it,
whose landing stays in the landing zone. Nothing is fetched. Rates keep the package's order of resolution as
explicit validity (valid_to is exclusive): a base entry holds until the first dated one, and a dated entry until
the next. A rate of a service tier covers only the unit kinds that the package lists for the tier; for the others
the standard rate applies. A time of day is a window of the week, one row each.
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

import pyarrow as pa
import pyarrow.compute as pc

from dagster_project.errors import PermanentSourceError
from dagster_project.sources._connector import (
    Batch,
    Connector,
    InputIdentity,
    InputPull,
    PullContext,
    SourceOptions,
)
from dagster_project.sources._rates import (
    ALL_WEEK,
    MODEL_PATTERNS,
    RATES,
    STANDARD,
    USD,
    RateError,
    Records,
    WindowRule,
    context_bands,
    plausible,
    unit_price,
    week_windows,
)

PACKAGE = "genai-prices"
_MODULE = "genai_prices"
_DATA_FILES = ("data.py", "data_units.py", "types.py")

# The package's units by the unit kind that each prices.
UNIT_KINDS = {
    "input_mtok": "input",
    "input_text_mtok": "input",
    "output_mtok": "output",
    "output_text_mtok": "output",
    "cache_read_mtok": "cache_read",
    "cache_text_read_mtok": "cache_read",
    "cache_write_mtok": "cache_write_5m",
    "cache_write_5m_mtok": "cache_write_5m",
    "cache_text_write_mtok": "cache_write_5m",
    "cache_text_write_5m_mtok": "cache_write_5m",
    "cache_write_1h_mtok": "cache_write_1h",
    "cache_text_write_1h_mtok": "cache_write_1h",
    "output_reasoning_mtok": "reasoning",
    "output_text_reasoning_mtok": "reasoning",
    "input_audio_mtok": "input_audio",
    "output_audio_mtok": "output_audio",
    "cache_audio_read_mtok": "cache_read_audio",
    "input_image_mtok": "input_image",
    "output_image_mtok": "output_image",
    "cache_image_read_mtok": "cache_read_image",
    "input_video_mtok": "input_video",
    "output_video_mtok": "output_video",
    "input_mchars": "input_character",
    "audio_hours": "input_second",
    "input_audio_hours": "input_second",
    "output_audio_hours": "output_second",
    "input_document_kpages": "page",
    "web_searches_kcount": "web_search",
    "storage_searches_kcount": "file_search",
    # A rerank request is one search.
    "rerank_searches_kcount": "request",
    "requests_kcount": "request",
}
_NO_CACHE_MODALITY = "usage tells cached tokens of this modality from no others"
_NO_TOOL_TOKENS = "usage counts the tokens of tools as input, not apart"
_NO_CITATION_TOKENS = "usage counts the tokens of citations as output, not apart"
# Units for which there is no unit kind, with the reason.
NOT_APPLICABLE = {
    **{
        f"cache_{modality}_{use}_mtok": _NO_CACHE_MODALITY
        for modality, uses in (
            ("audio", ("write", "write_5m", "write_1h")),
            ("image", ("write", "write_5m", "write_1h")),
            ("video", ("read", "write", "write_5m", "write_1h")),
        )
        for use in uses
    },
    **{f"input{modality}_tool_mtok": _NO_TOOL_TOKENS for modality in ("", "_text", "_audio", "_image", "_video")},
    **{
        f"output{modality}_citation_mtok": _NO_CITATION_TOKENS
        for modality in ("", "_text", "_audio", "_image", "_video")
    },
    **{
        f"output_{modality}_reasoning_mtok": "usage tells reasoning tokens by no modality"
        for modality in ("audio", "image", "video")
    },
    "input_text_messages_kcount": "usage counts no messages of a realtime session",
    "input_gpixels": "usage counts no pixels",
    "input_annotated_document_kpages": "usage tells annotated pages from no others",
    "social_searches_kcount": "usage tells searches of social media from no others",
    "code_executions_kcount": "usage counts sessions of a code interpreter, not executions",
}
# Units of usage in one pricing unit. An hour is priced by the second, rounded at the 15th decimal.
_PER_PRICING_UNIT = {
    "mtok": 1_000_000, "kcount": 1_000, "mchars": 1_000_000, "gpixels": 1_000_000_000, "kpages": 1_000, "hours": 3_600,
}  # fmt: skip

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
        return STANDARD if when["service_tier"] == "default" else when["service_tier"]
    return ",".join(f"{key}={value}" for key, value in sorted(when.items()))


# ---- rates


def _land_rates(records: Records, provider: Any, model: Any, known_from: datetime) -> None:  # noqa: ANN401 - the package's classes
    tiers = [(STANDARD, span) for span in _standard_spans(model.prices)] if model.prices else []
    conditions: dict[str, list[Any]] = {}
    for variant in model.price_variants or []:
        conditions.setdefault(_service_tier(variant.when), []).append(variant)
    for service_tier, variants in conditions.items():
        tiers.extend((service_tier, span) for span in _variant_spans(variants))
    for service_tier, span in tiers:
        # Of two names of one kind the longer one is the more specific, and states its price.
        first_keys: dict[str, str] = {}
        for key, price in sorted(span.prices.items(), key=lambda item: -len(item[0])):
            row = {
                "provider_name": provider.id,
                "model_id": model.id,
                "price_key": key,
                "pricing_currency": USD,
                "pricing_unit": key.rpartition("_")[2],
                "service_tier": service_tier,
                "is_threshold_inclusive": False,
                "valid_from": _midnight(span.start),
                "valid_to": _midnight(span.end),
                "known_from": known_from,
                "evidence_url": (provider.pricing_urls or [None])[0],
            }
            if (first_key := first_keys.setdefault(UNIT_KINDS.get(key, key), key)) != key:
                records.reject("price_shadowed", f"{key}: {first_key} prices the same units", {**row, "price": price})
                continue
            for step, up_to_tokens, amount in _context_prices(price):
                banded = {**row, "context_over_tokens": step or None, "context_up_to_tokens": up_to_tokens}
                _land_rate(records, banded, span.window, amount)


def _land_rate(records: Records, row: dict[str, Any], window: tuple[time, time] | None, amount: Decimal) -> None:
    key = row["price_key"]
    try:
        if key in NOT_APPLICABLE:
            raise RateError("price_not_applicable", f"{key}: {NOT_APPLICABLE[key]}")
        if key not in UNIT_KINDS:
            raise RateError("price_key_unknown", f"{key} is no unit that is known; expected one of genai-prices 0.2.3")
        price = plausible(UNIT_KINDS[key], unit_price(amount, per=_PER_PRICING_UNIT[row["pricing_unit"]]))
    except RateError as error:
        records.reject(error.code, str(error), {**row, "price": amount, "window": window})
        return
    for minute_from, minute_to in week_windows([WindowRule((_clock(window),))]) if window else ALL_WEEK:
        records.add(
            {
                **row,
                "unit_kind": UNIT_KINDS[key],
                "unit_price": price,
                "week_minute_from": minute_from,
                "week_minute_to": minute_to,
            }
        )


def _context_prices(price: Any) -> list[tuple[int, int | None, Decimal]]:  # noqa: ANN401 - the package's classes
    """Give (over_tokens, up_to_tokens, price); a tier holds for more tokens than its start."""
    if isinstance(price, Decimal):
        return [(0, None, price)]
    amounts = {0: price.base, **{tier.start: tier.price for tier in price.tiers}}
    return [(start, end, amounts[start]) for start, end in context_bands(amounts).items()]


def _midnight(day: date | None) -> datetime | None:
    return datetime.combine(day, time(), UTC) if day else None


def _clock(window: tuple[time, time]) -> tuple[int, int]:
    start, end = (_in_utc(moment) for moment in window)
    return start.hour * 60 + start.minute, end.hour * 60 + end.minute


def _in_utc(moment: time) -> time:
    if moment.tzinfo is None:
        return moment
    return datetime.combine(date(1970, 1, 2), moment).astimezone(UTC).time()


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


def _rates_batch(providers: list[Any], known_from: datetime) -> Batch:
    records = Records(RATES)
    for provider in providers:
        for model in provider.models:
            _land_rates(records, provider, model, known_from)
    return records.batch()


def _patterns_batch(providers: list[Any], known_from: datetime) -> Batch:
    records = Records(MODEL_PATTERNS)
    by_id = {provider.id: provider for provider in providers}
    for provider in providers:
        for row in _pattern_rows(provider, by_id, known_from):
            if isinstance(row, tuple):
                records.reject("pattern_not_re2", row[1], row[0])
            else:
                records.add(row)
    return records.batch()


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
