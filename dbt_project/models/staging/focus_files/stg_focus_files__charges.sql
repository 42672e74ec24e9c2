with

source as (
    select * from {{ source('raw', 'raw_focus_files__charges') }}
),

final as (
    select
        source_name,
        concat(input_uri, ':', record_index) as invoice_line_id,
        invoice_id,
        coalesce(service_provider_name, provider_name) as provider_name,
        invoice_issuer_name,
        billing_account_id,
        sub_account_id,
        billing_currency as billing_currency_code,
        charge_category as charge_type,
        charge_class as charge_class_type,
        charge_description,
        charge_frequency as charge_frequency_type,
        service_category as service_category_type,
        service_name,
        sku_id,
        sku_meter as sku_meter_name,
        resource_id,
        resource_name,
        region_id,
        pricing_unit,
        consumed_unit,
        focus_version,
        delivery_id,
        restated_period as restated_period_type,
        input_uri,
        tags as tags_json,
        record_index,
        billed_cost as billed_cost_in_billing_currency,
        effective_cost as effective_cost_in_billing_currency,
        list_cost as list_cost_in_billing_currency,
        contracted_cost as contracted_cost_in_billing_currency,
        pricing_quantity as pricing_quantity_units,
        consumed_quantity as consumed_quantity_units,
        billing_period_start as billing_period_start_at,
        billing_period_end as billing_period_end_at,
        charge_period_start as charge_period_start_at,
        charge_period_end as charge_period_end_at,
        landed_at,
        event_date
    from source
)

select * from final
