"""Contract terms and own rate cards: CSV or YAML files with one term per row, maintained by people.

A term is a fixed price of a unit, a percentage off the list price or off all spend, a multiplier of prices, or a free
allowance, for the models that match a pattern, from a date until (not including) another. Numbers are read as exact
decimals. A file counts as a whole: a version with a row that cannot hold is refused, and the version before stays. A
price in another currency than USD holds only when the reference data has a rate of exchange for its first day.
Which term wins over which is decided in SQL.
"""

import csv
import io
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal, InvalidOperation
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from dagster_project.errors import PermanentSourceError
from dagster_project.sources._connector import Batch, Connector, Entity, InputPull, PullContext, Reject
from dagster_project.sources._files import UTF8_MARK, refuse_utf16
from dagster_project.sources._http import LocatedOptions, located_inputs
from dagster_project.sources._rates import (
    ALL_WEEK,
    COUNTED_KINDS,
    MULTIPLIER_TYPE,
    PRICE_TYPE,
    TOKEN_KINDS,
    USD,
    RateError,
    WeekWindow,
    WindowRule,
    clock_window,
    plausible,
    week_windows,
)

TERMS = Entity(
    name="terms",
    schema=pa.schema(
        [
            ("contract_id", pa.string()),
            ("provider_name", pa.string()),
            ("model_pattern", pa.string()),
            ("term_type", pa.string()),
            ("unit_kind", pa.string()),
            ("unit_price", PRICE_TYPE),
            ("pricing_currency", pa.string()),
            ("discount_share", pa.decimal128(9, 8)),
            ("multiplier", MULTIPLIER_TYPE),
            ("allowance_units", pa.int64()),
            ("period_type", pa.string()),
            ("allowance_group", pa.string()),
            ("service_tier", pa.string()),
            ("region_id", pa.string()),
            ("context_over_tokens", pa.int64()),
            ("context_up_to_tokens", pa.int64()),
            ("week_minute_from", pa.int32()),
            ("week_minute_to", pa.int32()),
            ("valid_from", pa.date32()),
            ("valid_to", pa.date32()),
            ("signed_on", pa.date32()),
            ("is_list", pa.bool_()),
            ("evidence", pa.string()),
        ]
    ),
)

PERIOD_TYPES = ("day", "month")
EXCHANGE_RATES_FILE = "seed_exchange_rates.csv"

_PRICE_COLUMNS = {"usd_per_unit": 0, "usd_per_million": 6, "price_per_unit": 0, "price_per_million": 6}
_PRICE = "a price"
_REQUIRED = ("contract_id", "provider_name", "term_type", "valid_from")
_EVERY_TERM = {*_REQUIRED, "model_pattern", "valid_to", "signed_on", "is_list", "evidence"}
# What a term of each type needs, and what it may have besides.
_TERM_COLUMNS: dict[str, tuple[frozenset[str], frozenset[str]]] = {
    "unit_price": (
        frozenset({_PRICE, "unit_kind"}),
        frozenset(
            {
                "pricing_currency",
                "service_tier",
                "region_id",
                "context_over_tokens",
                "context_up_to_tokens",
                "off_peak_window_utc",
            }
        ),
    ),
    "percentage_discount": (frozenset({"discount_share"}), frozenset({"unit_kind", "service_tier"})),
    "spend_discount": (frozenset({"discount_share"}), frozenset()),
    "multiplier": (frozenset({"multiplier"}), frozenset({"region_id", "service_tier"})),
    "free_allowance": (
        frozenset({"allowance_units", "period_type", "unit_kind"}),
        frozenset({"allowance_group", "service_tier", "region_id"}),
    ),
}
TERM_TYPES = tuple(_TERM_COLUMNS)
_KNOWN = {
    *_EVERY_TERM,
    *_PRICE_COLUMNS,
    *(name for needed, allowed in _TERM_COLUMNS.values() for name in needed | allowed if name != _PRICE),
}
_WORDS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
_CURRENCY = re.compile("[A-Z]{3}")


class ContractFilesOptions(LocatedOptions):
    """Options of contract files: only where they are; .yaml and .yml are YAML, all else is CSV."""


# ---- rates of exchange


