"""Invoices as FOCUS cost and usage files, versions 1.0 to 1.4, CSV or Parquet, one row per charge.

Columns keep FOCUS's names in snake case and its meaning; amounts are exact decimals. `x_` columns and columns
that no version knows are kept in attributes_json, in CSV and Parquet alike. The literal NULL and empty text
are null. An amount in a Parquet double is taken as the shortest decimal that reads back as the same double.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pyarrow as pa

from dagster_project.errors import PermanentSourceError
from dagster_project.sources._columns import TimestampOptions
from dagster_project.sources._connector import (
    UTC_TIMESTAMP,
    Batch,
    Connector,
    Entity,
    InputPull,
    PullContext,
)
from dagster_project.sources._files import file_inputs
from dagster_project.sources._tabular import (
    ColumnMapping,
    TableOptions,
    attributes_json,
    column_names,
    read_raw,
    typed_batch,
)

FocusVersion = Literal["1.0", "1.1", "1.2", "1.3", "1.4"]

AMOUNT_TYPE = pa.decimal128(38, 18)

_AMOUNTS = {
    "BilledCost",
    "EffectiveCost",
    "ListCost",
    "ContractedCost",
    "ListUnitPrice",
    "ContractedUnitPrice",
    "ConsumedQuantity",
    "PricingQuantity",
    "CommitmentDiscountQuantity",
    "PricingCurrencyContractedUnitPrice",
    "PricingCurrencyEffectiveCost",
    "PricingCurrencyListUnitPrice",
}
_PERIODS = {"BillingPeriodStart", "BillingPeriodEnd", "ChargePeriodStart", "ChargePeriodEnd"}

# Columns by the version that brought them.
_COLUMNS: dict[FocusVersion, tuple[str, ...]] = {
    "1.0": (
        "AvailabilityZone",
        "BilledCost",
        "BillingAccountId",
        "BillingAccountName",
        "BillingCurrency",
        "BillingPeriodEnd",
        "BillingPeriodStart",
        "ChargeCategory",
        "ChargeClass",
        "ChargeDescription",
        "ChargeFrequency",
        "ChargePeriodEnd",
        "ChargePeriodStart",
        "CommitmentDiscountCategory",
        "CommitmentDiscountId",
        "CommitmentDiscountName",
        "CommitmentDiscountStatus",
        "CommitmentDiscountType",
        "ConsumedQuantity",
        "ConsumedUnit",
        "ContractedCost",
        "ContractedUnitPrice",
        "EffectiveCost",
        "InvoiceIssuerName",
        "ListCost",
        "ListUnitPrice",
        "PricingCategory",
        "PricingQuantity",
        "PricingUnit",
        "ProviderName",
        "PublisherName",
        "RegionId",
        "RegionName",
        "ResourceId",
        "ResourceName",
        "ResourceType",
        "ServiceCategory",
        "ServiceName",
        "SkuId",
        "SkuPriceId",
        "SubAccountId",
        "SubAccountName",
        "Tags",
    ),
    "1.1": (
        "CapacityReservationId",
        "CapacityReservationStatus",
        "CommitmentDiscountQuantity",
        "CommitmentDiscountUnit",
        "ServiceSubcategory",
        "SkuMeter",
        "SkuPriceDetails",
    ),
    "1.2": (
        "BillingAccountType",
        "InvoiceId",
        "PricingCurrency",
        "PricingCurrencyContractedUnitPrice",
        "PricingCurrencyEffectiveCost",
        "PricingCurrencyListUnitPrice",
        "SubAccountType",
    ),
    "1.3": (
        "AllocatedMethodDetails",
        "AllocatedMethodId",
        "AllocatedResourceId",
        "AllocatedResourceName",
        "AllocatedTags",
        "ContractApplied",
        "HostProviderName",
        "ServiceProviderName",
    ),
    "1.4": ("CommitmentProgramEligibilityDetails", "InvoiceDetailId"),
}
_REQUIRED = ("BilledCost", "ChargePeriodStart", "ChargePeriodEnd", "BillingCurrency")
_NULL_WORDS = ("", "NULL")


def snake_case(name: str) -> str:
    """Write a FOCUS column name in snake case."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def _column_type(name: str) -> pa.DataType:
    if name in _AMOUNTS:
        return AMOUNT_TYPE
    return UTC_TIMESTAMP if name in _PERIODS else pa.string()


