with

source as (
    select
        *,
        {{ json_or_null('product') }} as product_json
    from {{ source('raw', 'raw_aws_cur_files__line_items') }}
),

-- A usage type is a region, a model's billing name, and what was metered: `USE1-NovaPro-input-tokens-batch`. What
-- vendors sell over the Marketplace is metered in units of which the description alone says the size.
worded as (
    select
        *,
        {{ json_text_at('product_json', 'product_name') }} as product_name,
        {{ json_text_at('product_json', 'model') }} as product_model_name,
        lower(line_item_usage_type) like '%token%' as is_token_line,
        lower(line_item_usage_type) like '%:%token%' as is_marketplace_line,
        case
            when lower(pricing_unit) like '%token%' then pricing_unit
            when
                lower(line_item_usage_type) like '%token%'
                and lower(line_item_line_item_description) like '%million%token%' then '1M tokens'
            when
                lower(line_item_usage_type) like '%token%'
                and lower(line_item_line_item_description) like '%thousand%token%' then '1K tokens'
            else pricing_unit
        end as metered_unit,
        case
            when
                line_item_line_item_type in (
                    'Usage', 'DiscountedUsage', 'SavingsPlanCoveredUsage', 'SavingsPlanNegation'
                )
                then 'Usage'
            when
                line_item_line_item_type in (
                    'Fee', 'RIFee', 'SavingsPlanRecurringFee', 'SavingsPlanUpfrontFee'
                )
                then 'Purchase'
            when line_item_line_item_type in ('Tax', 'Credit') then line_item_line_item_type
            else 'Adjustment'
        end as line_type
    from source
),

-- What covers a commitment has its amortised cost in columns of its own; the commitment's fee keeps what stood idle. A
-- negation takes back the on-demand cost of covered usage, of the same usage type, and is no cost by itself.
costed as (
    select
        *,
        case line_item_line_item_type
            when 'DiscountedUsage' then reservation_effective_cost
            when 'RIFee'
                then
                    reservation_unused_amortized_upfront_fee_for_billing_period + reservation_unused_recurring_fee
            when 'SavingsPlanCoveredUsage' then savings_plan_savings_plan_effective_cost
            when 'SavingsPlanRecurringFee'
                then savings_plan_total_commitment_to_date - savings_plan_used_commitment
            when 'SavingsPlanNegation' then 0
            when 'SavingsPlanUpfrontFee' then 0
            when 'Fee'
                then case when reservation_reservation_a_r_n is null then line_item_unblended_cost else 0 end
            else line_item_unblended_cost
        end as amortized_cost
    from worded
),

final as (
    select
        {{ bill_line({
            'invoice_id': 'bill_invoice_id',
            'provider_name': "'aws'",
            'invoice_issuer_name': 'bill_invoicing_entity',
            'billing_account_id': 'bill_payer_account_id',
            'sub_account_id': 'line_item_usage_account_id',
            'billing_currency_code': 'line_item_currency_code',
            'charge_type': 'line_type',
            'charge_description':
                "case when line_item_line_item_type = 'Refund' then concat_ws(' ', 'Refund:', line_item_line_item_description)"
                ~ ' else line_item_line_item_description end',
            'charge_frequency_type':
                "case when line_item_line_item_type in ('RIFee', 'SavingsPlanRecurringFee') then 'Recurring'"
                ~ " when line_type in ('Purchase', 'Tax') then 'One-Time' else 'Usage-Based' end",
            'service_category_type': "case when is_token_line or lower(product_name) like '%bedrock%'"
                ~ " or line_item_product_code = 'AmazonBedrock' then 'AI and Machine Learning' end",
            'service_name': 'coalesce(product_name, line_item_product_code)',
            'sku_id': 'product_sku',
            'sku_meter_name': 'line_item_usage_type',
            'model_name': "case when is_marketplace_line then regexp_replace(product_name, ' [(].*$', '')"
                ~ " when is_token_line then coalesce(product_model_name, regexp_replace(regexp_replace("
                ~ "line_item_usage_type, '^[A-Z]{2,4}[0-9]?-', ''),"
                ~ " '-(mantle-|text-)*(input|output|cache-read|cache-write|cacheread|cachewrite)-.*$', '')) end",
            'service_tier': "case when is_token_line and lower(line_item_usage_type) not like '%latency%'"
                ~ " then coalesce(" ~ service_tier_in('lower(line_item_usage_type)') ~ ", 'standard') end",
            'commitment_id': 'coalesce(savings_plan_savings_plan_a_r_n, reservation_reservation_a_r_n)',
            'resource_id': 'line_item_resource_id',
            'region_id': 'product_region_code',
            'pricing_unit': 'metered_unit',
            'consumed_unit': single_unit_of('metered_unit'),
            'tags_json': 'coalesce(resource_tags, tags)',
            'billed_cost_in_billing_currency': 'line_item_unblended_cost',
            'effective_cost_in_billing_currency': 'cast(amortized_cost as decimal(38, 18))',
            'list_cost_in_billing_currency': 'pricing_public_on_demand_cost',
            'contracted_cost_in_billing_currency': "cast(case line_item_line_item_type when 'DiscountedUsage' then null"
                ~ " when 'SavingsPlanNegation' then 0 else line_item_unblended_cost end as decimal(38, 18))",
            'pricing_quantity_units': 'line_item_usage_amount',
            'consumed_quantity_units': single_units_of('line_item_usage_amount', 'metered_unit'),
            'billing_period_start_at': 'bill_billing_period_start_date',
            'billing_period_end_at': 'bill_billing_period_end_date',
            'charge_period_start_at': 'line_item_usage_start_date',
            'charge_period_end_at': 'line_item_usage_end_date',
        }) }}
    from costed
)

select * from final
