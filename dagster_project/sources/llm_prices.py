"""The llm-prices catalogue: USD per million tokens with dates, one file per vendor or one file of all history.

`from_date` is the first day of a price and `to_date` the first day after it; without one it is open. The price of a
long context stands there under a name of its own (`gemini-2.5-pro-200k`): when the model without that ending is listed
too, it is that model's price above so many tokens.
"""

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Any

from dagster_project.errors import PermanentSourceError
from dagster_project.sources._connector import Batch, Connector, InputPull, PullContext
from dagster_project.sources._files import UTF8_MARK, open_bytes, refuse_utf16
from dagster_project.sources._rates import (
    MILLION,
    RATES,
    STANDARD,
    USD,
    CatalogueOptions,
    RateError,
    Records,
    Version,
    catalogue_inputs,
    context_bands,
    decimal_of,
    plausible,
    unit_price,
)

UNIT_KINDS = {"input": "input", "output": "output", "input_cached": "cache_read"}
_NOT_PRICES = frozenset({"id", "vendor", "name", "from_date", "to_date"})
_LONG_CONTEXT = re.compile(r"(?P<model>.+)-(?P<thousands>\d+)k")


class LlmPricesOptions(CatalogueOptions):
    """Options of the llm-prices catalogue, JSON: `data/*.json`, `historical-v1.json` or `current-v1.json`."""


@dataclass(frozen=True)
class _Entry:
    """One dated set of prices as it is listed."""

    vendor: str
    model: str
    stated: dict[str, Any]


def _entries(content: Any, input_uri: str) -> Iterator[_Entry]:  # noqa: ANN401 - JSON
    """Read either form of the catalogue: a vendor with models and their history, or a flat list of prices."""
    try:
        if "vendor" in content:
            for model in content["models"]:
                for stated in model["price_history"]:
                    yield _Entry(str(content["vendor"]), str(model["id"]), dict(stated))
        else:
            for stated in content["prices"]:
                yield _Entry(str(stated["vendor"]), str(stated["id"]), dict(stated))
    except (KeyError, TypeError, ValueError) as error:
        msg = (
            f"Read {input_uri}: {error!r}; expected `vendor` with `models` and their `price_history`, or a list of "
            "`prices`. Correct the source's `path` or `url`."
        )
        raise PermanentSourceError(msg) from None


def _long_contexts(entries: Iterable[_Entry]) -> dict[tuple[str, str], tuple[str, int]]:
    """Give, for each listed name of a long context, the model that it belongs to and its threshold in tokens."""
    listed = {(entry.vendor, entry.model) for entry in entries}
    found = {}
    for vendor, name in listed:
        match = _LONG_CONTEXT.fullmatch(name)
        if match and (vendor, match["model"]) in listed:
            found[vendor, name] = (match["model"], int(match["thousands"]) * 1_000)
    return found


def _read_version(path: Path, version: Version) -> Iterator[Batch]:
    entries = list(_entries(_content(path, version.input_uri), version.input_uri))
    longs = _long_contexts(entries)
    thresholds: dict[tuple[str, str], set[int]] = {}
    for (vendor, _), (model, tokens) in longs.items():
        thresholds.setdefault((vendor, model), {0}).add(tokens)
    records = Records(RATES)
    seen: set[tuple[str, str, int, str]] = set()
    for entry in entries:
        model, over_tokens = longs.get((entry.vendor, entry.model), (entry.model, 0))
        bands = context_bands(thresholds.get((entry.vendor, model), {0}))
        row = {
            "provider_name": entry.vendor,
            "model_id": model,
            "pricing_currency": USD,
            "pricing_unit": "million tokens",
            "service_tier": STANDARD,
            "context_over_tokens": over_tokens or None,
            "context_up_to_tokens": bands[over_tokens],
            "is_threshold_inclusive": False,
            "known_from": version.known_from,
        }
        place = (entry.vendor, model, over_tokens, str(entry.stated.get("from_date")))
        if place in seen:
            reason = (
                f"{entry.vendor} {entry.model}: it is listed twice from {place[-1]}; the first one's prices are taken"
            )
            records.reject("price_shadowed", reason, vars(entry))
            continue
        seen.add(place)
        _land_entry(records, entry, row)
    if not records.rows:
        msg = f"Read {version.input_uri}: no price that is known, expected some. Correct the source's `path` or `url`."
        raise PermanentSourceError(msg)
    yield records.batch()


def _land_entry(records: Records, entry: _Entry, row: dict[str, Any]) -> None:
    try:
        valid_from, valid_to = (_midnight(name, entry.stated.get(name)) for name in ("from_date", "to_date"))
        if valid_from and valid_to and valid_to <= valid_from:
            raise RateError("period_empty", "to_date is not after from_date; it is the first day that is not covered")
    except RateError as error:
        records.reject(error.code, f"{entry.vendor} {entry.model}: {error}", vars(entry))
        return
    for key, value in entry.stated.items():
        if key in _NOT_PRICES or value is None:
            continue
        try:
            if key not in UNIT_KINDS:
                raise RateError("price_key_unknown", f"expected one of {', '.join(UNIT_KINDS)}")
            price = plausible(UNIT_KINDS[key], unit_price(decimal_of(value), per=MILLION))
        except RateError as error:
            records.reject(error.code, f"{entry.vendor} {entry.model}: {key}: {error}", vars(entry))
            continue
        kind = {"unit_kind": UNIT_KINDS[key], "price_key": f"{entry.model}.{key}", "unit_price": price}
        records.add({**row, **kind, "valid_from": valid_from, "valid_to": valid_to})


def _midnight(name: str, value: object) -> datetime | None:
    if value is None:
        return None
    try:
        return datetime.combine(date.fromisoformat(str(value)), time(), UTC)
    except ValueError:
        raise RateError("value_unparsable", f"{name} {value!r} is not a date YYYY-MM-DD") from None


def _content(path: Path, input_uri: str) -> Any:  # noqa: ANN401 - JSON
    with open_bytes(path, input_uri) as stream:
        data = stream.read()
    refuse_utf16(data[:4], input_uri)
    try:
        return json.loads(data.removeprefix(UTF8_MARK), parse_float=Decimal)
    except ValueError as error:
        msg = f"Read {input_uri}: not valid JSON: {error}. Expected the catalogue, whole; fetch it again."
        raise PermanentSourceError(msg) from None


def _read(options: LlmPricesOptions, context: PullContext) -> Iterator[InputPull]:
    return catalogue_inputs(options, context, _read_version)


connector = Connector(
    kind="llm_prices",
    feed="rates",
    entities=(RATES,),
    options=LlmPricesOptions,
    read=_read,
    is_snapshot=True,
)
