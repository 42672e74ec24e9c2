with

lines as (
    select * from {{ ref('int_billing__lines_classified') }}
),

final as (
    select
        source_name,
        invoice_line_id,
        invoice_id,
        canonical_provider_name as provider_name,
        invoice_issuer_name,
        billing_account_id,
        sub_account_id,
        billing_currency_code,
        charge_type,
        charge_class_type,
        charge_description,
        driver_type,
        service_category_type,
        service_name,
        sku_id,
        sku_meter_name,
        resource_id,
        region_id,
        consumed_unit as consumed_unit_name,
        delivery_id,
        tags_json,
        cast(version_index as bigint) as version_index,
        case
            when billing_currency_code = 'USD' then cast(billed_cost_in_billing_currency as decimal(38, 18))
        end as billed_cost_usd,
        case
            when billing_currency_code = 'USD' then cast(effective_cost_in_billing_currency as decimal(38, 18))
        end as effective_cost_usd,
        case
            when coalesce(billing_currency_code, 'unknown') <> 'USD' then 'no_exchange_rate'
        end as unconverted_reason_type,
        cast(consumed_quantity_units as decimal(38, 18)) as consumed_quantity_units,
        cast(billing_period_start_at as date) as billing_period_start_date,
        billing_period_start_at,
        billing_period_end_at,
        charge_period_start_at,
        charge_period_end_at
    from lines
    where reject_reason is null
)

select * from final
