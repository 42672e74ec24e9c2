with

source as (
    select * from {{ source('raw', 'raw_azure_cost_files__charges') }}
),

-- A meter of tokens counts them by the thousand or the million: `gpt 4.1 cached Inp glbl Tokens`, 1K.
worded as (
    select
        *,
        case
            when lower(meter_name) like '%token%' and lower(unit_of_measure) not like '%token%'
                then concat(unit_of_measure, ' Tokens')
            else unit_of_measure
        end as metered_unit,
        lower(meter_name) like '%token%' as is_token_meter,
        charge_type in ('Usage', 'Purchase') as is_plain_charge,
        coalesce(pricing_model in ('Reservation', 'SavingsPlan') and charge_type = 'Usage', false) as is_covered
    from source
),

final as (
    select
        {{ bill_line({
            'invoice_id': 'invoice_id',
            'provider_name': "'azure'",
            'invoice_issuer_name': "'Microsoft'",
            'billing_account_id': 'coalesce(billing_profile_id, billing_account_id)',
            'sub_account_id': 'subscription_id',
            'billing_currency_code': 'billing_currency',
            'charge_type': "case when is_plain_charge then charge_type else 'Adjustment' end",
            'charge_description': "case when is_plain_charge then product_name"
                ~ " else concat_ws(' ', concat(charge_type, ':'), product_name) end",
            'charge_frequency_type': "case frequency when 'UsageBased' then 'Usage-Based'"
                ~ " when 'OneTime' then 'One-Time' else frequency end",
            'service_category_type': "case when service_family = 'AI + Machine Learning' or"
                ~ " lower(concat_ws(' ', meter_category, meter_subcategory)) like '%openai%'"
                ~ " then 'AI and Machine Learning' end",
            'service_name': 'coalesce(meter_category, consumed_service)',
            'sku_id': 'meter_id',
            'sku_meter_name': 'meter_name',
            'model_name': "case when is_token_meter then regexp_replace(lower(meter_name),"
                ~ " '[ -]+(batch|cached|cchd|inp|input|opt|outp|output|prty|pp)([ -].*)?$', '') end",
            'service_tier': "case when is_token_meter then coalesce("
                ~ service_tier_in('lower(meter_name)') ~ ", 'standard') end",
            'commitment_id': 'coalesce(benefit_id, reservation_id)',
            'resource_id': 'resource_id',
            'resource_name': 'resource_name',
            'region_id': 'resource_location',
            'pricing_unit': 'metered_unit',
            'consumed_unit': single_unit_of('metered_unit'),
            'tags_json': 'tags',
            'billed_cost_in_billing_currency': 'cost_in_billing_currency',
            'effective_cost_in_billing_currency': 'case when not is_covered then cost_in_billing_currency end',
            'list_cost_in_billing_currency': 'payg_cost_in_billing_currency',
            'contracted_cost_in_billing_currency': 'case when not is_covered then cost_in_billing_currency end',
            'pricing_quantity_units': 'quantity',
            'consumed_quantity_units': single_units_of('quantity', 'metered_unit'),
            'billing_period_start_at': 'billing_period_start_at',
            'billing_period_end_at': "billing_period_end_at + interval '1' day",
            'charge_period_start_at': 'usage_at',
            'charge_period_end_at': "usage_at + interval '1' day",
        }) }}
    from worded
)

select * from final
