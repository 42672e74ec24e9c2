"""Contract terms and own rate cards: CSV or YAML files with one term per row, maintained by people.

A term is a fixed price of a unit or a percentage off the list price, for the models that match a pattern,
from a date until (not including) another. Numbers are read as exact decimals. Which term wins over which is
decided in SQL.
"""

import csv
import io
from collections.abc import Iterator
from datetime import date
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from dagster_project.errors import PermanentSourceError
from dagster_project.sources._connector import (
    Batch,
    Connector,
    Entity,
    FileSourceOptions,
    InputPull,
    PullContext,
    Reject,
)
from dagster_project.sources._files import UTF8_MARK, file_inputs, refuse_utf16

TERMS = Entity(
    name="terms",
    schema=pa.schema(
        [
            ("contract_id", pa.string()),
            ("provider_name", pa.string()),
            ("model_pattern", pa.string()),
            ("term_type", pa.string()),
            ("unit_kind", pa.string()),
            ("usd_per_unit", pa.decimal128(18, 15)),
            ("discount_share", pa.decimal128(9, 8)),
            ("service_tier", pa.string()),
            ("valid_from", pa.date32()),
            ("valid_to", pa.date32()),
            ("signed_on", pa.date32()),
            ("is_list", pa.bool_()),
            ("evidence", pa.string()),
        ]
    ),
)

TERM_TYPES = ("unit_price", "percentage_discount")

_MILLION_DIGITS = 6
_PRICE_COLUMNS = ("usd_per_unit", "usd_per_million")
_REQUIRED = ("contract_id", "provider_name", "term_type", "valid_from")
_KNOWN = {*TERMS.schema.names, "usd_per_million"}
_WORDS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


class ContractFilesOptions(FileSourceOptions):
    """Options of contract files: only where they are; .yaml and .yml are YAML, all else is CSV."""


class _BadTermError(ValueError):
    """A term that cannot hold: reason_code and reason."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.code = code


# ---- one term


def _term(row: dict[str, str]) -> dict[str, Any]:
    """Read one term; raises _BadTermError."""
    given = {name: text.strip() for name, text in row.items() if text.strip() not in ("", "NULL")}
    for name in _REQUIRED:
        if name not in given:
            code = "value_missing"
            raise _BadTermError(code, f"{name} is empty, expected a value")
    term: dict[str, Any] = {name: given.get(name) for name in TERMS.schema.names}
    if term["term_type"] not in TERM_TYPES:
        code = "value_unknown"
        raise _BadTermError(code, f"term_type is none of {', '.join(TERM_TYPES)}")
    for name in ("valid_from", "valid_to", "signed_on"):
        term[name] = _date(name, given.get(name))
    if term["valid_to"] and term["valid_to"] <= term["valid_from"]:
        code = "period_empty"
        raise _BadTermError(code, "valid_to is not after valid_from; it is the first day that is not covered")
    term["is_list"] = _flag(given.get("is_list", "false"))
    term["model_pattern"] = term["model_pattern"] or "*"
    term["usd_per_unit"] = _price(given)
    term["discount_share"] = _number("discount_share", given, TERMS.schema.field("discount_share").type)
    _check_value(term)
    return term


def _check_value(term: dict[str, Any]) -> None:
    code = "value_missing"
    if term["term_type"] == "unit_price":
        if term["usd_per_unit"] is None or term["discount_share"] is not None:
            raise _BadTermError(code, "a unit_price needs usd_per_unit or usd_per_million, and no discount_share")
        if term["unit_kind"] is None:
            raise _BadTermError(code, "a unit_price needs the unit_kind that it is for")
    elif term["discount_share"] is None or term["usd_per_unit"] is not None:
        raise _BadTermError(code, "a percentage_discount needs discount_share, and no price")
    code = "value_out_of_range"
    if (term["usd_per_unit"] or 0) < 0:
        raise _BadTermError(code, "the price is negative")
    if not 0 <= (term["discount_share"] or 0) <= 1:
        raise _BadTermError(code, "discount_share is a share between 0 and 1")


def _price(given: dict[str, str]) -> Decimal | None:
    if all(name in given for name in _PRICE_COLUMNS):
        code = "value_ambiguous"
        raise _BadTermError(code, f"both {' and '.join(_PRICE_COLUMNS)} are given, expected one")
    kind = TERMS.schema.field("usd_per_unit").type
    if "usd_per_million" in given:
        return _number("usd_per_million", given, kind, shift=_MILLION_DIGITS)
    return _number("usd_per_unit", given, kind)


def _number(name: str, given: dict[str, str], kind: pa.DataType, *, shift: int = 0) -> Decimal | None:
    """Read an exact decimal, divided by ten to the power of `shift`."""
    if name not in given:
        return None
    code = "value_unparsable"
    try:
        sign, digits, exponent = Decimal(given[name]).as_tuple()
    except InvalidOperation:
        raise _BadTermError(code, f"{name} is not a decimal number") from None
    if not isinstance(exponent, int):
        raise _BadTermError(code, f"{name} is not a finite number")
    value = Decimal((sign, digits, exponent - shift))
    try:
        pa.scalar(value, kind)
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        raise _BadTermError(code, f"{name} cannot be held exactly as {kind}") from None
    return value


def _date(name: str, text: str | None) -> date | None:
    if text is None:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        code = "value_unparsable"
        raise _BadTermError(code, f"{name} is not a date YYYY-MM-DD") from None


def _flag(text: str) -> bool:
    if text.lower() not in _WORDS:
        code = "value_unparsable"
        raise _BadTermError(code, "is_list is not true or false")
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


def _read_file(path: Path, input_uri: str) -> Iterator[Batch]:
    terms: list[dict[str, Any]] = []
    indices: list[int] = []
    rejects: list[Reject] = []
    rows = _rows(path, input_uri)
    for index, row in enumerate(rows):
        try:
            if _EXTRA in row:
                code = "field_count_wrong"
                raise _BadTermError(code, "the row has more fields than the header")
            terms.append(_term(row))
            indices.append(index)
        except _BadTermError as error:
            rejects.append(Reject.of(index, error.code, str(error), orjson.dumps(row)))
    records = pa.RecordBatch.from_pylist(terms, schema=TERMS.schema)
    yield Batch(TERMS.name, records, pa.array(indices, pa.int64()), len(rows), tuple(rejects))


def _read(options: ContractFilesOptions, _: PullContext) -> Iterator[InputPull]:
    return file_inputs(options, _read_file)


connector = Connector(kind="contract_files", feed="rates", entities=(TERMS,), options=ContractFilesOptions, read=_read)