def _first_exchange_dates(reference_dir: Path | None) -> dict[str, date]:
    """Give each currency's first day with a rate of exchange, which holds until the next; USD needs none.

    Raises:
        PermanentSourceError: a row is no rate of exchange.
    """
    path = reference_dir / EXCHANGE_RATES_FILE if reference_dir else None
    if path is None or not path.exists():
        return {}
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    found: dict[str, date] = {}
    for number, row in enumerate(rows, start=1):
        try:
            currency, first_date = row["pricing_currency"].strip(), date.fromisoformat(row["valid_from_date"].strip())
            is_rate = Decimal(row["usd_per_currency_unit"]) > 0
        except (KeyError, AttributeError, TypeError, ValueError, InvalidOperation):
            is_rate = False
        if not is_rate:
            msg = (
                f"Read {path.name}: row {number} is {', '.join(map(str, row.values()))}, expected a currency, a date "
                "YYYY-MM-DD and the USD for one unit, above 0. Correct the row."
            )
            raise PermanentSourceError(msg)
        found[currency] = min(first_date, found.get(currency, first_date))
    return found


# ---- one term


@dataclass(frozen=True)
class _Term:
    """A term that can hold: its row in the file, its columns, and the windows of the week in which it holds."""

    row_index: int
    columns: dict[str, Any]
    windows: tuple[WeekWindow, ...]

    @property
    def key(self) -> tuple[Any, ...]:
        """What two terms of one instant must not have in common."""
        names = (
            "contract_id", "provider_name", "term_type", "unit_kind", "service_tier", "region_id",
            "context_over_tokens", "allowance_group", "is_list",
        )  # fmt: skip
        return (self.columns["model_pattern"].lower(), *(self.columns[name] for name in names))

    @property
    def allowance_key(self) -> tuple[Any, ...] | None:
        """What the rows that draw on one allowance have in common; None for a term of another type."""
        if self.columns["term_type"] != "free_allowance":
            return None
        names = ("contract_id", "provider_name", "allowance_group", "unit_kind", "period_type")
        return tuple(self.columns[name] for name in names)

    def overlaps(self, other: "_Term") -> bool:
        """Whether both hold at one instant; a price of a window replaces one of all times, and does not overlap it."""
        first, second = self.columns, other.columns
        if second["valid_to"] is not None and second["valid_to"] <= first["valid_from"]:
            return False
        if first["valid_to"] is not None and first["valid_to"] <= second["valid_from"]:
            return False
        if ALL_WEEK in (self.windows, other.windows):
            return self.windows == other.windows
        return any(max(a[0] or 0, b[0] or 0) < min(a[1] or 0, b[1] or 0) for a in self.windows for b in other.windows)


def _term(row_index: int, row: dict[str, str], first_exchange_dates: Mapping[str, date]) -> _Term:
    """Read one term; raises RateError."""
    given = {name: text.strip() for name, text in row.items() if text.strip() not in ("", "NULL")}
    for name in _REQUIRED:
        if name not in given:
            raise RateError("value_missing", f"{name} is empty, expected a value")
    if given["term_type"] not in TERM_TYPES:
        raise RateError("value_unknown", f"term_type {given['term_type']!r} is none of {', '.join(TERM_TYPES)}")
    _check_columns(given)
    columns: dict[str, Any] = {name: given.get(name) for name in TERMS.schema.names}
    for name in ("valid_from", "valid_to", "signed_on"):
        columns[name] = _date(name, given.get(name))
    if columns["valid_to"] and columns["valid_to"] <= columns["valid_from"]:
        raise RateError(
            "period_empty",
            f"valid_to {columns['valid_to']} is not after valid_from {columns['valid_from']}; it is the first day that "
            "is not covered",
        )
    columns["is_list"] = _flag(given.get("is_list", "false"))
    columns["model_pattern"] = columns["model_pattern"] or "*"
    for name in ("context_over_tokens", "context_up_to_tokens", "allowance_units"):
        columns[name] = _count(name, given.get(name))
    for name in ("discount_share", "multiplier"):
        columns[name] = _number(name, given)
    columns["unit_price"] = _price(given)
    columns["pricing_currency"] = _currency(given)
    if given["term_type"] == "free_allowance":
        columns["allowance_group"] = columns["allowance_group"] or given["contract_id"]
    _check_values(columns)
    if columns["pricing_currency"] == USD:
        plausible(columns["unit_kind"], columns["unit_price"])
    _check_exchange(columns["pricing_currency"], columns["valid_from"], first_exchange_dates)
    return _Term(row_index, columns, _windows(given))


