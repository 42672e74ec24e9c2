"""AWS Cost and Usage Report 2.0 from AWS Data Exports, CSV or Parquet, one row per line item.

Columns keep the names of the CUR 2.0 table dictionary; maps (`product`, `resource_tags`, `discount`) land as JSON
objects. An export may leave columns out, all but those that make a line; what has no column here is kept in
attributes_json. An export states its billing period anew each time, in the folder of its month or of its run.
"""

from collections.abc import Iterator

import pyarrow as pa

from dagster_project.sources._bills import (
    AMOUNT_TYPE,
    DELIVERY_COLUMNS,
    BillFormat,
    ExportOptions,
    bill_inputs,
)
from dagster_project.sources._connector import UTC_TIMESTAMP, Connector, Entity, InputPull, PullContext

_TEXTS = (
    "identity_line_item_id",
    "identity_time_interval",
    "bill_bill_type",
    "bill_billing_entity",
    "bill_invoice_id",
    "bill_invoicing_entity",
    "bill_payer_account_id",
    "line_item_availability_zone",
    "line_item_currency_code",
    "line_item_iam_principal",
    "line_item_legal_entity",
    "line_item_line_item_description",
    "line_item_line_item_type",
    "line_item_operation",
    "line_item_product_code",
    "line_item_resource_id",
    "line_item_tax_type",
    "line_item_usage_account_id",
    "line_item_usage_type",
    "pricing_term",
    "pricing_unit",
    "product",
    "product_product_family",
    "product_region_code",
    "product_servicecode",
    "product_sku",
    "reservation_reservation_a_r_n",
    "savings_plan_savings_plan_a_r_n",
    "cost_category",
    "discount",
    "resource_tags",
    "tags",
)
_INSTANTS = (
    "bill_billing_period_start_date",
    "bill_billing_period_end_date",
    "line_item_usage_start_date",
    "line_item_usage_end_date",
)
_AMOUNTS = (
    "line_item_usage_amount",
    "line_item_unblended_cost",
    "line_item_net_unblended_cost",
    "pricing_public_on_demand_cost",
    "reservation_effective_cost",
    "reservation_unused_amortized_upfront_fee_for_billing_period",
    "reservation_unused_recurring_fee",
    "savings_plan_savings_plan_effective_cost",
    "savings_plan_total_commitment_to_date",
    "savings_plan_used_commitment",
)
# The other columns of the CUR 2.0 table dictionary; what a delivery has beyond these is new.
_OTHERS = (
    "bill_payer_account_name",
    "capacity_reservation_capacity_reservation_arn",
    "capacity_reservation_capacity_reservation_status",
    "capacity_reservation_capacity_reservation_type",
    "discount_bundled_discount",
    "discount_total_discount",
    "line_item_blended_cost",
    "line_item_blended_rate",
    "line_item_net_unblended_rate",
    "line_item_normalization_factor",
    "line_item_normalized_usage_amount",
    "line_item_unblended_rate",
    "line_item_usage_account_name",
    "pricing_currency",
    "pricing_lease_contract_length",
    "pricing_offering_class",
    "pricing_public_on_demand_rate",
    "pricing_purchase_option",
    "pricing_rate_code",
    "pricing_rate_id",
    "product_comment",
    "product_fee_code",
    "product_fee_description",
    "product_from_location",
    "product_from_location_type",
    "product_from_region_code",
    "product_instance_family",
    "product_instance_type",
    "product_instancesku",
    "product_location",
    "product_location_type",
    "product_operation",
    "product_pricing_unit",
    "product_to_location",
    "product_to_location_type",
    "product_to_region_code",
    "product_usagetype",
    "reservation_amortized_upfront_cost_for_usage",
    "reservation_amortized_upfront_fee_for_billing_period",
    "reservation_availability_zone",
    "reservation_end_time",
    "reservation_modification_status",
    "reservation_net_amortized_upfront_cost_for_usage",
    "reservation_net_amortized_upfront_fee_for_billing_period",
    "reservation_net_effective_cost",
    "reservation_net_recurring_fee_for_usage",
    "reservation_net_unused_amortized_upfront_fee_for_billing_period",
    "reservation_net_unused_recurring_fee",
    "reservation_net_upfront_value",
    "reservation_normalized_units_per_reservation",
    "reservation_number_of_reservations",
    "reservation_recurring_fee_for_usage",
    "reservation_start_time",
    "reservation_subscription_id",
    "reservation_total_reserved_normalized_units",
    "reservation_total_reserved_units",
    "reservation_units_per_reservation",
    "reservation_unused_normalized_unit_quantity",
    "reservation_unused_quantity",
    "reservation_upfront_value",
    "savings_plan_amortized_upfront_commitment_for_billing_period",
    "savings_plan_end_time",
    "savings_plan_instance_type_family",
    "savings_plan_net_amortized_upfront_commitment_for_billing_period",
    "savings_plan_net_recurring_commitment_for_billing_period",
    "savings_plan_net_savings_plan_effective_cost",
    "savings_plan_offering_type",
    "savings_plan_payment_option",
    "savings_plan_purchase_term",
    "savings_plan_recurring_commitment_for_billing_period",
    "savings_plan_region",
    "savings_plan_savings_plan_rate",
    "savings_plan_start_time",
    "split_line_item_actual_usage",
    "split_line_item_net_split_cost",
    "split_line_item_net_unused_cost",
    "split_line_item_parent_resource_id",
    "split_line_item_public_on_demand_split_cost",
    "split_line_item_public_on_demand_unused_cost",
    "split_line_item_reserved_usage",
    "split_line_item_split_cost",
    "split_line_item_split_usage",
    "split_line_item_split_usage_ratio",
    "split_line_item_unused_cost",
)
_NEEDED = (
    "bill_billing_period_start_date",
    "bill_billing_period_end_date",
    "bill_payer_account_id",
    "line_item_currency_code",
    "line_item_line_item_type",
    "line_item_unblended_cost",
    "line_item_usage_start_date",
    "line_item_usage_end_date",
)

LINE_ITEMS = Entity(
    name="line_items",
    schema=pa.schema(
        [
            *((name, pa.string()) for name in _TEXTS),
            *((name, UTC_TIMESTAMP) for name in _INSTANTS),
            *((name, AMOUNT_TYPE) for name in _AMOUNTS),
            *DELIVERY_COLUMNS,
        ]
    ),
    day_column="line_item_usage_start_date",
    amount_columns=("line_item_unblended_cost", "line_item_net_unblended_cost", "pricing_public_on_demand_cost"),
    is_rounded=True,
    user_columns=("line_item_iam_principal",),
    known_attributes=frozenset(_OTHERS),
)


class AwsCurFilesOptions(ExportOptions):
    """Options of CUR 2.0 exports."""


_FORM = BillFormat(
    entity=LINE_ITEMS,
    title="a CUR 2.0 export",
    columns=lambda present: {name: name for name in (*_TEXTS, *_INSTANTS, *_AMOUNTS) if name in present},
    needed={name: name for name in _NEEDED},
    required=("line_item_usage_start_date",),
)


def _read(options: AwsCurFilesOptions, context: PullContext) -> Iterator[InputPull]:
    return bill_inputs(options, context, _FORM)


connector = Connector(
    kind="aws_cur_files", feed="invoices", entities=(LINE_ITEMS,), options=AwsCurFilesOptions, read=_read
)
