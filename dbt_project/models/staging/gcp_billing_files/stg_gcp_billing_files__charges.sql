with

source as (
    select * from {{ source('raw', 'raw_gcp_billing_files__charges') }}
),

-- SKUs of models name what they meter, `Gemini 2.5 Flash Text Input - Predictions`, and count it one by one; what is
-- kept in a cache is metered by the hour.
worded as (
    select
        *,
        coalesce(
            record_type = 'charge'
            and lower(sku_description) not like '%storage%'
            and (
                lower(usage_unit) like '%token%'
                or lower(sku_description) like '%token%'
                or (
                    coalesce(lower(usage_unit), 'count') = 'count'
                    and {{ regexp_found("lower(sku_description)", "'^(gemini|claude) .*(input|output|caching)'") }}
                )
            ),
            false
        ) as is_token_sku,
        cast(
            concat(substr(invoice_month, 1, 4), '-', substr(invoice_month, 5, 2), '-01') as timestamp with time zone
        ) as invoice_month_at
    from source
),

final as (
    select
        {{ bill_line({
            'provider_name': "'google'",
            'invoice_issuer_name': "'Google Cloud'",
            'billing_account_id': 'billing_account_id',
            'sub_account_id': 'project_id',
            'billing_currency_code': 'currency',
            'charge_type': "case when record_type = 'credit' then 'Credit' when cost_type = 'tax' then 'Tax'"
                ~ " when cost_type = 'regular' then 'Usage' else 'Adjustment' end",
            'charge_description': "case when record_type = 'credit'"
                ~ " then concat_ws(', ', coalesce(credit_full_name, credit_name, credit_id), credit_type)"
                ~ " else concat_ws(', ', sku_description, adjustment_description) end",
            'charge_frequency_type': "'Usage-Based'",
            'service_category_type':
                "case when is_token_sku or service_description in ('Vertex AI', 'Gemini API')"
                ~ " then 'AI and Machine Learning' end",
            'service_name': 'service_description',
            'sku_id': 'sku_id',
            'sku_meter_name': "case when record_type = 'charge' then sku_description end",
            'model_name': "case when is_token_sku then regexp_replace(lower(sku_description),"
                ~ " '[ -]+(ga |thinking |batch |cached )*(text|image|audio|video|input|output|token|tokens)[ -].*$', '') end",
            'service_tier': "case when is_token_sku then coalesce("
                ~ service_tier_in('lower(sku_description)') ~ ", 'standard') end",
            'commitment_id': 'subscription_instance_id',
            'resource_id': 'resource_global_name',
            'resource_name': 'resource_name',
            'region_id': 'coalesce(location_region, location_location)',
            'pricing_unit': 'usage_pricing_unit',
            'consumed_unit': "case when is_token_sku then 'Tokens' else usage_unit end",
            'tags_json': 'labels',
            'billed_cost_in_billing_currency': 'cost',
            'effective_cost_in_billing_currency': 'cost',
            'list_cost_in_billing_currency': 'cost_at_list',
            'contracted_cost_in_billing_currency': 'cost',
            'pricing_quantity_units': 'usage_amount_in_pricing_units',
            'consumed_quantity_units': single_units_of('usage_amount', 'usage_unit'),
            'billing_period_start_at': 'invoice_month_at',
            'billing_period_end_at': "invoice_month_at + interval '1' month",
            'charge_period_start_at': 'usage_start_time',
            'charge_period_end_at': 'usage_end_time',
        }) }}
    from worded
)

select * from final