def _check_columns(given: dict[str, str]) -> None:
    """Refuse a term without what its type needs, or with what its type does not know."""
    needed, allowed = _TERM_COLUMNS[given["term_type"]]
    prices = [name for name in _PRICE_COLUMNS if name in given]
    if len(prices) > 1:
        raise RateError("value_ambiguous", f"{' and '.join(prices)} are given, expected one")
    stated = {name for name in given if name in _KNOWN} - _EVERY_TERM - set(_PRICE_COLUMNS)
    stated |= {_PRICE} if prices else set()
    words = {_PRICE: f"a price ({', '.join(_PRICE_COLUMNS)})", "unit_kind": "unit_kind, the unit that it is for"}
    if missing := [words.get(name, name) for name in sorted(needed - stated)]:
        threshold = next((name for name in sorted(stated) if name.startswith("context_")), None)
        beside = f" beside {threshold}" if threshold else ""
        raise RateError("value_missing", f"a {given['term_type']} needs {' and '.join(missing)}{beside}")
    if surplus := sorted(stated - needed - allowed):
        raise RateError("value_surplus", f"a {given['term_type']} has no {' and no '.join(surplus)}")


def _check_values(columns: dict[str, Any]) -> None:
    code = "value_out_of_range"
    if columns["allowance_units"] == 0:
        raise RateError(code, "allowance_units is 0, expected at least 1")
    over_tokens, up_to_tokens = columns["context_over_tokens"] or 0, columns["context_up_to_tokens"]
    if up_to_tokens is not None and up_to_tokens <= over_tokens:
        raise RateError(code, f"context_up_to_tokens {up_to_tokens} is not more than context_over_tokens {over_tokens}")
    code = "value_unknown"
    if columns["unit_kind"] is not None and columns["unit_kind"] not in (*TOKEN_KINDS, *COUNTED_KINDS):
        known = ", ".join((*TOKEN_KINDS, *COUNTED_KINDS))
        raise RateError(code, f"unit_kind {columns['unit_kind']!r} is none of {known}")
    if columns["period_type"] not in (None, *PERIOD_TYPES):
        raise RateError(code, f"period_type {columns['period_type']!r} is none of {', '.join(PERIOD_TYPES)}")


def _price(given: dict[str, str]) -> Decimal | None:
    name = next((name for name in _PRICE_COLUMNS if name in given), None)
    return _number(name, given, "unit_price", shift=_PRICE_COLUMNS[name]) if name else None


def _currency(given: dict[str, str]) -> str | None:
    if given["term_type"] != "unit_price":
        return None
    currency = given.get("pricing_currency", USD)
    if not _CURRENCY.fullmatch(currency):
        raise RateError("value_unknown", f"pricing_currency {currency!r} is no ISO 4217 code such as EUR")
    if currency != USD and any(name.startswith("usd_") for name in given):
        raise RateError("value_ambiguous", f"a price in USD with pricing_currency {currency}; name it price_per_…")
    return currency


def _check_exchange(currency: str | None, valid_from: date, first_exchange_dates: Mapping[str, date]) -> None:
    """Refuse a price that nothing converts on its first day."""
    if currency is None or currency == USD:
        return
    first_date = first_exchange_dates.get(currency)
    if first_date is None or first_date > valid_from:
        known = f"knows {currency} from {first_date} on" if first_date else f"does not know {currency}"
        raise RateError(
            "exchange_rate_missing",
            f"pricing_currency {currency} has no rate of exchange on valid_from {valid_from}: {EXCHANGE_RATES_FILE} "
            f"{known}; expected a row of it with valid_from_date {valid_from} or before",
        )


def _number(name: str, given: dict[str, str], column: str | None = None, *, shift: int = 0) -> Decimal | None:
    """Read an exact decimal for a column, divided by ten to the power of `shift`."""
    if name not in given:
        return None
    kind = TERMS.schema.field(column or name).type
    code = "value_unparsable"
    try:
        sign, digits, exponent = Decimal(given[name]).as_tuple()
    except InvalidOperation:
        raise RateError(code, f"{name} {given[name]!r} is not a decimal number") from None
    if not isinstance(exponent, int):
        raise RateError(code, f"{name} {given[name]!r} is not a finite number")
    value = Decimal((sign, digits, exponent - shift))
    _check_range(name, value, given[name])
    try:
        pa.scalar(value, kind)
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        raise RateError(code, f"{name} {given[name]!r} cannot be held exactly as {kind}") from None
    return value


