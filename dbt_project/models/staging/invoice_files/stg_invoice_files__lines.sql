with

source as (
    select * from {{ source('raw', 'raw_invoice_files__lines') }}
),

-- A last day that is meant to be in a period ends it a day later. A line that names no period is of its day, and of
-- that day's month.
dated as (
    select
        *,
        case when are_period_ends_inclusive then charge_period_end + interval '1' day else charge_period_end end
            as charge_end_at,
        case when are_period_ends_inclusive then billing_period_end + interval '1' day else billing_period_end end
            as billing_end_at
    from source
),

final as (
    select
        {{ bill_line({
            'invoice_id': 'invoice_id',
            'provider_name': 'provider_name',
            'invoice_issuer_name': 'coalesce(invoice_issuer_name, provider_name)',
            'billing_account_id': 'billing_account_id',
            'sub_account_id': 'sub_account_id',
            'billing_currency_code': 'upper(billing_currency)',
            'charge_type': "coalesce(charge_category, case when billed_cost < 0 then 'Credit' else 'Usage' end)",
            'charge_class_type': 'charge_class',
            'charge_description': 'charge_description',
            'charge_frequency_type': 'charge_frequency',
            'service_category_type': 'service_category',
            'service_name': 'service_name',
            'sku_id': 'sku_id',
            'sku_meter_name': 'sku_meter',
            'model_name': 'model_name',
            'service_tier': "case when service_tier is not null then " ~ service_tier_of('service_tier') ~ ' end',
            'unit_kind_type': 'lower(unit_kind)',
            'commitment_id': 'commitment_id',
            'resource_id': 'resource_id',
            'resource_name': 'resource_name',
            'region_id': 'region_id',
            'pricing_unit': 'pricing_unit',
            'consumed_unit': single_unit_of('consumed_unit'),
            'tags_json': 'tags',
            'billed_cost_in_billing_currency': 'billed_cost',
            'effective_cost_in_billing_currency': 'effective_cost',
            'list_cost_in_billing_currency': 'list_cost',
            'contracted_cost_in_billing_currency': 'contracted_cost',
            'pricing_quantity_units': 'pricing_quantity',
            'consumed_quantity_units': single_units_of('consumed_quantity', 'consumed_unit'),
            'billing_period_start_at': "coalesce(billing_period_start, date_trunc('month', charge_period_start))",
            'billing_period_end_at': "coalesce(billing_end_at, date_trunc('month', coalesce(billing_period_start,"
                ~ " charge_period_start)) + interval '1' month)",
            'charge_period_start_at': 'charge_period_start',
            'charge_period_end_at': "coalesce(charge_end_at, charge_period_start + interval '1' day)",
        }) }}
    from dated
)

select * from final
