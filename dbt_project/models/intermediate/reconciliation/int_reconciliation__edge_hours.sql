{{ config(
    materialized='incremental',
    incremental_strategy='replace_days',
    on_schema_change='fail',
    day_column='event_date',
) }}

{%- set is_last_of_month = "extract(day from event_date + interval '1' day) = 1" -%}
{%- set is_edge = "(extract(day from event_date) = 1 or " ~ is_last_of_month ~ ")" -%}
with

calls as (
    select
        source_name,
        call_id,
        provider_name,
        billing_account_id,
        service_tier,
        coalesce(model_id, model_name) as model_id,
        cast(
            case
                when {{ is_last_of_month }} then extract(hour from called_at) - 24
                else extract(hour from called_at)
            end as integer
        ) as hours_from_edge,
        case when {{ is_last_of_month }} then cast(event_date + interval '1' day as date) else event_date end
            as edge_date,
        event_date
    from {{ ref('fct_calls') }}
    where
        {{ in_window('event_date') }}
        and {{ is_edge }}
        and pricing_status_type <> 'provisioned'
),

charges as (
    select *
    from {{ ref('fct_call_charges') }}
    where
        {{ in_window('event_date') }}
        and {{ is_edge }}
        and pricing_status_type <> 'provisioned'
),

final as (
    select
        calls.event_date,
        calls.edge_date,
        calls.hours_from_edge,
        calls.provider_name,
        calls.billing_account_id,
        calls.model_id,
        calls.service_tier,
        charges.unit_kind_type,
        cast(sum(charges.quantity_units) as decimal(28, 3)) as quantity_units,
        cast(sum(charges.contracted_cost_usd) as decimal(38, 15)) as contracted_cost_usd
    from calls
    inner join charges
        on
            calls.source_name = charges.source_name
            and calls.call_id = charges.call_id
            and calls.event_date = charges.event_date
    group by
        calls.event_date, calls.edge_date, calls.hours_from_edge, calls.provider_name, calls.billing_account_id,
        calls.model_id, calls.service_tier, charges.unit_kind_type
)

select * from final
