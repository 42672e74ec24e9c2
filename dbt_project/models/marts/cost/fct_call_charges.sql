{{ config(materialized='view') }}

with

calls as (
    select * from {{ ref('fct_calls') }}
),

rate_cards as (
    select * from {{ ref('dim_rate_cards') }}
),

final as (
    {%- for kind in unit_kinds() %}
    select
        calls.source_name,
        calls.call_id,
        '{{ kind }}' as unit_kind_type,
        calls.rate_card_key,
        rate_cards.contract_id,
        calls.pricing_status_type,
        calls.{{ quantity_column(kind) }} as quantity_units,
        rate_cards.list_{{ kind }}_usd_per_unit as list_usd_per_unit,
        rate_cards.contracted_{{ kind }}_usd_per_unit as contracted_usd_per_unit,
        cast(calls.{{ quantity_column(kind) }} * rate_cards.list_{{ kind }}_usd_per_unit as decimal(38, 15))
            as list_cost_usd,
        case
            when calls.pricing_status_type = 'provisioned' then cast(0 as decimal(38, 15))
            else cast(calls.{{ quantity_column(kind) }} * rate_cards.contracted_{{ kind }}_usd_per_unit as decimal(38, 15))
        end as contracted_cost_usd,
        rate_cards.is_{{ kind }}_price_fallback as is_price_fallback,
        calls.list_cost_usd is not null as is_call_priced,
        calls.event_date
    from calls
    left join rate_cards on calls.rate_card_key = rate_cards.rate_card_key
    where
        calls.{{ quantity_column(kind) }} > 0
        {%- if kind == 'request' %}
        and rate_cards.list_request_usd_per_unit is not null
        {%- endif %}
    {{ 'union all' if not loop.last }}
    {%- endfor %}
)

select * from final
