"""Invoices as FOCUS cost and usage files, versions 1.0 to 1.4, CSV or Parquet, one row per charge.

Columns keep FOCUS's names in snake case and its meaning; amounts are exact decimals. `x_` columns and columns
that no version knows are kept in attributes_json, in CSV and Parquet alike. The literal NULL and empty text
are null. An amount in a Parquet double is taken as the shortest decimal that reads back as the same double.
"""

import re
from collections.abc import Iterator
from typing import Literal

import pyarrow as pa

from dagster_project.sources._bills import (
    AMOUNT_TYPE,
    DELIVERY_COLUMNS,
    BillFormat,
    BillOptions,
    bill_inputs,
)
from dagster_project.sources._connector import UTC_TIMESTAMP, Connector, Entity, InputPull, PullContext

FocusVersion = Literal["1.0", "1.1", "1.2", "1.3", "1.4"]

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
_NEEDED = {
    "BilledCost": "billed_cost",
    "ChargePeriodStart": "charge_period_start",
    "ChargePeriodEnd": "charge_period_end",
    "BillingCurrency": "billing_currency",
}
# What clouds' exports of 1.0 call columns that later versions brought, and columns that they have before their time.
_FORERUNNERS = {
    "InvoiceId": ("x_InvoiceId",),
    "PricingCurrency": ("x_PricingCurrency",),
    "SkuMeter": ("x_SkuMeterName", "x_UsageType"),
}
_EARLY = {"BillingAccountType", "SubAccountType"}


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
            *DELIVERY_COLUMNS,
        ]
    ),
    day_column="charge_period_start",
    amount_columns=("billed_cost", "effective_cost", "list_cost", "contracted_cost"),
    is_rounded=True,
)


class FocusFilesOptions(BillOptions):
    """Options of FOCUS files.

    Attributes:
        focus_version: The version that the files follow; inferred from their columns when it is not given.
    """

    focus_version: FocusVersion | None = None


def infer_version(columns: list[str]) -> FocusVersion:
    """Give the newest version that brought any of the columns, those aside that clouds wrote before."""
    found: FocusVersion = "1.0"
    for version, names in _COLUMNS.items():
        if (set(names) - _EARLY) & set(columns):
            found = version
    return found


def _columns_of(present: list[str]) -> dict[str, str]:
    found = {}
    for column, name in _NAMES.items():
        given = next((item for item in (name, *_FORERUNNERS.get(name, ())) if item in present), None)
        if given is not None:
            found[column] = given
    return found


def _read(options: FocusFilesOptions, context: PullContext) -> Iterator[InputPull]:
    form = BillFormat(
        entity=CHARGES,
        title="a FOCUS cost and usage file",
        columns=_columns_of,
        needed=_NEEDED,
        required=("charge_period_start",),
        constants=lambda present: {"focus_version": options.focus_version or infer_version(present)},
    )
    return bill_inputs(options, context, form)


connector = Connector(kind="focus_files", feed="invoices", entities=(CHARGES,), options=FocusFilesOptions, read=_read)