def _check_range(name: str, value: Decimal, text: str) -> None:
    code = "value_out_of_range"
    if name in _PRICE_COLUMNS and value < 0:
        raise RateError(code, f"{name} {text} is negative, expected 0 or more")
    if name == "discount_share" and not 0 <= value <= 1:
        raise RateError(code, f"discount_share {text} is not a share between 0 and 1 (15 % is 0.15)")
    if name == "multiplier" and value <= 0:
        raise RateError(code, f"multiplier {text} is not above 0")


def _count(name: str, text: str | None) -> int | None:
    if text is None:
        return None
    if not re.fullmatch(r"[0-9]{1,18}", text):
        raise RateError("value_unparsable", f"{name} {text!r} is not a whole number from 0 up")
    return int(text)


def _windows(given: dict[str, str]) -> tuple[WeekWindow, ...]:
    """Read `HH:MM-HH:MM`, or several with semicolons between them, each on every day."""
    if "off_peak_window_utc" not in given:
        return ALL_WEEK
    clocks = tuple(clock_window(text) for text in given["off_peak_window_utc"].split(";"))
    return week_windows([WindowRule(clocks)])


def _date(name: str, text: str | None) -> date | None:
    if text is None:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise RateError("value_unparsable", f"{name} {text!r} is not a date YYYY-MM-DD") from None


def _flag(text: str) -> bool:
    if text.lower() not in _WORDS:
        raise RateError("value_unparsable", f"is_list {text!r} is not true or false")
    return _WORDS[text.lower()]


# ---- files


def _rows(path: Path, input_uri: str) -> list[dict[str, str]]:
    content = path.read_bytes()
    refuse_utf16(content[:4], input_uri)
    text = content.removeprefix(UTF8_MARK).decode("utf-8")
    return _yaml_rows(text, input_uri) if path.suffix.lower() in {".yaml", ".yml"} else _csv_rows(text, input_uri)


def _csv_rows(text: str, input_uri: str) -> list[dict[str, str]]:
    reader = csv.DictReader(io.StringIO(text, newline=""), restkey=_EXTRA, restval="")
    header = list(reader.fieldnames or [])
    _require_columns(header, input_uri)
    return [{name: _joined(value) for name, value in row.items()} for row in reader]


# Name under which a row's surplus fields are kept; a term with any is refused.
_EXTRA = "(surplus fields)"


def _joined(value: str | list[str]) -> str:
    return value if isinstance(value, str) else ",".join(value)


def _yaml_rows(text: str, input_uri: str) -> list[dict[str, str]]:
    """Read a list of terms, plain or under `terms`; scalars stay the text that was written."""
    try:
        node = YAML().compose(text)
    except YAMLError as error:
        msg = f"Read {input_uri}: not valid YAML: {str(error).splitlines()[0]}. Correct the file."
        raise PermanentSourceError(msg) from error
    if isinstance(node, MappingNode):
        node = next((value for key, value in node.value if key.value == "terms"), None)
    if not isinstance(node, SequenceNode):
        msg = f"Read {input_uri}: expected a list of terms, plain or under `terms`. Correct the file."
        raise PermanentSourceError(msg)
    rows = [_yaml_row(item, input_uri) for item in node.value]
    _require_columns(list(dict.fromkeys(name for row in rows for name in row)) or [*_REQUIRED], input_uri)
    return rows


def _yaml_row(node: Node, input_uri: str) -> dict[str, str]:
    if not isinstance(node, MappingNode) or not all(isinstance(value, ScalarNode) for _, value in node.value):
        msg = (
            f"Read {input_uri}: line {node.start_mark.line + 1} is not a mapping of plain values, "
            "expected one term. Correct the file."
        )
        raise PermanentSourceError(msg)
    return {str(key.value): "" if str(value.tag).endswith(":null") else value.value for key, value in node.value}