_NAMES = {snake_case(name): name for names in _COLUMNS.values() for name in names}

CHARGES = Entity(
    name="charges",
    schema=pa.schema(
        [
            *((column, _column_type(name)) for column, name in sorted(_NAMES.items())),
            ("focus_version", pa.string()),
            ("delivery_id", pa.string()),
            ("restated_period", pa.string()),
            ("attributes_json", pa.string()),
        ]
    ),
    day_column="charge_period_start",
    amount_columns=("billed_cost", "effective_cost", "list_cost", "contracted_cost"),
)


class FocusFilesOptions(TableOptions):
    """Options of FOCUS files.

    Attributes:
        format: csv or parquet; by the file's name when it is not given.
        focus_version: The version that the files follow; inferred from their columns when it is not given.
        delivery: What arrives at once: a file, or all files of a folder, for exports that are written in parts.
        restates: What a delivery states anew of a billing account's billing period, so that former deliveries of it
            are superseded: each charge period that it has charges of (daily files, invoices issued again), the
            whole billing period (month-to-date exports), or nothing (files that only ever add charges).
    """

    format: Literal["csv", "parquet"] = "csv"
    focus_version: FocusVersion | None = None
    delivery: Literal["file", "folder"] = "file"
    restates: Literal["charge_period", "billing_period", "nothing"] = "charge_period"


def infer_version(columns: list[str]) -> FocusVersion:
    """Give the newest version that brought any of the columns."""
    found: FocusVersion = "1.0"
    for version, names in _COLUMNS.items():
        if set(names) & set(columns):
            found = version
    return found


def _folder(input_uri: str) -> str:
    return input_uri.rpartition("/")[0] or "."


def _options_for(path: Path, options: FocusFilesOptions) -> FocusFilesOptions:
    if "format" in options.model_fields_set or path.suffix.lower() != ".parquet":
        return options
    return options.model_copy(update={"format": "parquet"})


def _read(options: FocusFilesOptions, context: PullContext) -> Iterator[InputPull]:
    null_words = tuple(dict.fromkeys([*_NULL_WORDS, *options.null_words]))

    def read(path: Path, input_uri: str) -> Iterator[Batch]:
        chosen = _options_for(path, options)
        present = column_names(path, input_uri, chosen)
        absent = [name for name in _REQUIRED if name not in present]
        if absent:
            msg = (
                f"Read {input_uri}: column {', '.join(absent)} is absent, expected a FOCUS cost and usage "
                "file with "
                f"{', '.join(_REQUIRED)}. Deliver such a file or configure it as another kind."
            )
            raise PermanentSourceError(msg)
        columns = {column: name for column, name in _NAMES.items() if name in present}
        others = [name for name in dict.fromkeys(present) if name not in columns.values()]
        mapping = ColumnMapping(
            columns={**columns, "attributes_json": _OTHERS},
            constants={
                "focus_version": options.focus_version or infer_version(present),
                "delivery_id": input_uri if options.delivery == "file" else _folder(input_uri),
                "restated_period": options.restates,
            },
            required=("charge_period_start",),
            null_words=null_words,
        )
        for raw in read_raw(path, input_uri, chosen, [*columns.values(), *others]):
            raw.columns[_OTHERS] = attributes_json(raw, others, null_words)
            yield typed_batch(raw, CHARGES, mapping, TimestampOptions(), input_uri)

    return file_inputs(options, context, read)


# No column of a file can have this name: it is not text that a header could hold.
_OTHERS = "\x00others"

connector = Connector(kind="focus_files", feed="invoices", entities=(CHARGES,), options=FocusFilesOptions, read=_read)
