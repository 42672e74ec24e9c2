{%- set details = ['details_json', 'others_json'] -%}
with

source as (
    select * from {{ source('raw', 'raw_focus_files__charges') }}
),

-- What FOCUS has no column for: the properties of the SKU's price, and the columns of the issuer's own.
detailed as (
    select
        *,
        {{ json_or_null('sku_price_details') }} as details_json,
        {{ json_or_null('attributes_json') }} as others_json
    from source
),

-- Model and token as the working draft of the specification names them, with and without the mark of an own property.
described as (
    select
        *,
        {{ json_text_of_keys(details, ['x_ModelId', 'ModelId', 'x_ModelName', 'x_Model', 'x_model']) }} as model_name,
        lower({{ json_text_of_keys(details, ['x_ServiceTier', 'ServiceTier', 'x_service_tier']) }}) as reported_tier,
        lower({{ json_text_of_keys(details, ['x_UnitKind', 'x_unit_kind']) }}) as unit_kind,
        lower({{ json_text_of_keys(details, ['x_TokenType', 'TokenType']) }}) as token_type,
        lower({{ json_text_of_keys(details, ['x_TokenDirection', 'TokenDirection']) }}) as token_direction,
        lower({{ json_text_of_keys(details, ['x_TokenCacheAction', 'TokenCacheAction']) }}) as token_cache_action
    from detailed
),

final as (
    select
        source_name,
        concat(input_uri, ':', record_index) as invoice_line_id,
        'invoice' as document_type,
        invoice_id,
        coalesce(service_provider_name, provider_name, invoice_issuer_name) as provider_name,
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
        model_name,
        case when reported_tier is not null then {{ service_tier_of('reported_tier') }} end as service_tier,
        case
            when unit_kind is not null then unit_kind
            when token_cache_action = 'cacheread' or token_type = 'cacheread' then 'cache_read'
            when token_cache_action = 'cachewrite' or token_type = 'cachewrite' then 'cache_write_5m'
            when token_direction = 'input' or token_type = 'input' then 'input'
            when token_direction = 'output' or token_type = 'output' then 'output'
        end as unit_kind_type,
        coalesce(commitment_discount_id, capacity_reservation_id) as commitment_id,
        resource_id,
        resource_name,
        region_id,
        pricing_unit,
        {{ single_unit_of('consumed_unit') }} as consumed_unit,
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
        {{ single_units_of('consumed_quantity', 'consumed_unit') }} as consumed_quantity_units,
        billing_period_start as billing_period_start_at,
        billing_period_end as billing_period_end_at,
        charge_period_start as charge_period_start_at,
        charge_period_end as charge_period_end_at,
        modified_at,
        landed_at,
        event_date
    from described
)

select * from final
