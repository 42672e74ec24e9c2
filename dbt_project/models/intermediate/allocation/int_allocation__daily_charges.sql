{{ config(
    materialized='incremental',
    incremental_strategy='replace_days',
    on_schema_change='fail',
    day_column='event_date',
) }}

{%- set groups = daily_charge_columns() | reject('equalto', 'unit_kind_type') | list -%}
with

calls as (
    select
        *,
        list_cost_usd is not null as is_list_priced,
        case when pricing_status_type = 'provisioned' then effective_cost_usd end as capacity_cost_usd
    from {{ ref('fct_calls') }}
    where {{ in_window('event_date') }}
),

rate_cards as (
    select * from {{ ref('dim_rate_cards') }}
),

-- The one pass over all calls. Quantities times a unit price are exact, so prices can wait until calls are summed.
grouped as (
    select
        {{ groups | join(',\n        ') }},
        {%- for kind in unit_kinds() %}
        sum({{ quantity_column(kind) }}) as {{ quantity_column(kind) }},
        sum(case when {{ quantity_column(kind) }} > 0 then 1 else 0 end) as {{ kind }}_call_count,
        {%- endfor %}
        sum(capacity_cost_usd) as capacity_cost_usd
    from calls
    group by {{ groups | join(', ') }}
),

-- Every call is one request, so the row of requests counts each call once, and holds what it took of bought capacity.
counted as (
    {%- for kind in unit_kinds() %}
    select
        {{ groups | join(',\n        ') }},
        '{{ kind }}' as unit_kind_type,
        cast({{ quantity_column(kind) }} as decimal(28, 3)) as quantity_units,
        cast(0 as decimal(28, 3)) as free_units,
        {{ kind }}_call_count as call_count,
        {{ 'capacity_cost_usd' if kind == 'request' else 'cast(null as decimal(38, 15))' }} as capacity_cost_usd
    from grouped
    where {{ quantity_column(kind) }} > 0
    {{ 'union all' if not loop.last }}
    {%- endfor %}
),

freed as (
    select
        {{ groups | join(',\n        ') }},
        entry.key as unit_kind_type,
        sum(entry.value) as free_units
    from (
        select
            {{ groups | join(',\n            ') }},
            {{ exploded_entries('free_units') }} as entry
        from calls
        where free_units is not null
    ) as exploded
    where not {{ is_other_kind('entry.key') }}
    group by {{ groups | join(', ') }}, entry.key
),

counted_and_freed as (
    select * from counted
    union all
    select
        {{ daily_charge_columns() | join(',\n        ') }},
        cast(0 as decimal(28, 3)) as quantity_units,
        cast(free_units as decimal(28, 3)) as free_units,
        cast(0 as bigint) as call_count,
        cast(null as decimal(38, 15)) as capacity_cost_usd
    from freed
),

by_kind as (
    select
        {{ daily_charge_columns() | join(',\n        ') }},
        sum(quantity_units) as quantity_units,
        sum(free_units) as free_units,
        sum(call_count) as call_count,
        sum(capacity_cost_usd) as capacity_cost_usd
    from counted_and_freed
    group by {{ daily_charge_columns() | join(', ') }}
),

priced_kinds as (
    select
        by_kind.*,
        rate_cards.list_usd_per_unit,
        rate_cards.contracted_usd_per_unit,
        case
            when by_kind.is_list_priced
                then by_kind.quantity_units * case
                    when by_kind.unit_kind_type = 'request' then coalesce(rate_cards.list_usd_per_unit, 0)
                    else rate_cards.list_usd_per_unit
                end
        end as list_cost_usd,
        (by_kind.quantity_units - by_kind.free_units) * case
            when by_kind.unit_kind_type = 'request' then coalesce(rate_cards.contracted_usd_per_unit, 0)
            else rate_cards.contracted_usd_per_unit
        end as card_cost_usd
    from by_kind
    left join rate_cards
        on
            by_kind.rate_card_key = rate_cards.rate_card_key
            and by_kind.unit_kind_type = rate_cards.unit_kind_type
),

-- Units of the map may be fractions, whose cost is rounded once per call: these few are priced before they are summed.
other_entries as (
    select
        {{ groups | join(',\n        ') }},
        entry.key as unit_kind_type,
        entry.value as quantity_units,
        coalesce(free_units[entry.key], 0) as free_units
    from (
        select
            {{ groups | join(',\n            ') }},
            free_units,
            {{ exploded_entries('other_units') }} as entry
        from calls
        where other_units is not null
    ) as exploded
),

other_charges as (
    select
        other_entries.*,
        rate_cards.list_usd_per_unit,
        rate_cards.contracted_usd_per_unit,
        case
            when other_entries.is_list_priced
                then cast(other_entries.quantity_units * rate_cards.list_usd_per_unit as decimal(38, 15))
        end as list_cost_usd,
        cast(other_entries.quantity_units * rate_cards.contracted_usd_per_unit as decimal(38, 15))
        - cast(other_entries.free_units * rate_cards.contracted_usd_per_unit as decimal(38, 15)) as card_cost_usd
    from other_entries
    left join rate_cards
        on
            other_entries.rate_card_key = rate_cards.rate_card_key
            and other_entries.unit_kind_type = rate_cards.unit_kind_type
),

other_kinds as (
    select
        {{ daily_charge_columns() | join(',\n        ') }},
        list_usd_per_unit,
        contracted_usd_per_unit,
        cast(sum(quantity_units) as decimal(28, 3)) as quantity_units,
        cast(sum(free_units) as decimal(28, 3)) as free_units,
        count(*) as call_count,
        cast(null as decimal(38, 15)) as capacity_cost_usd,
        sum(list_cost_usd) as list_cost_usd,
        sum(card_cost_usd) as card_cost_usd
    from other_charges
    group by {{ daily_charge_columns() | join(', ') }}, list_usd_per_unit, contracted_usd_per_unit
),

{%- set charge_columns = daily_charge_columns() + [
    'list_usd_per_unit', 'contracted_usd_per_unit', 'quantity_units', 'free_units', 'call_count', 'capacity_cost_usd',
    'list_cost_usd', 'card_cost_usd',
] %}

charges as (
    select {{ charge_columns | join(', ') }} from priced_kinds
    union all
    select {{ charge_columns | join(', ') }} from other_kinds
),

final as (
    select
        event_date,
        source_name,
        provider_name,
        billing_account_id,
        model_id,
        model_name,
        service_tier,
        region_id,
        deployment_id,
        is_spillover,
        use_case_id,
        team_name,
        environment_name,
        customer_id,
        rate_card_key,
        pricing_status_type,
        is_list_priced,
        unit_kind_type,
        cast(quantity_units as decimal(28, 3)) as quantity_units,
        cast(free_units as decimal(28, 3)) as free_units,
        cast(call_count as bigint) as call_count,
        list_usd_per_unit,
        contracted_usd_per_unit,
        cast(list_cost_usd as decimal(38, 15)) as list_cost_usd,
        cast(case
            when pricing_status_type = 'provisioned' then 0
            when pricing_status_type = 'priced' then card_cost_usd
        end as decimal(38, 15)) as contracted_cost_usd,
        cast(case
            when pricing_status_type = 'provisioned' then coalesce(capacity_cost_usd, 0)
            when pricing_status_type = 'priced' then card_cost_usd
        end as decimal(38, 15)) as effective_cost_usd
    from charges
)

select * from final
