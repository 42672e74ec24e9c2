"""Azure's own cost and usage details, actual cost, of Enterprise and Microsoft Customer Agreements, CSV or Parquet.

The agreements and the versions of the schema write the same columns in different cases and under some other names;
here they have one name each. Days are written month first and tags of older files without braces. What has no column
here is kept in attributes_json. An export states the month to date anew, in a folder per run.
"""

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc

from dagster_project.sources._bills import (
    AMOUNT_TYPE,
    DELIVERY_COLUMNS,
    BillFormat,
    ExportOptions,
    bill_inputs,
    named_alike,
)
from dagster_project.sources._connector import UTC_TIMESTAMP, Connector, Entity, InputPull, PullContext

# What the dataset schemas of Enterprise and Microsoft Customer Agreements, 2019-10-01 to 2024-08-01, call a column.
_TEXTS = {
    "invoice_id": ("InvoiceId",),
    "previous_invoice_id": ("PreviousInvoiceId",),
    "billing_account_id": ("BillingAccountId",),
    "billing_account_name": ("BillingAccountName",),
    "billing_profile_id": ("BillingProfileId",),
    "billing_currency": ("BillingCurrencyCode", "BillingCurrency"),
    "account_owner_id": ("AccountOwnerId",),
    "invoice_section_name": ("InvoiceSectionName", "InvoiceSection"),
    "cost_center": ("CostCenter",),
    "subscription_id": ("SubscriptionId", "SubscriptionGuid"),
    "subscription_name": ("SubscriptionName",),
    "resource_group_name": ("ResourceGroup", "ResourceGroupName"),
    "resource_id": ("ResourceId", "InstanceId"),
    "resource_name": ("ResourceName",),
    "resource_location": ("ResourceLocation",),
    "product_name": ("ProductName", "Product"),
    "meter_id": ("MeterId",),
    "meter_name": ("MeterName",),
    "meter_category": ("MeterCategory",),
    "meter_subcategory": ("MeterSubCategory",),
    "meter_region": ("MeterRegion",),
    "unit_of_measure": ("UnitOfMeasure",),
    "consumed_service": ("ConsumedService",),
    "service_family": ("ServiceFamily",),
    "part_number": ("PartNumber",),
    "publisher_type": ("PublisherType",),
    "publisher_name": ("PublisherName",),
    "charge_type": ("ChargeType",),
    "frequency": ("Frequency",),
    "pricing_model": ("PricingModel",),
    "reservation_id": ("ReservationId",),
    "reservation_name": ("ReservationName",),
    "benefit_id": ("BenefitId",),
    "benefit_name": ("BenefitName",),
    "additional_info": ("AdditionalInfo",),
    "tags": ("Tags",),
}
_DAYS = {
    "usage_at": ("Date", "UsageDateTime"),
    "billing_period_start_at": ("BillingPeriodStartDate",),
    "billing_period_end_at": ("BillingPeriodEndDate",),
}
_AMOUNTS = {
    "cost_in_billing_currency": ("CostInBillingCurrency", "Cost"),
    "payg_cost_in_billing_currency": ("PaygCostInBillingCurrency",),
    "quantity": ("Quantity", "UsageQuantity"),
    "unit_price": ("UnitPrice",),
    "effective_price": ("EffectivePrice",),
    "payg_price": ("PayGPrice",),
}
_NAMES = _TEXTS | _DAYS | _AMOUNTS
# The other columns of these schemas, in the spellings of both agreements; what a delivery has beyond these is new.
_OTHERS = (
    "AccountId", "AccountName", "AvailabilityZone", "BillingProfileName", "CostAllocationRuleName", "InvoiceSectionId",
    "IsAzureCreditEligible", "OfferId", "PlanName", "ProductId", "ProductOrderId", "ProductOrderName",
    "ResourceLocationNormalized", "ServiceInfo1", "ServiceInfo2", "Term", "billingProfileName",
    "costAllocationRuleName", "costInPricingCurrency", "costInUsd", "exchangeRateDate", "exchangeRatePricingToBilling",
    "invoiceSectionId", "isAzureCreditEligible", "location", "paygCostInUsd", "pricingCurrency", "productOrderId",
    "productOrderName", "provider", "publisherId", "resellerMpnId", "resellerName", "serviceInfo1", "serviceInfo2",
    "servicePeriodEndDate", "servicePeriodStartDate", "term",
)  # fmt: skip

CHARGES = Entity(
    name="charges",
    schema=pa.schema(
        [
            *((name, pa.string()) for name in _TEXTS),
            *((name, UTC_TIMESTAMP) for name in _DAYS),
            *((name, AMOUNT_TYPE) for name in _AMOUNTS),
            *DELIVERY_COLUMNS,
        ]
    ),
    day_column="usage_at",
    amount_columns=("cost_in_billing_currency", "payg_cost_in_billing_currency"),
    is_rounded=True,
    user_columns=("account_owner_id",),
    known_attributes=frozenset(_OTHERS),
)


class AzureCostFilesOptions(ExportOptions):
    """Options of Azure's actual cost exports."""


def _iso_days(values: pa.Array) -> pa.Array:
    """Write days that have the month first as ISO 8601; others stay as they are."""
    return pc.replace_substring_regex(values, r"^\s*([0-9]{2})/([0-9]{2})/([0-9]{4})", r"\3-\1-\2")


def _json_objects(values: pa.Array) -> pa.Array:
    """Put braces around members without them."""
    return pc.replace_substring_regex(values, r'(?s)^\s*(".*")\s*$', r"{\1}")


_FORM = BillFormat(
    entity=CHARGES,
    title="an export of Azure's cost and usage details",
    columns=lambda present: named_alike(_NAMES, present),
    needed={
        _NAMES[column][0]: column
        for column in (
            "usage_at", "cost_in_billing_currency", "billing_currency", "billing_account_id", "charge_type",
            "billing_period_start_at", "billing_period_end_at",
        )
    },
    required=("usage_at",),
    prepared={**dict.fromkeys(_DAYS, _iso_days), "tags": _json_objects},
)  # fmt: skip


def _read(options: AzureCostFilesOptions, context: PullContext) -> Iterator[InputPull]:
    return bill_inputs(options, context, _FORM)


connector = Connector(
    kind="azure_cost_files", feed="invoices", entities=(CHARGES,), options=AzureCostFilesOptions, read=_read
)
