{{ config(materialized='view') }}

with

calls as (
    select * from {{ ref('fct_calls') }}
),

rate_cards as (
    select * from {{ ref('dim_rate_cards') }}
),

unit_kinds as (
    select * from {{ ref('seed_unit_kinds') }}
),

used as (
    {% for kind in unit_kinds() %}
    {%- set quantity = quantity_column(kind) -%}
    select
        calls.source_name,
        calls.call_id,
        '{{ kind }}' as unit_kind_type,
        calls.rate_card_key,
        rate_cards.{{ kind }}_contract_id as contract_id,
        calls.pricing_status_type,
        cast(calls.{{ quantity }} as decimal(18, 3)) as quantity_units,
        rate_cards.list_{{ kind }}_usd_per_unit as list_usd_per_unit,
        rate_cards.contracted_{{ kind }}_usd_per_unit as contracted_usd_per_unit,
        rate_cards.is_{{ kind }}_price_fallback as is_price_fallback,
        calls.list_cost_usd is not null as is_call_priced,
        calls.event_date
    from calls
    left join rate_cards on calls.rate_card_key = rate_cards.rate_card_key
    where calls.{{ quantity }} > 0
    union all
    {% endfor %}
    select
        calls.source_name,
        calls.call_id,
        unit_kinds.unit_kind as unit_kind_type,
        calls.rate_card_key,
        cast(null as varchar) as contract_id,
        calls.pricing_status_type,
        calls.other_units[unit_kinds.unit_kind] as quantity_units,
        cast(null as decimal(18, 15)) as list_usd_per_unit,
        cast(null as decimal(18, 15)) as contracted_usd_per_unit,
        cast(null as boolean) as is_price_fallback,
        calls.list_cost_usd is not null as is_call_priced,
        calls.event_date
    from calls
    inner join unit_kinds on calls.other_units[unit_kinds.unit_kind] > 0
    where calls.other_units is not null
),

-- Every call is a request; it is a charge only where a card prices requests.
final as (
    select
        source_name,
        call_id,
        unit_kind_type,
        rate_card_key,
        contract_id,
        pricing_status_type,
        quantity_units,
        list_usd_per_unit,
        contracted_usd_per_unit,
        cast(quantity_units * list_usd_per_unit as decimal(38, 15)) as list_cost_usd,
        case
            when pricing_status_type = 'provisioned' then cast(0 as decimal(38, 15))
            else cast(quantity_units * contracted_usd_per_unit as decimal(38, 15))
        end as contracted_cost_usd,
        is_price_fallback,
        is_call_priced,
        event_date
    from used
    where
        unit_kind_type <> 'request'
        or contracted_usd_per_unit is not null
)

select * from final
