{%- set currency_columns = ['billed_cost', 'effective_cost', 'list_cost', 'contracted_cost'] -%}
with

lines as (
    select *
    from {{ ref('int_billing__lines_classified') }}
    where reject_reason is null
),

exchange_rates as (
    {{ exchange_rate_intervals() }}
),

exchanged as (
    select
        lines.*,
        case
            when lines.billing_currency_code = 'USD' then cast(1 as decimal(18, 12))
            else exchange_rates.usd_per_currency_unit
        end as usd_per_currency_unit,
        max(case when lines.document_type = 'invoice' then 1 else 0 end) over (
            partition by lines.canonical_provider_name, lines.billing_account_id, lines.billing_period_start_at
        ) as invoice_weight
    from lines
    left join exchange_rates
        on
            lines.billing_currency_code = exchange_rates.pricing_currency
            and lines.charge_period_start_at >= exchange_rates.valid_from_at
            and lines.charge_period_start_at < exchange_rates.valid_to_at
),

final as (
    select
        source_name,
        invoice_line_id,
        document_type,
        invoice_id,
        canonical_provider_name as provider_name,
        invoice_issuer_name,
        billing_account_id,
        sub_account_id,
        billing_currency_code,
        charge_type,
        charge_class_type,
        charge_description,
        charge_frequency_type,
        component_name,
        driver_type,
        bom_layer_type,
        service_category_type,
        service_name,
        sku_id,
        sku_meter_name,
        model_name,
        model_id,
        service_tier,
        unit_kind_type,
        commitment_id,
        resource_id,
        resource_name,
        region_id,
        pricing_unit as pricing_unit_name,
        consumed_unit as consumed_unit_name,
        tagged_use_case_id,
        tagged_team_name,
        delivery_id,
        tags_json,
        cast(version_index as bigint) as version_index,
        {%- for column in currency_columns %}
        cast({{ column }}_in_billing_currency as decimal(38, 18)) as {{ column }}_in_billing_currency,
        {%- endfor %}
        usd_per_currency_unit,
        {%- for column in currency_columns %}
        {{ converted(column ~ '_in_billing_currency', 'usd_per_currency_unit') }} as {{ column }}_usd,
        {%- endfor %}
        case when usd_per_currency_unit is null then 'no_exchange_rate' end as unconverted_reason_type,
        cast(pricing_quantity_units as decimal(38, 18)) as pricing_quantity_units,
        cast(consumed_quantity_units as decimal(38, 18)) as consumed_quantity_units,
        document_type = 'invoice' or invoice_weight = 0 as is_bill,
        cast(billing_period_start_at as date) as billing_period_start_date,
        billing_period_start_at,
        billing_period_end_at,
        charge_period_start_at,
        charge_period_end_at
    from exchanged
)

select * from final
