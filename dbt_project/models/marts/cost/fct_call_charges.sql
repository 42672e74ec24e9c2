{{ config(materialized='view') }}

{%- set call_columns = [
    'source_name', 'call_id', 'rate_card_key', 'pricing_status_type', 'list_cost_usd', 'event_date',
] -%}
with

calls as (
    select * from {{ ref('fct_calls') }}
),

rate_cards as (
    select * from {{ ref('dim_rate_cards') }}
),

used as (
    {% for kind in unit_kinds() %}
    {%- set quantity = quantity_column(kind) -%}
    select
        {% for column in call_columns -%}
        {{ column }},
        {% endfor -%}
        '{{ kind }}' as unit_kind_type,
        cast({{ quantity }} as decimal(18, 3)) as quantity_units,
        cast({{ other_units_of('free_units', kind) }} as decimal(18, 3)) as free_units
    from calls
    where {{ quantity }} > 0
    union all
    {% endfor -%}
    select
        {% for column in call_columns -%}
        {{ column }},
        {% endfor -%}
        entry.key as unit_kind_type,
        entry.value as quantity_units,
        cast(coalesce(free_units[entry.key], 0) as decimal(18, 3)) as free_units
    from (
        select
            {% for column in call_columns -%}
            {{ column }},
            {% endfor -%}
            free_units,
            {{ exploded_entries('other_units') }} as entry
        from calls
        where other_units is not null
    ) as exploded
),

-- Every call is a request; it is a charge only where a card prices requests.
final as (
    select
        used.source_name,
        used.call_id,
        used.unit_kind_type,
        used.rate_card_key,
        rate_cards.price_kind_type,
        rate_cards.rate_id,
        rate_cards.contract_id,
        used.pricing_status_type,
        used.quantity_units,
        used.free_units,
        rate_cards.list_usd_per_unit,
        rate_cards.contracted_usd_per_unit,
        cast(used.quantity_units * rate_cards.list_usd_per_unit as decimal(38, 15)) as list_cost_usd,
        case
            when used.pricing_status_type = 'provisioned' then cast(0 as decimal(38, 15))
            else
                cast(used.quantity_units * rate_cards.contracted_usd_per_unit as decimal(38, 15))
                - cast(used.free_units * rate_cards.contracted_usd_per_unit as decimal(38, 15))
        end as contracted_cost_usd,
        coalesce(rate_cards.is_price_fallback, false) as is_price_fallback,
        used.list_cost_usd is not null as is_call_priced,
        used.event_date
    from used
    left join rate_cards
        on
            used.rate_card_key = rate_cards.rate_card_key
            and used.unit_kind_type = rate_cards.unit_kind_type
    where
        used.unit_kind_type <> 'request'
        or rate_cards.contracted_usd_per_unit is not null
)

select * from final