def _require_columns(header: list[str], input_uri: str) -> None:
    absent = [name for name in _REQUIRED if name not in header]
    unknown = [name for name in header if name not in _KNOWN]
    if absent or unknown:
        problems = [f"column {', '.join(absent)} is absent"] if absent else []
        problems += [f"column {', '.join(unknown)} is unknown"] if unknown else []
        msg = (
            f"Read {input_uri}: {'; '.join(problems)}; known: {', '.join(sorted(_KNOWN))}. "
            "Correct the file; a term in a column that nobody reads would be lost."
        )
        raise PermanentSourceError(msg)


def _overlaps(terms: list[_Term]) -> dict[int, str]:
    """Give the reason for every row that holds at one instant with another row of its key."""
    by_key: dict[tuple[Any, ...], list[_Term]] = {}
    for term in terms:
        by_key.setdefault(term.key, []).append(term)
    reasons: dict[int, str] = {}
    for group in by_key.values():
        for first, second in combinations(group, 2):
            if first.overlaps(second):
                for term, other in ((first, second), (second, first)):
                    reasons.setdefault(
                        term.row_index,
                        f"it holds at the same time as row {other.row_index + 1}, which prices the same from "
                        f"{other.columns['valid_from']} to {other.columns['valid_to'] or 'an open end'}; expected the "
                        "one to end where the other begins",
                    )
    return reasons


def _unequal_allowances(terms: list[_Term]) -> dict[int, str]:
    """Give the reason for every row that states another size of an allowance than a row that shares it."""
    by_key: dict[tuple[Any, ...], list[_Term]] = {}
    for term in terms:
        if term.allowance_key is not None:
            by_key.setdefault(term.allowance_key, []).append(term)
    reasons: dict[int, str] = {}
    for group in by_key.values():
        for first, second in combinations(group, 2):
            if first.columns["allowance_units"] != second.columns["allowance_units"] and first.overlaps(second):
                for term, other in ((first, second), (second, first)):
                    reasons.setdefault(
                        term.row_index,
                        f"it grants {term.columns['allowance_units']} {term.columns['unit_kind']} a "
                        f"{term.columns['period_type']} to the group {term.columns['allowance_group']}, row "
                        f"{other.row_index + 1} {other.columns['allowance_units']}; expected one size of what a group "
                        "shares, or another allowance_group",
                    )
    return reasons


def _read_file(first_exchange_dates: Mapping[str, date], path: Path, input_uri: str) -> Iterator[Batch]:
    rows = _rows(path, input_uri)
    read: list[_Term] = []
    rejects: dict[int, Reject] = {}

    def reject(index: int, code: str, reason: str) -> None:
        contract_id = rows[index].get("contract_id") or "without a name"
        rejects[index] = Reject.of(index, code, f"contract {contract_id}: {reason}", orjson.dumps(rows[index]))

    for index, row in enumerate(rows):
        try:
            if _EXTRA in row:
                raise RateError("field_count_wrong", "the row has more fields than the header")
            read.append(_term(index, row, first_exchange_dates))
        except RateError as error:
            reject(index, error.code, str(error))
    for index, reason in _unequal_allowances(read).items():
        reject(index, "allowance_ambiguous", reason)
    for index, reason in _overlaps(read).items():
        reject(index, "period_overlapping", reason)
    # A term of a daily window is landed as one row per window of the week.
    landed = [
        (term.row_index, term.columns | {"week_minute_from": minute_from, "week_minute_to": minute_to})
        for term in read
        if term.row_index not in rejects
        for minute_from, minute_to in term.windows
    ]
    records = pa.RecordBatch.from_pylist([columns for _, columns in landed], schema=TERMS.schema)
    indices = pa.array([index for index, _ in landed], pa.int64())
    ordered = tuple(rejects[index] for index in sorted(rejects))
    yield Batch(TERMS.name, records, indices, len(landed) + len(ordered), ordered)


def _read(options: ContractFilesOptions, context: PullContext) -> Iterator[InputPull]:
    found = _first_exchange_dates(context.reference_dir)
    reading = ", ".join(f"{currency} from {first_date}" for currency, first_date in sorted(found.items()))
    for pull in located_inputs(options, context, partial(_read_file, found)):
        yield replace(pull, reading=reading)


connector = Connector(
    kind="contract_files",
    feed="rates",
    entities=(TERMS,),
    options=ContractFilesOptions,
    read=_read,
    version=2,
    is_whole=True,
)
