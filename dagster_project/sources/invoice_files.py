"""Any issuer's invoice as a table: CSV, Parquet or JSON Lines, one line per row, columns mapped by the configuration.

Days and amounts are read as the file writes them: `date_order` and `decimal_mark` say how. A line says when it was
charged, how much, in which currency and to which account; what it leaves out stays unknown.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import AfterValidator, Field, model_validator

from dagster_project.sources._bills import (
    AMOUNT_TYPE,
    DELIVERY_COLUMNS,
    Delivery,
    RestatedPeriod,
    delivered,
    deliveries,
)
from dagster_project.sources._connector import UTC_TIMESTAMP, Batch, Connector, Entity, InputPull, PullContext
from dagster_project.sources._files import file_inputs
from dagster_project.sources._tabular import (
    ConstantColumn,
    ConstantValue,
    MappedTableOptions,
    RawBatch,
    known_column,
    mapped_batches,
)

_PERIODS = ("billing_period_start", "billing_period_end", "charge_period_start", "charge_period_end")
_AMOUNTS = (
    "billed_cost",
    "effective_cost",
    "list_cost",
    "contracted_cost",
    "pricing_quantity",
    "consumed_quantity",
)
_NEEDED = ("billed_cost", "billing_account_id", "billing_currency", "provider_name")

LINES = Entity(
    name="lines",
    schema=pa.schema(
        [
            ("invoice_id", pa.string()),
            ("provider_name", pa.string()),
            ("invoice_issuer_name", pa.string()),
            ("billing_account_id", pa.string()),
            ("sub_account_id", pa.string()),
            ("billing_currency", pa.string()),
            ("charge_category", pa.string()),
            ("charge_class", pa.string()),
            ("charge_description", pa.string()),
            ("charge_frequency", pa.string()),
            ("service_category", pa.string()),
            ("service_name", pa.string()),
            ("sku_id", pa.string()),
            ("sku_meter", pa.string()),
            ("model_name", pa.string()),
            ("service_tier", pa.string()),
            ("unit_kind", pa.string()),
            ("commitment_id", pa.string()),
            ("resource_id", pa.string()),
            ("resource_name", pa.string()),
            ("region_id", pa.string()),
            ("pricing_unit", pa.string()),
            ("consumed_unit", pa.string()),
            ("tags", pa.string()),
            *((name, UTC_TIMESTAMP) for name in _PERIODS),
            *((name, AMOUNT_TYPE) for name in _AMOUNTS),
            ("are_period_ends_inclusive", pa.bool_()),
            *DELIVERY_COLUMNS,
        ]
    ),
    day_column="charge_period_start",
    amount_columns=("billed_cost", "effective_cost", "list_cost", "contracted_cost"),
    is_rounded=True,
)

_Column = Annotated[str, AfterValidator(known_column(LINES))]

_DAY_PARTS = {"dmy": r"\3-\2-\1", "mdy": r"\3-\1-\2"}
_DAY = r"^\s*([0-9]{2})[./-]([0-9]{2})[./-]([0-9]{4})"
_SHORT_PART = r"(^|[./-])\s*([0-9])([./-])"


class InvoiceFilesOptions(MappedTableOptions):
    """Options of an invoice's table.

    Attributes:
        date_order: ymd for ISO 8601, else the order of day, month and year, separated by `.`, `/` or `-`.
        decimal_mark: The mark before an amount's decimals; the other one may separate thousands.
        period_ends: Whether the ends of periods are the first day after them or their last day.
        delivery: What arrives at once: a file, or all files of a folder.
        restates: What a delivery states anew of a billing account's billing period: each charge period that it has
            charges of, the whole billing period, or nothing.
    """

    entity: ClassVar[Entity] = LINES

    format: Literal["csv", "parquet", "jsonl"] = "csv"
    columns: dict[_Column, str | ConstantColumn] = Field(min_length=1)
    constants: dict[_Column, ConstantValue] = Field(default_factory=dict)
    date_order: Literal["ymd", "dmy", "mdy"] = "ymd"
    decimal_mark: Literal[".", ","] = "."
    period_ends: Literal["exclusive", "inclusive"] = "exclusive"
    delivery: Delivery = "file"
    restates: RestatedPeriod = "charge_period"

    @model_validator(mode="after")
    def _line_is_whole(self) -> "InvoiceFilesOptions":
        absent = [name for name in _NEEDED if name not in self.columns and name not in self.constants]
        if absent:
            msg = f"{', '.join(absent)}: map a column of the file to it, or give it in 'constants'"
            raise ValueError(msg)
        return self


def _iso_days(values: pa.Array, order: str) -> pa.Array:
    """Write days in the given order as ISO 8601; text that is none stays, to be rejected."""
    padded = values
    # Twice: a day and a month of one digit share the mark between them.
    for _ in range(2):
        padded = pc.replace_substring_regex(padded, _SHORT_PART, r"\10\2\3")
    return pc.replace_substring_regex(padded, _DAY, _DAY_PARTS[order])


def _plain_amounts(values: pa.Array, mark: str) -> pa.Array:
    """Write amounts without thousands marks and with a point, those in parentheses as negative."""
    thousands = "," if mark == "." else "."
    # No group begins with a zero: `0,123` has decimals after the wrong mark.
    is_grouped = pc.match_substring_regex(
        values, rf"^\s*[(+-]?[1-9][0-9]{{0,2}}(\{thousands}[0-9]{{3}})+(\{mark}[0-9]*)?\)?\s*$"
    )
    plain = pc.if_else(is_grouped, pc.replace_substring(values, thousands, ""), values)
    if mark == ",":
        # A point that separates no thousands is no part of an amount that is written with a comma.
        plain = pc.if_else(pc.match_substring(plain, "."), "?", pc.replace_substring(plain, ",", "."))
    return pc.replace_substring_regex(plain, r"^\s*\((.*)\)\s*$", r"-\1")


def _read(options: InvoiceFilesOptions, context: PullContext) -> Iterator[InputPull]:
    days = {source for name, source in options.columns.items() if name in _PERIODS and isinstance(source, str)}
    amounts = {source for name, source in options.columns.items() if name in _AMOUNTS and isinstance(source, str)}

    def prepared(raw: RawBatch) -> RawBatch:
        for name, values in raw.columns.items():
            if not pa.types.is_string(values.type):
                continue
            if name in days and options.date_order != "ymd":
                raw.columns[name] = _iso_days(values, options.date_order)
            elif name in amounts:
                raw.columns[name] = _plain_amounts(values, options.decimal_mark)
        return raw

    def read(path: Path, input_uri: str) -> Iterator[Batch]:
        constants = {
            "are_period_ends_inclusive": options.period_ends == "inclusive",
            **delivered(input_uri, options.delivery, options.restates),
        }
        mapping = options.mapping(constants, ("charge_period_start", *_NEEDED))
        yield from mapped_batches(path, input_uri, options, mapping, prepared)

    return deliveries(file_inputs(options, context, read), options.delivery)


connector = Connector(kind="invoice_files", feed="invoices", entities=(LINES,), options=InvoiceFilesOptions, read=_read)
